"""Settings of the whole test run: a private cache folder, the options `--update-golden`, and interrupts."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator

import pytest

# Set before any test imports graphc, so that nothing is taken from, or left in, the user's cache.
_folder = tempfile.TemporaryDirectory(prefix="graphc-tests-")
os.environ["XDG_CACHE_HOME"] = _folder.name


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the kernels' texts in tests/golden anew")


@pytest.fixture(scope="session")
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture(scope="session", autouse=True)
def _cleaned() -> Iterator[None]:
    yield
    _folder.cleanup()


@pytest.fixture
def ctrl_c() -> Iterator[Callable[[float], None]]:
    """A function that lets this process be interrupted so many seconds later, as by Ctrl-C."""
    timers = []

    def later(seconds: float) -> None:
        timers.append(threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT)))
        timers[-1].start()

    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield later
    for timer in timers:
        timer.cancel()
    signal.signal(signal.SIGINT, old)
