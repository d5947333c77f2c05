"""The cache on disk: programs, kernels and routines, by a digest of all that decides what runs.

In: a key and an Entry.  Out: the Entry again, in this process or another.  A file is a line of JSON, the text, and
object files; folder, owner, kind, sizes and digest are checked before any of it is used, and nothing is
ever unpickled.  Whatever goes wrong is a miss, with one warning for each folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import itertools
import json
import os
import platform
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from graphc.errors import CacheError
from graphc.runtime.once import once
from graphc.runtime.trust import MOST_BYTES, checked_folder, opened

_PACKAGE = Path(__file__).parent.parent
_FREE_SETTINGS = ("NUMBA_NUM_THREADS", "NUMBA_THREADING_LAYER", "NUMBA_THREADING_LAYER_PRIORITY", "NUMBA_CACHE_DIR")
_HEADER_BYTES = 100_000
MOST_KEPT = 1 << 29  # bytes of all entries
_LEFT_SECONDS = 3_600  # a file that is being written is younger
_warned: set[tuple[str | None, ...]] = set()
_mine = threading.local()


@dataclass(frozen=True)
class Entry:
    """What is kept: a text, which is JSON or empty, and object files."""

    text: str
    parts: tuple[bytes, ...]


def folder() -> Path:
    """The user's cache folder; `XDG_CACHE_HOME` is respected if it is an absolute path, as its rule says.

    Raises CacheError where there is neither that nor a home.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    home = os.path.expanduser("~")
    if not os.path.isabs(base) and not os.path.isabs(home):
        raise CacheError("there is no home directory to keep machine code in; set XDG_CACHE_HOME")
    return (Path(base) if os.path.isabs(base) else Path(home, ".cache")) / "graphc"


@contextlib.contextmanager
def untouched() -> Iterator[None]:
    """Nothing is looked for, kept or deleted by this thread meanwhile, but by `clear`."""
    _mine.untouched, before = True, _is_untouched()
    try:
        yield
    finally:
        _mine.untouched = before


def _is_untouched() -> bool:
    return getattr(_mine, "untouched", False)


def make_key(*parts: str) -> str:
    """The digest of `parts` and of everything else that decides which machine code comes out."""
    return _digest_of(*_surroundings(), *_settings(), *parts)


def machine_key(*parts: str) -> str:
    """The digest of `parts` and of the processor: what tells of measurements, which outlive sources and versions."""
    return _digest_of(sys.platform, platform.machine(), *(_processor() or _processor_by_llvm()), *parts)


def _digest_of(*parts: str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)}:{part}".encode(errors="surrogatepass"))
    return digest.hexdigest()


def load(key: str) -> Entry | None:
    """The entry kept under a key; None if there is none that can be trusted."""
    if _is_untouched():
        return None
    try:
        with opened(checked_folder(folder()) / key) as file:
            header = json.loads(file.readline(_HEADER_BYTES))
            entry = _checked(key, header, file.read(MOST_BYTES))
            _mark_used(file.fileno())
            return entry
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        _warn(f"cache entry {key} can't be used and is compiled anew: {error}")
        return None


def store(key: str, entry: Entry) -> None:
    """Keep an entry; a folder that can't be written is no error."""
    if _is_untouched():
        return
    pieces = (entry.text.encode(), *entry.parts)
    sizes, content = [len(p) for p in pieces], b"".join(pieces)
    header = {"sizes": sizes, "sha256": _digest(key, sizes, content)}
    try:
        if len(content) > MOST_BYTES - _HEADER_BYTES:
            raise CacheError(f"a program of {len(content)} bytes is not kept")
        place = open_folder()
        with _temporary(place) as (descriptor, name):
            with open(descriptor, "wb") as file:
                file.write(json.dumps(header).encode() + b"\n" + content)
            os.replace(name, place / key)
    except OSError as error:
        _warn(f"the cache can't be written, so every process compiles anew: {error}")


def open_folder() -> Path:
    """The cache folder, made if need be.

    Raises CacheError if it or a folder above it belongs to another user, or others may write to it.
    """
    path = folder()
    for part in reversed((path, *path.parents)):
        if not part.exists():
            part.mkdir(mode=0o700, exist_ok=True)
    return checked_folder(path)


def clear() -> None:
    """Delete every entry.  Raises CacheError if the folder is not the user's own."""
    for file in open_folder().iterdir():
        if file.is_symlink() or not file.is_dir():
            file.unlink(missing_ok=True)


