"""Forward mode: products of Jacobians with tangents, of the adjoint's adjoint.

In: nodes, and tangents of what they are made of.  Out: nodes.  No op has a rule for it: vjp(y, x, u) is linear in u, so
that its own adjoint with respect to u is the Jacobian, whatever u is.  Nothing reads u in the end, though a loop or a
choice may still take it, for a result that nobody wants: there it is zeros.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphc.adjoint import grad, outputs_of, targets_of, vjp, weights_like
from graphc.declare import FUNCTIONS
from graphc.ops.bodies import slot, substituted
from graphc.tree import unflatten


def linearize(y: Any, x: Any) -> tuple[Any, Callable[[Any], Any]]:
    """`y`, and the function that takes a tangent of x to the tangent of y: `jvp` for many tangents.

    y and x are nodes or trees of float nodes; a tangent of x is a tree like x, and the tangent of y one like y.
    Raises GradientError for what is not float, trees that differ, and an op that can't be differentiated.

    >>> import graphc as gc
    >>> x = gc.input("x", (2,))
    >>> y, push = gc.linearize(gc.sin(x), x)
    >>> gc.compile([x], (y, push([1.0, 0.0]), push([0.0, 2.0])))([0.0, 0.0])
    (array([0., 0.]), array([1., 0.]), array([0., 2.]))
    """
    outputs, structure = outputs_of(y)
    nodes, _ = targets_of(x)
    cotangents = [slot("cotangent", o.type) for o in outputs]
    pulled = vjp(outputs, nodes, cotangents)
    nothing = {c: FUNCTIONS["zeros"](c.shape, dtype=c.dtype) for c in cotangents}

    def push(tangent: Any) -> Any:
        found = vjp(pulled, cotangents, weights_like(x, tangent, "the tangent of x"))
        return unflatten(structure, substituted(found, nothing))

    return y, push


def jvp(y: Any, x: Any, tangent: Any) -> Any:
    """The Jacobian-vector product: how y changes where x moves along `tangent`, a tree like x; a tree like y.

    y and x are nodes or trees of float nodes.  Of a Python function, `gc.jvp(f, argnums=0)` is
    `gc.function(f).jvp(argnums)`.  Raises GradientError for what is not float, trees that differ, and an op that can't
    be differentiated.

    >>> import graphc as gc
    >>> x = gc.input("x", (2,))
    >>> gc.compile([x], gc.jvp(x ** 2, x, [1.0, 10.0]))([1.0, 2.0])
    array([ 2., 40.])
    """
    return linearize(y, x)[1](tangent)


def hvp(y: Any, x: Any, tangent: Any) -> Any:
    """The Hessian-vector product of a scalar y: how its gradient changes where x moves along `tangent`; a tree like x.

    It is forward mode over reverse mode, and costs some gradients, however many elements x has.  Of a Python function,
    `gc.hvp(f, argnums=0)` is `gc.function(f).hvp(argnums)`.  Raises GradientError as `grad` and `jvp` do.

    >>> import graphc as gc
    >>> x = gc.input("x", ("n",))
    >>> gc.compile([x], gc.hvp(gc.sum(x ** 3), x, gc.ones(x.shape)))([1.0, 2.0])
    array([ 6., 12.])
    """
    return jvp(grad(y, x), x, tangent)
