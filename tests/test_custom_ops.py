"""Ops that only tests have, compiled: one with two results and one that holds a sub-graph, and what an edit changes."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support_ops import CALL, call, sin_cos

import graphc as gc
from graphc.graph import Graph, Node
from graphc.interpret import interpret
from graphc.ops.item import item

Values = np.ndarray[Any, Any]


def check(outputs: Sequence[Node], inputs: Sequence[Node], values: Sequence[Values], pickled: bool = False) -> None:
    """Compiled against interpreted."""
    f = gc.compile(inputs, list(outputs))
    f = pickle.loads(pickle.dumps(f)) if pickled else f
    expected = interpret(Graph(tuple(outputs), tuple(inputs)), values)
    for found, value in zip(f(*values), expected, strict=True):
        assert (found.shape, found.dtype) == (value.shape, value.dtype)
        error, scale = np.abs(found - value).max(initial=0), np.abs(value).max(initial=0)
        assert error <= 16 * np.finfo(value.dtype).eps * scale, f"{found} instead of {value}"


def body(dtype: str) -> Graph:
    """(sin(u) v, log(exp(u)) + v, sum(u v)), with the cosine of an op with two results left unused."""
    u, v = gc.input("u", ("n",), dtype), gc.input("v", ("n",), dtype)
    s, _ = sin_cos(u)
    return Graph((s * v, gc.log(gc.exp(u)) + v, gc.sum(u * v)), (u, v))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("used", [(0, 1), (0,), (1,)])
def test_two_results_forward_and_gradient(dtype: str, used: tuple[int, ...]) -> None:
    x = gc.input("x", ("n",), dtype)
    results = [sin_cos(x * 2)[k] for k in used]
    y = gc.sum(results[0] * results[-1])
    first = gc.grad(y, x)
    outputs = [*results, y, first, gc.grad(gc.sum(first * first), x)]
    for size in (0, 1, 37):
        check(outputs, [x], [np.linspace(0.1, 2, size).astype(dtype)])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("used", [(0, 1, 2), (0,), (1,), (2,)])
def test_a_sub_graph_forward_and_gradient(dtype: str, used: tuple[int, ...]) -> None:
    x = gc.input("x", ("n",), dtype)
    held = call(body(dtype), x, gc.exp(x))  # the operands depend on one another
    results = [item(held, k) for k in used]
    y = gc.sum(results[0] * results[-1])
    first = gc.grad(y, x)
    outputs = [*results, y, first, gc.grad(gc.sum(first * first), x)]
    for size in (0, 1, 37):
        check(outputs, [x], [np.linspace(0.1, 1, size).astype(dtype)])


def test_a_sub_graph_that_holds_one() -> None:
    u, v = gc.input("u", ("n",)), gc.input("v", ("n",))
    inner = call(body("float64"), v, u)
    outer = Graph((item(inner, 0) + u, item(inner, 2)), (u, v))
    x = gc.input("x", ("n",))
    held = call(outer, x, x * x)
    y = gc.sum(item(held, 0)) * item(held, 1)
    check([y, gc.grad(y, x)], [x], [np.linspace(0.1, 1, 9)])


def test_one_sub_graph_at_several_places_and_in_a_pickle() -> None:
    x, b = gc.input("x", ("n",)), body("float64")
    held = item(call(b, x, x), 0)
    twice = item(call(b, held, x), 1) * item(call(b, x, held), 2)
    check([twice, gc.grad(gc.sum(twice), x)], [x], [np.linspace(0.1, 1, 9)], pickled=True)


def test_a_parameter_learns_through_both() -> None:
    x, w = gc.input("x", ("n",)), gc.parameter("w", np.array(0.5))
    s, c = sin_cos(x * w)
    held = call(body("float64"), s, c)
    loss = gc.mean((item(held, 0) + item(held, 1)) ** 2)
    step = gc.compile([x], loss, updates={w: w - 0.1 * gc.grad(loss, w)})
    values = np.linspace(-1, 1, 20)
    for _ in range(3):
        value, new = interpret(Graph((loss, w - 0.1 * gc.grad(loss, w)), (x,)), [values])
        np.testing.assert_allclose(step(values), value, rtol=1e-14)
        np.testing.assert_allclose(w.value, new, rtol=1e-14)


def test_what_runs_names_no_sub_graph() -> None:
    x = gc.input("x", ("n",))
    f = gc.compile([x], item(call(body("float64"), x, x), 1))
    assert CALL.name not in f.source
    assert "sin(" not in f.source, "an unused result of the sub-graph is not computed"


# An edited intrinsic

PROGRAM = """
import graphc as gc
x = gc.input("x", ("n",))
f = gc.compile([x], gc.sum(gc.sqrt(x)))
print(float(f([4.0, 1.0])), f.stats["from_cache"])
"""


def test_an_edited_intrinsic_takes_effect_without_a_new_version(tmp_path: Path) -> None:
    """Same version, same size and date of the file, same cache folder: only its content differs."""
    copy = tmp_path / "sources"
    shutil.copytree(Path(gc.__file__).parent, copy / "graphc", ignore=shutil.ignore_patterns("__pycache__"))
    settings = {"PYTHONPATH": str(copy), "XDG_CACHE_HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}

    def run() -> str:
        command = [sys.executable, "-c", PROGRAM]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=os.environ | settings)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert [run(), run()] == ["3.0 False", "3.0 True"]
    path = copy / "graphc" / "codegen" / "intrinsics" / "power.py"
    content, status = path.read_text(), path.stat()
    edited = content.replace("return lanes.sqrt(x)", "return lanes.rint(x)")
    assert edited != content
    path.write_text(edited)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert [run(), run()] == ["5.0 False", "5.0 True"]


# An edited op of the user's


OWN = """
import numpy as np
import graphc as gc
from graphc.graph import make
from graphc.op import Family, Op, register
from graphc.ops.rules import elementwise
from graphc.types import FLOATS
op = register(Op(name="twice", doc="", family=Family.ELEMENTWISE, infer=elementwise(FLOATS), reference=lambda x: x,
                 body={body!r}))
x = gc.input("x", ("n",))
f = gc.compile([x], gc.sum(make(op, (x,))))
print(float(f([1.0, 2.0])), f.stats["from_cache"])
g = gc.compile([x], gc.sum(x))
print(g([1.0, 2.0]), g.stats["from_cache"])
"""


def test_a_program_of_the_users_op_is_never_kept(tmp_path: Path) -> None:
    """Its functions may change with nothing that tells, so that yesterday's code would run; other programs are kept."""
    settings = {"PYTHONPATH": os.pathsep.join(sys.path), "XDG_CACHE_HOME": str(tmp_path)}

    def run(body: str) -> str:
        command = [sys.executable, "-c", OWN.format(body=body)]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | settings, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.replace("\n", " ")

    assert run("x + x") == "6.0 False 3.0 False "
    assert run("x * x") == "5.0 False 3.0 True "


def test_a_users_op_in_a_sub_graph_counts() -> None:
    x = gc.input("x", ("n",))
    f = gc.compile([x], item(call(body("float64"), x, x), 1))
    assert not f.stats["from_cache"]
    assert not gc.compile([x], item(call(body("float64"), x, x), 1)).stats["from_cache"]