def trim() -> None:
    """Delete what processes that were killed have left half written, and of too many entries those unused longest."""
    if _is_untouched():
        return
    with contextlib.suppress(OSError):
        with os.scandir(checked_folder(folder())) as found:
            files = [(file, file.stat(follow_symlinks=False)) for file in found]
        kept = [pair for pair in files if not pair[0].name.startswith(".")]
        gone = [f for f, status in files if f.name.startswith(".") and status.st_mtime < time.time() - _LEFT_SECONDS]
        size = sum(status.st_size for _, status in kept)
        if size > MOST_KEPT:
            for file, status in sorted(kept, key=lambda pair: pair[1].st_mtime):
                gone.append(file)
                size -= status.st_size
                if size <= MOST_KEPT // 4 * 3:
                    break
        for file in gone:
            with contextlib.suppress(OSError):
                os.unlink(file)


def _mark_used(descriptor: int) -> None:
    """Give a file the time of now, so that others go first."""
    with contextlib.suppress(OSError):
        os.utime(descriptor)


def _checked(key: str, header: dict[str, object], content: bytes) -> Entry:
    sizes = header["sizes"]
    if not isinstance(sizes, list) or not all(type(n) is int and n >= 0 for n in sizes) or len(content) != sum(sizes):
        raise ValueError(f"{len(content)} bytes where {sizes} were written")
    if header["sha256"] != _digest(key, sizes, content):
        raise ValueError("its digest is wrong")
    ends = [*itertools.accumulate(sizes)]
    text, *parts = (content[end - n : end] for n, end in zip(sizes, ends, strict=True))
    return Entry(text.decode(), tuple(parts))


def _digest(key: str, sizes: Sequence[int], content: bytes) -> str:
    return hashlib.sha256(f"{key}:{sizes}:".encode() + content).hexdigest()


@contextlib.contextmanager
def _temporary(place: Path) -> Iterator[tuple[int, str]]:
    """A fresh file that is gone afterwards, unless it has been renamed."""
    import tempfile  # which takes a tenth of a warm start

    descriptor, name = tempfile.mkstemp(dir=place, prefix=".")
    try:
        yield descriptor, name
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def _warn(text: str) -> None:
    place = tuple(os.environ.get(name) for name in ("XDG_CACHE_HOME", "HOME"))
    if place not in _warned:
        _warned.add(place)
        warnings.warn(text, RuntimeWarning, stacklevel=3)


@once
def _surroundings() -> tuple[str, ...]:
    """Sources, versions and the machine: what does not change while the process lives."""
    versions = (platform.python_implementation(), sys.version, np.__version__, *map(_version, ("numba", "llvmlite")))
    return _sources(), *versions, sys.platform, platform.machine(), *(_processor() or _processor_by_llvm())


def _version(name: str) -> str:
    """What a package's version file says: importing Numba takes 300 ms, asking for its metadata 15."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise CacheError(f"{name} is not installed")
    return Path(spec.origin).with_name("_version.py").read_text(errors="replace")


def _processor() -> list[str]:
    """What Linux says of the first processor and what it can do; nothing if it does not say."""
    found: dict[str, str] = {}
    with contextlib.suppress(OSError), open("/proc/cpuinfo", errors="replace") as file:
        for line in itertools.takewhile(str.strip, file):
            name, _, value = line.partition(":")
            found[name.strip()] = value.strip()
    wanted = ("vendor_id", "cpu family", "model", "model name", "stepping", "flags")
    return [f"{name}={found[name]}" for name in wanted] if found.keys() >= set(wanted) else []


def _processor_by_llvm() -> list[str]:
    import llvmlite.binding as llvm

    return [llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()]


def _settings() -> list[str]:
    """Numba's settings from the environment and its file, save those that change no code."""
    rows = [f"{k}={v}" for k, v in sorted(os.environ.items()) if k.startswith("NUMBA_") and k not in _FREE_SETTINGS]
    with contextlib.suppress(OSError):
        rows.append(Path(".numba_config.yaml").read_text(errors="replace"))
    return rows


def _sources() -> str:
    """The digest of every source file of graphc, whatever its date says."""
    digest = hashlib.sha256()
    root = str(_PACKAGE)
    for name in sorted(_files(root)):  # by strings: paths would take most of the time of a key
        with open(name, "rb", 0) as file:
            content = file.readall()
        digest.update(f"{name[len(root) :]}:{len(content)}:".encode() + content)
    return digest.hexdigest()


def _files(root: str) -> Iterator[str]:
    """The source files of a folder and those in it."""
    for folder, folders, names in os.walk(root):
        if "__pycache__" in folders:
            folders.remove("__pycache__")
        yield from (os.path.join(folder, name) for name in names if name.endswith(".py"))
