"""Object files in memory without LLVM: what fits runs as LLVM's linker has it run, all else is left to that."""

from __future__ import annotations

import gc as collector
import platform
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import small_programs as small
from scaling_programs import PROGRAMS

import graphc as gc
from graphc.runtime import native
from graphc.runtime.backend import compile_kernels
from graphc.runtime.linker import link
from graphc.runtime.loader import Unfit, load
from graphc.runtime.native import PREFIX, Native, kernel_name
from graphc.runtime.parts import parts

HERE = sys.platform == "linux" and platform.machine() == "x86_64"
pytestmark = pytest.mark.skipif(not HERE, reason="object files of this platform go to LLVM's linker")

SUM = "\n\n\ndef kernel(T, s, chunk):\n    wide()\n    t0 = sum_f8(T, chunk)\n    st_f8_1_0(s, 0, t0)\n"


@pytest.fixture(scope="module")
def summing() -> tuple[bytes, bytes]:
    """A kernel, and the routine that it calls."""
    (kernel,), routines = compile_kernels([SUM])
    return kernel.code, routines["sum_f8"]


def summed(code: Native) -> float:
    """The sum of 1,000 numbers by the kernel."""
    x, out = np.linspace(0.0, 1.0, 1000), np.zeros(1)
    small.call(code, x.ctypes.data, out.ctypes.data, 1000, name=kernel_name(SUM))
    return float(out[0])


@pytest.mark.parametrize("name", ["transformer", "guarded_chain"])
def test_every_part_of_a_program_fits(name: str) -> None:
    inputs, outputs, _ = PROGRAMS[name](1)
    load(parts(gc.compile(inputs, outputs).program.kernels, keep=True), {})


def test_both_ways_run_the_same_code(summing: tuple[bytes, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    ours = summed(Native(summing, [kernel_name(SUM)]))

    def unfit(*_: object) -> None:
        raise Unfit

    monkeypatch.setattr(native, "load", unfit)
    theirs = summed(Native(summing, [kernel_name(SUM)]))
    assert ours == theirs == np.linspace(0.0, 1.0, 1000).sum()


def test_the_order_of_files_does_not_matter(summing: tuple[bytes, bytes]) -> None:
    assert summed(Native(summing[::-1], [kernel_name(SUM)])) == summed(Native(summing, [kernel_name(SUM)]))


def test_what_is_nowhere(summing: tuple[bytes, bytes]) -> None:
    with pytest.raises(Unfit, match="sum_f8 is nowhere"):
        load(summing[:1], {})


def test_no_files_at_all() -> None:
    assert load((), {})[1] == {}


def test_a_file_that_ends_early(summing: tuple[bytes, bytes]) -> None:
    whole = summing[1]
    for end in range(0, len(whole) - 1, 7):
        with pytest.raises(Unfit):
            load((whole[:end],), {})


@pytest.mark.parametrize(
    ("at", "value"),
    [(0, 0), (4, 1), (5, 2), (16, 2), (18, 183)],
    ids=["no ELF", "32 bits", "big-endian", "a program", "another machine"],
)
def test_a_file_of_another_kind(at: int, value: int, summing: tuple[bytes, bytes]) -> None:
    changed = bytearray(summing[1])
    changed[at] = value
    with pytest.raises(Unfit):
        load((bytes(changed),), {})


def test_a_relocation_of_another_kind(summing: tuple[bytes, bytes]) -> None:
    """Every relocation of the code in turn is made one relative to its own place."""
    code, routine = summing
    table, count, size = (struct.unpack_from(f, code, at)[0] for f, at in (("<Q", 40), ("<H", 60), ("<H", 58)))
    sections = [struct.unpack_from("<IIQQQQIIQQ", code, table + size * k) for k in range(count)]
    found = 0
    for section in sections:
        if section[1] == 4 and sections[section[7]][1] == 1 and sections[section[7]][2] & 2:
            for at in range(section[4], section[4] + section[5], 24):
                changed = bytearray(code)
                struct.pack_into("<I", changed, at + 8, 2)
                with pytest.raises(Unfit, match="relocation"):
                    load((bytes(changed), routine), {})
                found += 1
    assert found


def rights(at: int) -> str:
    """What may be done with the memory at an address; nothing where none is."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        low, high = (int(end, 16) for end in line.split()[0].split("-"))
        if low <= at < high:
            return line.split()[1]
    return ""


def test_memory_goes_with_the_functions(summing: tuple[bytes, bytes]) -> None:
    kept = [Native(summing, [kernel_name(SUM)]) for _ in range(20)]
    places = [code[kernel_name(SUM)] for code in kept]
    assert {rights(at) for at in places} == {"r-xp"}  # never writable and executable at once
    kept.clear()
    collector.collect()
    assert "r-xp" not in {rights(at) for at in places}


def test_llvm_finds_the_same_symbols(summing: tuple[bytes, bytes]) -> None:
    memory, ours = load(summing, {})
    library, theirs = link(summing, [PREFIX + kernel_name(SUM)], {})
    assert theirs.keys() <= ours.keys()
    assert memory
    assert library
