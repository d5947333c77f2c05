"""What others may have put where the cache looks: nothing of it runs, hangs, or fills the memory."""

from __future__ import annotations

import os
import random
import socket
import stat
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from graphc.errors import CacheError
from graphc.runtime import cache

pytestmark = pytest.mark.skipif(os.name != "posix", reason="owners, modes and links")
ENTRY = cache.Entry('{"name": "é"}', (bytes(range(256)),))
as_root = pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="gives files to others")
NOBODY = 65534


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home" / "cache"))
    monkeypatch.setattr(cache, "_warned", set())
    return tmp_path / "home" / "cache" / "graphc"


@pytest.fixture
def key(place):
    """The key of an entry that is kept."""
    key = cache.make_key("a graph", "options")
    cache.store(key, ENTRY)
    assert cache.load(key) == ENTRY
    return key


def refused(key, says):
    """Whether an entry is a miss, found soon, with a warning that says why."""
    start = time.perf_counter()
    with pytest.warns(RuntimeWarning, match=says):
        assert cache.load(key) is None
    return time.perf_counter() - start < 5


def test_folders_are_made_for_the_user_alone(place):
    before = os.umask(0)
    try:
        cache.open_folder()
    finally:
        os.umask(before)
    for part in (place, place.parent, place.parent.parent):
        assert stat.S_IMODE(part.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
def test_a_folder_that_others_may_write_to(place, key, mode):
    place.chmod(mode)
    assert refused(key, f"others may write to {place}; write: chmod go-w")
    with pytest.raises(CacheError, match="chmod go-w"):
        cache.open_folder()


@pytest.mark.parametrize("above", [1, 2])
def test_a_parent_that_others_may_write_to(place, key, above):
    parent = place.parents[above - 1]
    parent.chmod(0o1777)  # a sticky folder, in which others can't touch what is not theirs
    assert cache.load(key) == ENTRY
    parent.chmod(0o777)
    assert refused(key, f"others may write to {parent}, which holds {place}")


def test_a_parent_that_a_group_may_write_to(place, key):
    """Where every user has a group of their own, its folders may be writable to it."""
    import grp
    import pwd

    place.parent.chmod(0o775)
    group = grp.getgrgid(place.parent.stat().st_gid)
    alone = group.gr_name == pwd.getpwuid(os.getuid()).pw_name and set(group.gr_mem) <= {group.gr_name}
    assert (cache.load(key) == ENTRY) if alone else refused(key, "others may write")


@as_root
def test_a_parent_that_another_group_may_write_to(place, key):
    place.parent.chmod(0o775)
    os.chown(place.parent, -1, NOBODY)
    assert refused(key, "others may write to")


@as_root
@pytest.mark.parametrize("above", [0, 1, 2])
def test_a_folder_of_another_user(place, key, above):
    os.chown((place, *place.parents)[above], NOBODY, -1)
    assert refused(key, f"belongs to user {NOBODY}")


@as_root
def test_an_entry_of_another_user(place, key):
    os.chown(place / key, NOBODY, -1)
    assert refused(key, f"belongs to user {NOBODY}")


def test_a_folder_behind_a_link_is_judged_by_where_it_is(place, key, tmp_path):
    elsewhere = tmp_path / "elsewhere" / "deep"
    elsewhere.parent.mkdir()
    place.rename(elsewhere)
    place.symlink_to(elsewhere)
    assert cache.load(key) == ENTRY
    elsewhere.parent.chmod(0o777)
    assert refused(key, "others may write to")


def test_an_entry_that_is_a_link(place, key, tmp_path):
    (place / key).rename(tmp_path / "elsewhere")
    (place / key).symlink_to(tmp_path / "elsewhere")
    assert refused(key, "symbolic link")
    cache.store(key, ENTRY)
    assert cache.load(key) == ENTRY
    assert not (place / key).is_symlink()


def _fifo(path):
    os.mkfifo(path, 0o600)


def _socket(path):
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(path.name)
        path.chmod(0o600)
    finally:
        os.chdir(here)


def _sparse(path):
    with open(path, "wb") as file:
        file.write(b'{"program": 10, "code": 60000000000}\n')
        file.truncate(60 << 30)


def _brackets(path):
    path.write_bytes(b"[" * 200_000)


def _few_brackets(path):
    path.write_bytes(b"[" * 990 + b"\n")


def _long_header(path):
    path.write_bytes(b'{"program": 1, "code": 2, "more": "' + b"x" * 10_000_000)


def _huge_number(path):
    path.write_bytes(b'{"program": ' + b"9" * 900 + b', "code": 1, "sha256": ""}\n')


MAKERS = [_fifo, _socket, _sparse, _brackets, _few_brackets, _long_header, _huge_number, Path.mkdir]


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__.strip("_"))
def test_what_is_no_entry_is_a_miss(place, key, make):
    (place / key).unlink()
    make(place / key)
    (place / key).chmod(0o700)
    assert refused(key, "compiled anew")


