"""Bytes that a training step or gradient needs beside its arguments and state, and JAX's."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

import graphc as gc
from benchmarks.limits.line import Line, jax_or_none
from benchmarks.limits.work import CNN, DEEP, LISTING, TRANSFORMER, VAE, Size, works
from benchmarks.peers import batches_of
from benchmarks.workloads import WORKLOADS, Derivative
from graphc.tree import flatten


def memory(sizes: Sequence[Size] = (*LISTING, DEEP, CNN, TRANSFORMER, VAE)) -> Iterator[Line]:
    """Workspaces, packing and outputs; of JAX temporaries and outputs but those in donated arrays."""
    for work, size in zip(works(sizes), sizes, strict=True):
        gc.set_num_threads(1)
        outputs, _ = flatten(work.begin()())
        ours = work.function.stats["workspace"] + sum(np.asarray(output).nbytes for output in outputs)
        theirs = _of_jax(*size)
        yield Line(f"memory, {work.title}", ours / theirs, 1, "×", f"JAX's {theirs / 1e3:,.1f} KB")


def _of_jax(name: str, size: str, form: str) -> float:
    if (jax := jax_or_none()) is None:
        return math.nan
    analysis = _compiled(jax, name, size, form).memory_analysis()
    return float(analysis.temp_size_in_bytes + analysis.output_size_in_bytes - analysis.alias_size_in_bytes)


def _compiled(jax: Any, name: str, size: str, form: str) -> Any:
    from benchmarks.peers import jax_

    record = WORKLOADS[name]
    arrays = record.inputs(size)
    if isinstance(record, Derivative):
        constants, words = {key: arrays.pop(key) for key in record.constants}, jax_.Words()
        results = jax.jit(lambda moving: record.results(words, form, size, {**constants, **moving})["gradient"]())
        return results.lower(arrays).compile()
    step, batch = jax.jit(jax_.step, donate_argnums=0), map(jax.numpy.array, batches_of(arrays)[0])
    return step.lower(jax_.state_before(arrays), *batch).compile()
