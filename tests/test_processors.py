"""The suite on machine code for narrower processors than the one at hand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_TESTS = Path(__file__).parent
_AVX2 = "+sse,+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+avx,+avx2,+fma,+bmi,+bmi2,+f16c,+lzcnt,+movbe"
# What asks nothing of machine code, or sets the processor itself.
_LEFT_OUT = ("benchmarks", "cache", "docs", "examples", "gemm", "processors", "project", "training_parity")


@pytest.mark.long
@pytest.mark.parametrize(("name", "features"), [("generic", ""), ("haswell", _AVX2)])
def test_the_suite_passes_on(name: str, features: str) -> None:
    environment = os.environ | {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features}
    ignored = [f"--ignore={_TESTS / f'test_{stem}.py'}" for stem in _LEFT_OUT]
    command = [sys.executable, "-m", "pytest", "-q", "-n", "auto", "-p", "no:cacheprovider", str(_TESTS), *ignored]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=_TESTS.parent)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
