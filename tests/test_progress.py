"""What fit shows on a terminal of 80 columns, on a narrower one and in a pipe."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from graphc.nn.progress import Bar, Report, report

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

_FIT = """
import numpy as np, time
import graphc as gc
from graphc.nn import progress
progress.Bar.interval = 0.0  # news after every step
model = gc.nn.Sequential([gc.nn.Dense(2)], seed=0)
model.compile("sgd", "mse", metrics=["accuracy"])
x = np.random.default_rng(0).normal(size=(3000, 4)).astype("f")
h = model.fit(x, x[:, :2], epochs=12, batch_size=100, validation_data=(x, x[:, :2]), verbose="auto")
print("LOSSES", *(f"{v:.4f}" for v in h.history["loss"]))
"""


def on_a_terminal(columns: int, program: str = _FIT) -> tuple[str, list[str]]:
    """What a program writes to a terminal, and the lines that stand there in the end."""
    pty = pytest.importorskip("pty", reason="needs pseudo-terminals")
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "LINES": "24", "TERM": "xterm-256color"}
    with subprocess.Popen([sys.executable, "-c", program], stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        written = b""
        try:
            while piece := os.read(ours, 65536):
                written += piece
        except OSError:  # the other side is closed
            pass
        assert process.wait(60) == 0, written.decode()
    os.close(ours)
    return written.decode(), _screen(written.decode())


def _screen(written: str) -> list[str]:
    """The lines that stay: a terminal that knows line ends, returns, cursor up and erase."""
    lines, row, column = [""], 0, 0
    for token in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|.|\n", written, re.DOTALL):
        if token == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif token == "\r":
            column = 0
        elif token.startswith("\x1b"):
            if token.endswith("A"):
                row -= int(token[2:-1] or 1)
            elif token.endswith("K"):
                lines[row] = "" if token[2:-1] == "2" else lines[row][:column]
        else:
            lines[row] = lines[row][:column].ljust(column) + token + lines[row][column + 1 :]
            column += 1
    return [line.rstrip() for line in lines if line.strip()]


@pytest.fixture(scope="module")
def eighty() -> tuple[str, list[str]]:
    return on_a_terminal(80)


def losses(lines: list[str]) -> list[str]:
    return lines[-1].removeprefix("LOSSES ").split()


def test_after_fit_the_line_of_every_epoch_stays(eighty: Any) -> None:
    _, lines = eighty
    assert len(lines) == 13, lines
    for k, (line, loss) in enumerate(zip(lines, losses(lines), strict=False)):
        rest = " - ".join(rf"{name}: 0\.\d{{4}}" for name in ("accuracy", "val_loss", "val_accuracy"))
        assert re.fullmatch(rf"Epoch {k + 1}/12 - \S+ s - loss: {loss} - {rest}", line)


def bars(written: str) -> list[str]:
    return [piece for piece in re.split(r"[\r\n]+", ESCAPES.sub("", written)) if "━" in piece]


@pytest.mark.parametrize("columns", [80, 45])
def test_the_bar_keeps_epoch_time_and_loss(columns: int, eighty: Any) -> None:
    written = eighty[0] if columns == 80 else on_a_terminal(columns)[0]
    shown = [re.sub("[╺╸]", "━", bar).strip() for bar in bars(written)]
    assert any("loss" in bar for bar in shown)
    for bar in shown:
        assert len(bar) <= columns
        assert re.fullmatch(r"(Epoch \d+/12 )?━+ \S+( loss: \d\.\d{4})?", bar), bar


def test_the_loss_shown_belongs_to_the_epoch_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with report(1, 20) as bar:
        assert isinstance(bar, Bar)
        task = bar.progress.tasks[0]
        bar.begin("Epoch 1/2")
        assert (task.description, task.fields["loss"]) == ("Epoch 1/2", "")
        bar.advance(4, {"loss": 1.0, "accuracy": 0.5})
        assert task.fields["loss"] == "loss: 1.0000"
        bar.advance(6, {"loss": 2.0, "accuracy": 0.5})
        assert task.fields["loss"] == "loss: 1.6000"
        bar.end({"loss": 1.6, "accuracy": 0.5})
        bar.begin("Epoch 2/2")
        assert (task.description, task.fields["loss"]) == ("Epoch 2/2", "")
        bar.advance(10, {"loss": 0.25, "accuracy": 0.5})
        assert task.fields["loss"] == "loss: 0.2500"
        assert task.completed == task.total
        bar.end({"[red]name": 0.25})
    shown = capsys.readouterr().out.splitlines()
    assert [line.split(" - ")[0] for line in shown] == ["Epoch 1/2", "Epoch 2/2"]
    assert shown[1].endswith("[red]name: 0.2500")


@pytest.mark.parametrize("verbose", ['"auto"', "1"])
def test_in_a_pipe_an_epoch_is_a_line(verbose: str) -> None:
    program = _FIT.replace('"auto"', verbose)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 13
    assert [line.split(" - ")[2] for line in lines[:-1]] == [f"loss: {loss}" for loss in losses(lines)]
    assert not ESCAPES.search(done.stdout)


def test_silence_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with report(0, 3) as shown:
        assert type(shown) is Report
        shown.begin("Epoch 1/1")
        shown.advance(3, {"loss": np.nan})
        shown.end({})
    assert capsys.readouterr().out == ""
