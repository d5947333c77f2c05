"""Settings of the whole test run: a private cache folder, and the options `--update-golden`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

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
