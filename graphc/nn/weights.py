"""Values of parameters in a file: a .npz archive of arrays under the parameters' names, read without pickle.

A file may come from anywhere.  Its list of members and their headers are held against the parameters first, in memory
that the file's own length bounds; what is read then is as large as the parameters.
"""

from __future__ import annotations

import io
import math
import os
import secrets
import stat
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from graphc.errors import GraphcError, InputError
from graphc.graph import Node
from graphc.types import shape_text

Array = np.ndarray[Any, Any]

_SUFFIX = ".npy"
_HEADER = 16_384  # bytes in which a member's header ends; NumPy's own limit is 10,000
_SLACK = 1 << 20  # bytes that a file may have beyond the values, and as many again for every 16 parameters
_LONGEST = 65_000  # bytes of a name; zip counts them in 16 bits
_SHOWN = 8  # problems that an error tells


def save(path: str | os.PathLike[str], parameters: Sequence[Node]) -> None:
    """Write the values to `path`, which ends in .npz; a file that is there is replaced as a whole or not at all.

    Of parameters with the same name the later ones are numbered: "scale", "scale_1".  Raises InputError for a name that
    an archive can't hold, OSError if the file can't be written.
    """
    path, named = _npz(path), _named(parameters)
    for name in named:
        _check_name(name)
    part = path.with_name(f".{secrets.token_hex(8)}.part")  # a name that nobody knows before it is taken
    with _naming(path):
        file = part.open("xb")
    try:
        with _naming(path), file:
            _write(file, {name: w.value for name, w in named.items()})
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def load(path: str | os.PathLike[str], parameters: Sequence[Node]) -> None:
    """Set the parameters to the values in `path`.

    Raises InputError if the file is no such archive or its names, shapes or dtypes are not those of the parameters, and
    OSError if it can't be opened; nothing has changed then.
    """
    path, named = _npz(path), _named(parameters)
    with _opened(path, sum(w.size * w.dtype.size for w in named.values()), len(named)) as archive:
        members = _members(archive, named)
        problems = [f"there is nothing for {n!r}" for n in named if n not in members]
        problems += [f"nothing takes {n!r}" for n in members if n not in named]
        problems += [p for n, w in named.items() if n in members and (p := members[n].misfit(n, w))]
        if problems:
            more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
            told = "; ".join(problems[:_SHOWN]) + more
            raise InputError(f"{path} does not hold the values of these parameters: {told}")
        values = {n: members[n].read(archive) for n in named}
    for n, w in named.items():
        w.assign(values[n])


def _named(parameters: Iterable[Node]) -> dict[str, Node]:
    """The parameters by name; of those with the same name the later ones are numbered as Keras does."""
    parameters = list(dict.fromkeys(parameters))
    own = {str(w.name) for w in parameters}
    found: dict[str, Node] = {}
    for w in parameters:
        name, k = str(w.name), 0
        while name in found or (k and name in own):
            k += 1
            name = f"{w.name}_{k}"
        found[name] = w
    return found


def _npz(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    if path.suffix != ".npz":
        raise InputError(f"weights are kept in a .npz file, got {str(path)!r}; write {str(path.with_suffix('.npz'))!r}")
    return path


# Writing


def _check_name(name: str) -> None:
    try:
        fits = len(name.encode()) <= _LONGEST and "\0" not in name
    except UnicodeEncodeError:
        fits = False
    if not fits:
        wanted = f"UTF-8 text of at most {_LONGEST} bytes without a NUL"
        raise InputError(f"the parameter {name[:60]!r} can't be kept in an archive: a name there is {wanted}")


def _write(file: BinaryIO, arrays: Mapping[str, Array]) -> None:
    with zipfile.ZipFile(file, "w") as archive:  # np.savez takes names as keywords, and some of them are its own
        for name, array in arrays.items():
            with archive.open(f"{name}{_SUFFIX}", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """An OSError names the file that the user knows."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


# Reading


@contextmanager
def _opened(path: Path, nbytes: int, count: int) -> Iterator[zipfile.ZipFile]:
    """The archive, if its length fits values of `nbytes` bytes; what goes wrong within is an InputError."""
    with open(path, "rb", opener=_at_once) as file:
        about = os.fstat(file.fileno())
        try:
            if not stat.S_ISREG(about.st_mode):
                raise ValueError("it is no regular file")
            if about.st_size > nbytes + _SLACK * (1 + count // 16):
                raise ValueError(f"it has {about.st_size:,} bytes, the parameters have {nbytes:,}")
            with zipfile.ZipFile(file) as archive:
                yield archive
        except (GraphcError, MemoryError):
            raise
        except Exception as error:  # zipfile, zlib and NumPy raise whatever a damaged file leads them to
            raise InputError(f"{path} is not an archive of arrays: {error or type(error).__name__}") from error


def _at_once(path: str, flags: int) -> int:
    """The file's number; a pipe, which would wait for a writer, is opened too, and refused then."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


@dataclass(frozen=True)
class _Member:
    """An array of an archive, as its header has it."""

    info: zipfile.ZipInfo
    start: int  # of the values within the member
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]

    def misfit(self, name: str, w: Node) -> str | None:
        """What keeps it from being the value of w."""
        if self.shape != w.shape or self.dtype != w.dtype.numpy:
            return f"{name!r} is {w.type}, the file has {self.dtype}{shape_text(self.shape)}"
        if self.info.file_size != self.start + math.prod(self.shape) * self.dtype.itemsize:
            return f"{name!r} does not have the bytes of {w.type}"
        return None

    def read(self, archive: zipfile.ZipFile) -> Array:
        with archive.open(self.info) as member:
            member.read(self.start)
            data = member.read()  # to the end, where the checksum is looked at
        if self.dtype.kind == "b" and data.strip(b"\0\1"):
            raise ValueError(f"{self.info.filename!r} holds bytes that are no bool")
        return np.ndarray(self.shape, self.dtype, data, order="F" if self.fortran else "C")


def _members(archive: zipfile.ZipFile, wanted: Mapping[str, Node]) -> dict[str, Any]:
    """The members by name: those that are wanted as their headers say, None for the others."""
    found: dict[str, Any] = {}
    for info in archive.infolist():
        name = info.filename.removesuffix(_SUFFIX)
        if name == info.filename:
            raise ValueError(f"{name!r} in it is no array, whose name would end in {_SUFFIX}")
        if name in found:
            raise ValueError(f"{name!r} stands in it twice")
        found[name] = _member(archive, info) if name in wanted else None
    return found


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others unpack without a bound
        raise ValueError(f"{info.filename!r} is packed by method {info.compress_type}")
    with archive.open(info) as member:
        head = io.BytesIO(member.read(_HEADER))
    version = np.lib.format.read_magic(head)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"{info.filename!r} is an array file of version {version}")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        shape, fortran, dtype = read(head)
    except (MemoryError, RecursionError):  # of Python's parser, which reads the header
        raise ValueError(f"{info.filename!r} has a header that is nested too deep") from None
    return _Member(info, head.tell(), shape, fortran, dtype)
