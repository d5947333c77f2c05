"""What numbers depend on: the machine's description, and the environment in which a worker starts."""

from __future__ import annotations

import compileall
import importlib.util
import os
import platform
from pathlib import Path

# Overrides of OpenBLAS's own detection: set for another machine, they cripple the peers that use it.
MISLEADING = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


def describe() -> dict[str, object]:
    return {
        "cpu": _field("/proc/cpuinfo", "model name") or platform.processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory": _field("/proc/meminfo", "MemTotal"),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load at start": round(os.getloadavg()[0], 2),
        "removed from the environment": [name for name in MISLEADING if name in os.environ],
    }


def _field(path: str, key: str) -> str:
    """The first value of `key` in a file of /proc, "" where there is none."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


def pools(threads: int) -> dict[str, str]:
    """The variables that give every thread pool this size."""
    count = str(threads)
    return {
        **{f"{pool}_NUM_THREADS": count for pool in ("OMP", "OPENBLAS", "MKL", "NUMBA", "VECLIB")},
        "TF_NUM_INTRAOP_THREADS": count,
        "TF_NUM_INTEROP_THREADS": count,
        "NPROC": count,  # the size of XLA's thread pool under JAX
        "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'}",
        "JAX_PLATFORMS": "cpu",
        "CUDA_VISIBLE_DEVICES": "",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


def compile_modules() -> None:
    """Leave graphc's byte code beside its modules, as pip does for installed packages and has done for the peers."""
    found = importlib.util.find_spec("graphc")
    assert found is not None
    for folder in found.submodule_search_locations or ():
        compileall.compile_dir(folder, quiet=2)


def environment(threads: int, cache: Path) -> dict[str, str]:
    """A worker's environment: `threads` for every thread pool, and every disk cache inside `cache`."""
    kept = {name: value for name, value in os.environ.items() if name not in MISLEADING}
    return {
        **kept,
        **pools(threads),
        "XDG_CACHE_HOME": str(cache / "xdg"),
        "NUMBA_CACHE_DIR": str(cache / "numba"),
        "PYTENSOR_FLAGS": f"base_compiledir={cache / 'pytensor'}",
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "torch"),
        "JAX_COMPILATION_CACHE_DIR": str(cache / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
