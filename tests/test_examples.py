"""The examples run as their users run them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name: str, *arguments: str, folder: Path) -> str:
    """What an example prints, run in `folder`."""
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    path = os.pathsep.join([str(EXAMPLES.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_mnist(tmp_path: Path) -> None:
    shown = run("mnist.py", "--epochs", "2", "--output", "out", folder=tmp_path)
    assert "validation accuracy  0.8" in shown
    assert "compiling the step" in shown
    assert "a training step" in shown
    written = {p.name for p in (tmp_path / "out").iterdir()}
    assert written == {"graph.svg", "kernels.py", "weights.npz"}
    compile((tmp_path / "out" / "kernels.py").read_text(), "kernels.py", "exec")
    with np.load(tmp_path / "out" / "weights.npz") as weights:
        assert weights["dense/kernel"].shape == (784, 10)


def test_listing(tmp_path: Path) -> None:
    lines = run("listing.py", "--steps", "50", folder=tmp_path).splitlines()
    assert lines[-1].startswith("largest relative difference")
    assert len(lines) == 52