@as_root
def test_a_device_is_a_miss(place, key):
    (place / key).unlink()
    try:
        os.mknod(place / key, stat.S_IFCHR | 0o600, os.makedev(1, 5))  # /dev/zero, which never ends
    except PermissionError:
        pytest.skip("no devices here")
    assert refused(key, "no regular file|Operation not permitted|Permission denied")


def _hostile(rng, content):
    """An entry that is spoilt at random."""
    content = bytearray(content)
    for _ in range(rng.randrange(1, 5)):
        at, kind = rng.randrange(len(content) + 1), rng.randrange(5)
        if kind == 0:
            content[at : at + rng.randrange(40)] = rng.randbytes(rng.randrange(40))
        elif kind == 1:
            del content[at:]
        elif kind == 2:
            content[at:at] = rng.choice((b"{", b"[", b'"', b"\n", b"\0", b"1e999", b"-", b"null", b"\xff"))
        elif kind == 3:
            content[:0] = rng.randbytes(rng.randrange(3))
        else:
            content += rng.randbytes(rng.randrange(9))
    return bytes(content)


def _hostile_files(place, key, count):
    whole, rng = (place / key).read_bytes(), random.Random(0)
    misses = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for _ in range(count):
            (place / key).write_bytes(_hostile(rng, whole))
            found = cache.load(key)
            assert found in (None, ENTRY)  # the same, if a space has come to its header
            misses += found is None
    print(f"{misses} of {count} hostile cache files were misses")
    assert misses > 0.9 * count


def test_a_few_hostile_files(place, key):
    _hostile_files(place, key, 200)


@pytest.mark.long
def test_many_hostile_files(place, key):
    _hostile_files(place, key, 5_000)


def test_what_killed_writers_left_is_deleted(place, key):
    old, new = place / ".old", place / ".new"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    cache.store(key, ENTRY)
    cache.trim()
    assert not old.exists()
    assert new.exists()


def test_no_home_is_one_warning(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as where the user is in no list and HOME is not set
    with pytest.warns(RuntimeWarning, match="no home directory to keep machine code in; set XDG_CACHE_HOME"):
        assert cache.load("key") is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.store("key", ENTRY)
    with pytest.raises(CacheError, match="no home"):
        cache.clear()


def test_without_a_cache_no_file_of_it_is_touched(tmp_path):
    program = f"""
import sys
seen = []
sys.addaudithook(lambda event, args: seen.append((event, args)) if {str(tmp_path)!r} in str(args) else None)
import graphc as gc
x = gc.input("x", ("n",))
assert gc.compile([x], gc.sum(x), options=gc.Options(cache=False))([1.0, 2.0]) == 3
print([s for s in seen if s[0] != "os.putenv"], end="")
"""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path), XDG_CACHE_HOME=str(tmp_path / "none"))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout == "[]", done.stderr
    assert not (tmp_path / "none").exists()
