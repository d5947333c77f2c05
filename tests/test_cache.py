"""The cache on disk: what it keeps, what it refuses, and that nothing that goes wrong there reaches the user."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
import stat
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import small_programs as small

import graphc
from graphc.errors import CacheError
from graphc.runtime import backend, cache, entry
from graphc.runtime import parts as parts_module
from graphc.runtime.backend import compile_kernels
from graphc.runtime.native import Native, kernel_name
from graphc.runtime.parts import parts

ENTRY = cache.Entry('{"name": "é"}', (bytes(range(256)), b"", b"end"))


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "graphc"


@pytest.fixture
def key():
    return cache.make_key("a graph", "options")


def refused(key):
    """Whether the entry is refused, with one warning at the first look alone."""
    with pytest.warns(RuntimeWarning, match="compiled anew"):
        assert cache.load(key) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return cache.load(key) is None


def test_what_is_stored_comes_back(place, key):
    assert cache.load(key) is None
    cache.store(key, ENTRY)
    assert cache.load(key) == ENTRY
    assert [p.name for p in place.iterdir()] == [key]
    if os.name == "posix":
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
        assert stat.S_IMODE((place / key).stat().st_mode) == 0o600


def test_the_folder_follows_the_rule(monkeypatch, place):
    assert cache.folder() == place
    for value in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert cache.folder() == Path.home() / ".cache" / "graphc"


def damage_byte(content):
    middle = len(content) - 10
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        damage_byte,
        lambda c: c[:-1],
        lambda c: c + b"x",
        lambda c: b"",
        lambda c: c[:20],
        lambda c: b"\xff\xfe" + c,
        lambda c: b"[]\n" + c,
        lambda c: b"{}\n" + c.split(b"\n", 1)[1],
        lambda c: c.replace(b"[14, 256, 0,", b"[13, 257, 0,"),
        lambda c: c.replace(b"[14, 256, 0, 3]", b"[-1, 271, 0, 3]"),
        lambda c: c.replace(b"[14, 256, 0, 3]", b"[]"),
    ],
    ids=["bit", "short", "long", "empty", "header", "no text", "no dict", "no fields", "split", "negative", "none"],
)
def test_a_damaged_entry_is_refused(place, key, damage):
    cache.store(key, ENTRY)
    path = place / key
    before = path.read_bytes()
    path.write_bytes(damage(before))
    assert path.read_bytes() != before
    assert refused(key)
    cache.store(key, ENTRY)
    assert cache.load(key) == ENTRY


def test_an_entry_under_another_key_is_refused(place, key):
    cache.store(key, ENTRY)
    other = cache.make_key("another graph")
    shutil.copy(place / key, place / other)
    assert refused(other)


class Trap:
    sprung = False

    def __reduce__(self):
        return setattr, (Trap, "sprung", True)


def test_nothing_is_unpickled(place, key):
    place.mkdir(mode=0o700)
    (place / key).write_bytes(pickle.dumps(Trap()))
    assert refused(key)
    assert not Trap.sprung
    for module in ("cache", "native", "entry", "machine"):
        assert "pickle" not in (Path(cache.__file__).parent / f"{module}.py").read_text().replace("unpickled", "")


@pytest.mark.skipif(os.name != "posix", reason="owners and modes")
def test_a_foreign_entry_or_folder_is_refused(monkeypatch, place, key):
    cache.store(key, ENTRY)
    mine = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: mine + 1)
    assert refused(key)
    with pytest.raises(CacheError, match=f"belongs to user {mine}, not to you"):
        cache.open_folder()


@pytest.mark.skipif(os.name != "posix", reason="owners and modes")
def test_what_others_may_write_is_refused(place, key):
    cache.store(key, ENTRY)
    (place / key).chmod(0o666)
    assert refused(key)
    place.chmod(0o777)
    with pytest.raises(CacheError, match="chmod go-w"):
        cache.open_folder()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_full_or_read_only_folder_is_one_warning(monkeypatch, place, key, code):
    def fail(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "replace", fail)
    with pytest.warns(RuntimeWarning, match="can't be written"):
        cache.store(key, ENTRY)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.store(key, ENTRY)
    assert list(place.iterdir()) == []


def test_a_folder_that_can_not_be_made_is_one_warning(place, key):
    place.write_text("a file stands where the folder should")
    with pytest.warns(RuntimeWarning, match=r"can't be (written|used)"):
        cache.store(key, ENTRY)
    assert cache.load(key) is None


def test_the_driver_is_compiled_in_memory_if_its_entry_is_damaged(place):
    entry.load_driver()
    (path,) = place.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(RuntimeWarning, match="compiled anew"):
        assert entry.load_driver()["entry"]


@pytest.mark.parametrize(
    "variable", ["NUMBA_OPT", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_LOOP_VECTORIZE", "NUMBA_SLP_VECTORIZE"]
)
def test_settings_that_change_code_change_the_key(monkeypatch, key, variable):
    monkeypatch.setenv(variable, "1")
    assert cache.make_key("a graph", "options") != key


def test_the_number_of_threads_does_not_change_the_key(monkeypatch, key):
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
    assert cache.make_key("a graph", "options") == key


def test_parts_of_a_key_do_not_run_together():
    assert cache.make_key("ab", "c") != cache.make_key("a", "bc")


def test_a_setting_from_numbas_file_changes_the_key(monkeypatch, tmp_path, key):
    monkeypatch.chdir(tmp_path)
    Path(".numba_config.yaml").write_text("opt: 0")
    assert cache.make_key("a graph", "options") != key


@pytest.fixture
def copy_of_sources(monkeypatch, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(Path(graphc.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(cache, "_PACKAGE", copy)
    monkeypatch.setattr(cache, "_surroundings", cache._surroundings.__wrapped__)  # looked at anew for each key
    return copy


def test_an_edited_source_changes_the_key_and_a_new_date_does_not(copy_of_sources, key):
    def anew():
        return cache.make_key("a graph", "options")

    assert anew() == key
    (copy_of_sources / "op.py").touch()
    assert anew() == key
    path = copy_of_sources / "codegen" / "intrinsics" / "exponential.py"
    content, status = path.read_bytes(), path.stat()
    path.write_bytes(content.replace(b"e", b"f", 1))  # same size
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # same date
    assert anew() != key


def test_the_sources_are_read_quickly():
    def seconds():
        start = time.perf_counter()
        cache._sources()
        return time.perf_counter() - start

    assert min(seconds() for _ in range(10)) < 0.01


def test_writers_that_race_leave_one_whole_entry(place, key):
    def work():
        for _ in range(50):
            cache.store(key, ENTRY)
            seen.add(cache.load(key))

    seen: set[cache.Entry | None] = set()
    threads = [threading.Thread(target=work) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert seen == {ENTRY}
    assert [p.name for p in place.iterdir()] == [key]


def test_clear(place, key):
    cache.store(key, ENTRY)
    cache.clear()
    assert list(place.iterdir()) == []


WARM = """
import sys
import numpy as np
from graphc.codegen.program import Program
from graphc.runtime import cache
from graphc.runtime.function import CompiledFunction
from graphc.runtime.native import Native, kernel_name
entry = cache.load(cache.make_key("total"))
program = Program.from_json(entry.text)
native = Native(entry.parts, map(kernel_name, program.kernels))
total = CompiledFunction(program, native, (), 0, rebuild=(), stats={})
print(total(np.arange(4.0)), "numba" in sys.modules, "llvmlite" in sys.modules)
"""


def test_a_warm_process_runs_the_kept_code_without_numba_and_llvm():
    p = small.total().program
    cache.store(cache.make_key("total"), cache.Entry(p.to_json(), parts(p.kernels, keep=False)))
    entry.load_driver()  # keeps the driver in this folder too
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    done = subprocess.run([sys.executable, "-c", WARM], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout == "6.0 False False\n", done.stderr


def test_what_no_kernel_may_do_is_told():
    for line, told in (
        ("return T", "return T in the text"),
        ("t0 = T.missing", "T.missing in the text"),
        ("t0 = missing(T)", r"missing\(T\) in the text"),
        ("t0 = T if T > 0 else chunk", "else chunk in the text"),
        ("while T > 0: pass", "while T > 0"),
        ("t0 = T / chunk", "Div of int64"),
        ("t0 = ld_f4_1_0(T, 0) + ld_f8_1_0(T, 0)", "Add of float32 and float64"),
        ("t0 = tanh(T)", "does not take int64"),
        ("t0 = T; t0 = True", "is int64 and bool"),
        ("for i in range(0, T, chunk): pass", "constant positive step"),
    ):
        with pytest.raises((TypeError, NotImplementedError), match=told):
            compile_kernels([f"\n\n\ndef kernel(T, s, chunk):\n    wide()\n    {line}\n"])


def test_code_that_needs_what_is_nowhere_can_not_be_linked():
    text = "\n\n\ndef kernel(T, s, chunk):\n    wide()\n    t0 = sum_f8(T, chunk)\n"
    (kernel,), routines = compile_kernels([text])
    assert kernel.routines == ("sum_f8",) == tuple(routines)
    Native((kernel.code, *routines.values()), [kernel_name(text)])
    with pytest.raises(RuntimeError, match="symbols"):
        Native((kernel.code,), [kernel_name(text)])


def test_a_new_kernel_takes_the_routines_that_there_are(place, monkeypatch):
    """A tile, here, which two kernels call; not where a program is to leave the cache alone."""
    made = []
    module_of = backend._module_of
    monkeypatch.setattr(backend, "_module_of", lambda routine: made.append(routine.name) or module_of(routine))
    x, w = graphc.input("x", (40, 20)), graphc.input("w", (20, 50))
    values = np.ones((40, 20)), np.ones((20, 50))
    for function in (np.tanh, np.exp):
        program = graphc.compile([x, w], graphc.sum(getattr(graphc, function.__name__)(x @ w), axis=1))
        np.testing.assert_allclose(program(*values), np.full(40, function(20.0) * 50))
        assert len(made) == len(set(made)) > 0
    first = list(made)
    program = graphc.compile([x, w], graphc.sum(graphc.sin(x @ w), axis=1), options=graphc.Options(cache=False))
    np.testing.assert_allclose(program(*values), np.full(40, np.sin(20.0) * 50))
    assert made == first * 2


def test_what_was_used_longest_ago_goes_first(place, monkeypatch):
    keys = [cache.make_key("a graph", str(k)) for k in range(8)]
    for age, key in enumerate(keys):
        cache.store(key, ENTRY)
        os.utime(place / key, (1e9 - age, 1e9 - age))
    assert cache.load(keys[7]) == ENTRY  # the oldest is in use
    monkeypatch.setattr(cache, "MOST_KEPT", 8 * (place / keys[0]).stat().st_size)
    cache.trim()
    assert {p.name for p in place.iterdir()} == set(keys)
    monkeypatch.setattr(cache, "MOST_KEPT", cache.MOST_KEPT - 1)
    with cache.untouched():  # as of a program with `Options(cache=False)`
        cache.trim()
    assert {p.name for p in place.iterdir()} == set(keys)
    cache.trim()
    assert {p.name for p in place.iterdir()} == {*keys[:4], keys[7]}


def test_a_changed_program_compiles_what_is_new(place, monkeypatch):
    """Alike kernels are shared within a program, with other programs, and with other processes."""
    compiled = []

    def counted(texts, **more):
        compiled.extend(texts)
        return compile_kernels(texts, **more)

    monkeypatch.setattr(parts_module, "compile_kernels", counted)

    def deep(layers):
        x = h = graphc.input("x", (8, 8))
        for k in range(layers):
            h = graphc.tanh(h @ graphc.parameter(f"w{k}", np.full((8, 8), k / 8)))
        return graphc.compile([x], h)

    four, five = deep(4), deep(5)
    assert len(four.program.phases) == 4
    assert len(five.program.phases) == 5
    assert len(set(compiled)) == len(compiled) == len({*four.program.kernels, *five.program.kernels}) <= 2
    x = np.arange(64.0).reshape(8, 8) / 64
    wanted = x
    for k in range(5):
        wanted = np.tanh(wanted @ np.full((8, 8), k / 8))
    np.testing.assert_allclose(five(x), wanted, rtol=1e-13)
