"""Settings of the whole test run: a private cache folder, the options `--update-golden`, and interrupts."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType

import pytest

# Set before any test imports graphc, so that nothing is taken from, or left in, the user's cache.  The processes of one
# run share a folder: what begins them has made it, and they find it in their environment.
_BEGINS = "PYTEST_XDIST_WORKER" not in os.environ
if _BEGINS:
    _folder = tempfile.TemporaryDirectory(prefix="graphc-tests-")
    os.environ["XDG_CACHE_HOME"] = _folder.name


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the kernels' texts in tests/golden anew")


@pytest.fixture(scope="session")
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))


def pytest_unconfigure() -> None:
    if _BEGINS:
        _folder.cleanup()


@pytest.fixture
def ctrl_c() -> Iterator[Callable[[float], None]]:
    """A function that lets this process be interrupted so many seconds later, as by Ctrl-C.

    Or a little later still, where Python would drop the KeyboardInterrupt: while objects of other libraries die, of
    which a test run has many.
    """
    timers = []

    def later(seconds: float) -> None:
        timers.append(threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT)))
        timers[-1].start()

    def handle(number: int, frame: FrameType | None) -> None:
        if any(_is_dropped(f.f_code) for f in _callers(frame)):
            later(0.001)
        else:
            raise KeyboardInterrupt

    old = signal.signal(signal.SIGINT, handle)
    yield later
    for timer in timers:
        timer.cancel()
    signal.signal(signal.SIGINT, old)


def _callers(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_dropped(code: CodeType) -> bool:
    """Whether Python drops what is raised there: callbacks of weak references, of JAX's collector, and finalizers."""
    path = Path(code.co_filename)
    finalizer = code.co_name in ("__del__", "gc_callback") and "graphc" not in path.parts
    return finalizer or path.name in ("weakref.py", "_weakrefset.py")
