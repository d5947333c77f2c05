"""Values of parameters in a file: a .npz archive of arrays under the parameters' names, read without pickle."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graphc.errors import InputError
from graphc.graph import Node
from graphc.types import shape_text

Arrays = dict[str, np.ndarray[Any, Any]]


def save(path: str | os.PathLike[str], parameters: Sequence[Node]) -> None:
    """Write the values to `path`, which ends in .npz; a file that is there is replaced as a whole or not at all."""
    path = _npz(path)
    arrays = {str(w.name): w.value for w in parameters}
    if len(arrays) < len(parameters):
        raise InputError(f"two parameters have the same name among {', '.join(str(w.name) for w in parameters)}")
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        _write(part, arrays)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def load(path: str | os.PathLike[str], parameters: Sequence[Node]) -> None:
    """Set the parameters to the values in `path`.

    Raises InputError if the file is no such archive or its names, shapes or dtypes are not those of the parameters, and
    OSError if it can't be opened; nothing has changed then.
    """
    arrays = _read(_npz(path))
    names = {str(w.name) for w in parameters}
    problems = [f"there is nothing for {n!r}" for n in sorted(names - arrays.keys())]
    problems += [f"nothing takes {n!r}" for n in sorted(arrays.keys() - names)]
    problems += [p for w in parameters if str(w.name) in arrays and (p := _misfit(w, arrays[str(w.name)]))]
    if problems:
        raise InputError(f"{path} does not hold the values of these parameters: {'; '.join(problems)}")
    for w in parameters:
        w.assign(arrays[str(w.name)])


def _npz(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    if path.suffix != ".npz":
        raise InputError(f"weights are kept in a .npz file, got {str(path)!r}; write {str(path.with_suffix('.npz'))!r}")
    return path


def _write(path: Path, arrays: Arrays) -> None:
    with zipfile.ZipFile(path, "w") as archive:  # np.savez takes names as keywords, and some of them are its own
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def _read(path: Path) -> Arrays:
    with path.open("rb") as file:  # np.load of a path leaves the file open where it is no archive
        try:
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise ValueError("it holds a single array")
            return {name: archive[name] for name in archive.files}
        except (ValueError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"{path} is not an archive of arrays: {error}") from None


def _misfit(w: Node, array: np.ndarray[Any, Any]) -> str | None:
    if array.shape != w.shape or array.dtype != w.dtype.numpy:
        return f"{w.name!r} is {w.type}, the file has {array.dtype}{shape_text(array.shape)}"
    return None
