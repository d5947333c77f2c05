"""Whether what lies in a folder can only have come from the user.

In: paths.  Out: the path without links, and open files; or CacheError, which says what to do.  Whoever may write to a
folder, or to one above it, can put another in its place, so all of them are looked at.  Where all belong to the user or
to root, and others may not write to them, nothing can change between a look and its use.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from graphc.errors import CacheError

if os.name == "posix":  # and not where they are used, for a forked child must not meet a module half imported
    import grp
    import pwd

MOST_BYTES = 1 << 28  # of a file; more is no program
_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def checked_folder(path: Path) -> Path:
    """The folder without links on its way, if nobody but the user can have put something there."""
    real = Path(os.path.realpath(path, strict=True))
    _check_own(real.stat(), path)
    for parent in real.parents if os.name == "posix" else ():
        _check_parent(parent.stat(), parent, path)
    return real


def opened(path: Path) -> BinaryIO:
    """A file of a checked folder: the user's own, regular, no link, of a size that can be read."""
    flags = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))
    file = open(path, "rb", opener=lambda name, mode: os.open(name, mode | flags))  # noqa: SIM115
    try:
        status = os.fstat(file.fileno())
        _check_own(status, path)
        if not stat.S_ISREG(status.st_mode):
            raise CacheError(f"{path} is no regular file; delete it")
        if status.st_size > MOST_BYTES:
            raise CacheError(f"{path} has {status.st_size} bytes; delete it")
    except BaseException:
        file.close()
        raise
    return file


def _check_own(status: os.stat_result, path: Path) -> None:
    if os.name != "posix":
        return
    if status.st_uid != os.getuid():
        raise CacheError(f"{path} belongs to user {status.st_uid}, not to you; delete it or set XDG_CACHE_HOME")
    if status.st_mode & _OTHERS:
        raise CacheError(f"others may write to {path}; write: chmod go-w {path}")


def _check_parent(status: os.stat_result, parent: Path, path: Path) -> None:
    if status.st_uid not in (0, os.getuid()):
        raise CacheError(f"{parent}, which holds {path}, belongs to user {status.st_uid}; set XDG_CACHE_HOME")
    others = status.st_mode & _OTHERS
    if others == stat.S_IWGRP and _is_private(status.st_gid):
        return
    if others and not status.st_mode & stat.S_ISVTX:  # in a sticky folder, others can't touch what is not theirs
        raise CacheError(
            f"others may write to {parent}, which holds {path}; write: chmod go-w {parent}, or set XDG_CACHE_HOME"
        )


def _is_private(group: int) -> bool:
    """Whether nobody but the user is in a group, as where each user has one of their own name."""
    try:
        user, members = pwd.getpwuid(os.getuid()), grp.getgrgid(group)
    except KeyError:
        return False
    return members.gr_name == user.pw_name and not set(members.gr_mem) - {user.pw_name}
