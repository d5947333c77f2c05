"""The cache on disk: programs and their machine code, by a digest of all that decides what runs.

In: a key and an Entry.  Out: the Entry again, in this process or another.  A file is a line of JSON, the program as
JSON, and an object file; owner, sizes and digest are checked before any of it is used, and nothing is ever unpickled.
Whatever goes wrong is a miss, with one warning for each folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import stat
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm
import numpy as np

from graphc.errors import CacheError

_PACKAGE = Path(__file__).parent.parent
_FREE_SETTINGS = ("NUMBA_NUM_THREADS", "NUMBA_THREADING_LAYER", "NUMBA_THREADING_LAYER_PRIORITY", "NUMBA_CACHE_DIR")
_warned: set[Path] = set()


@dataclass(frozen=True)
class Entry:
    """What is kept: a program as JSON (or nothing) and the object file of its code."""

    program: str
    code: bytes


def folder() -> Path:
    """The user's cache folder; `XDG_CACHE_HOME` is respected if it is an absolute path, as its rule says."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "graphc"


def make_key(*parts: str) -> str:
    """The digest of `parts` and of everything else that decides which machine code comes out."""
    digest = hashlib.sha256()
    for part in (*_surroundings(), *_settings(), *parts):
        digest.update(f"{len(part)}:{part}".encode())
    return digest.hexdigest()


def load(key: str) -> Entry | None:
    """The entry kept under a key; None if there is none that can be trusted."""
    path = folder() / key
    try:
        with open(path, "rb") as file:
            _check_owner(os.fstat(file.fileno()), path)
            header = json.loads(file.readline())
            content = file.read()
        return _checked(key, header, content)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        _warn(f"cache entry {path} can't be used and is compiled anew: {error}")
        return None


def store(key: str, entry: Entry) -> None:
    """Keep an entry; a folder that can't be written is no error."""
    program = entry.program.encode()
    content = program + entry.code
    header = {"program": len(program), "code": len(entry.code), "sha256": _digest(key, len(program), content)}
    try:
        place = open_folder()
        with _temporary(place) as (descriptor, name):
            with open(descriptor, "wb") as file:
                file.write(json.dumps(header).encode() + b"\n" + content)
            os.replace(name, place / key)
    except OSError as error:
        _warn(f"the cache folder {folder()} can't be written, so every process compiles anew: {error}")


def open_folder() -> Path:
    """The cache folder, made if need be.

    Raises CacheError if it belongs to another user or others may write to it.
    """
    path = folder()
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_owner(path.stat(), path)
    return path


def clear() -> None:
    """Delete every entry.  Raises CacheError if the folder is not the user's own."""
    for file in open_folder().iterdir():
        file.unlink(missing_ok=True)


def _check_owner(status: os.stat_result, path: Path) -> None:
    if hasattr(os, "getuid") and status.st_uid != os.getuid():
        raise CacheError(f"{path} belongs to user {status.st_uid}, not to you; delete it or set XDG_CACHE_HOME")
    if os.name == "posix" and status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise CacheError(f"others may write to {path}; write: chmod go-w {path}")


def _checked(key: str, header: dict[str, object], content: bytes) -> Entry:
    n, code = header["program"], header["code"]
    if not isinstance(n, int) or not isinstance(code, int) or len(content) != n + code:
        raise ValueError(f"{len(content)} bytes where {n} + {code} were written")
    if header["sha256"] != _digest(key, n, content):
        raise ValueError("its digest is wrong")
    return Entry(content[:n].decode(), content[n:])


def _digest(key: str, split: int, content: bytes) -> str:
    return hashlib.sha256(f"{key}:{split}:".encode() + content).hexdigest()


@contextlib.contextmanager
def _temporary(place: Path) -> Iterator[tuple[int, str]]:
    """A fresh file that is gone afterwards, unless it has been renamed."""
    descriptor, name = tempfile.mkstemp(dir=place, prefix=".")
    try:
        yield descriptor, name
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def _warn(text: str) -> None:
    if folder() not in _warned:
        _warned.add(folder())
        warnings.warn(text, RuntimeWarning, stacklevel=3)


@lru_cache(maxsize=1)
def _surroundings() -> tuple[str, ...]:
    """Sources, versions and the machine: what does not change while the process lives."""
    llvm.initialize_native_target()
    return (
        _sources(),
        platform.python_implementation(),
        sys.version,
        np.__version__,
        metadata.version("numba"),  # without importing it
        llvmlite.__version__,
        llvm.get_process_triple(),
        llvm.get_host_cpu_name(),
        llvm.get_host_cpu_features().flatten(),
    )


def _settings() -> list[str]:
    """Numba's settings from the environment and its file, save those that change no code."""
    rows = [f"{k}={v}" for k, v in sorted(os.environ.items()) if k.startswith("NUMBA_") and k not in _FREE_SETTINGS]
    with contextlib.suppress(OSError):
        rows.append(Path(".numba_config.yaml").read_text(errors="replace"))
    return rows


def _sources() -> str:
    """The digest of every source file of graphc, whatever its date says."""
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(_PACKAGE)}:{len(content)}:".encode() + content)
    return digest.hexdigest()
