"""What is measured: WORKLOADS, one record each, by name."""

from __future__ import annotations

from benchmarks.workloads import (
    ba,
    cnn,
    cumsum,
    eos,
    gmm,
    isoneutral,
    llsq,
    lse,
    lstm,
    normal_logp,
    ode,
    options,
    radon,
    scan_mat3,
    scan_scalars,
    slice_update,
    sum_axis0,
    training,
    transformer,
    vae,
)
from benchmarks.workloads.derivative import Derivative
from benchmarks.workloads.record import Tolerance, Workload

_DERIVATIVES = (
    lstm,
    ode,
    lse,
    llsq,
    gmm,
    radon,
    normal_logp,
    options,
    scan_scalars,
    scan_mat3,
    ba,
    isoneutral,
    eos,
    slice_update,
    cnn,
    transformer,
    vae,
    sum_axis0,
    cumsum,
)
RECORDS = (*training.RECORDS, *(module.RECORD for module in _DERIVATIVES))
WORKLOADS: dict[str, Workload | Derivative] = {record.name: record for record in RECORDS}

__all__ = ["WORKLOADS", "Derivative", "Tolerance", "Workload"]
