"""Derivatives and batches, of nodes and of functions alike.

In: a function of nodes that derives something of nodes.  Out: one of the same name that also takes a Python function of
arrays in their place, and then gives a Function.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from graphc import adjoint, tangent
from graphc import jacobian as jacobians
from graphc import vmap as batches
from graphc.function import Function, declared


def of_functions(derive: Callable[..., Any], kind: Any = Callable) -> Callable[..., Any]:
    """`derive`, which also takes a Python function of this kind in the place of nodes, and then gives a Function."""

    @functools.wraps(derive)
    def either(*args: Any, **kwargs: Any) -> Any:
        if not args or not isinstance(args[0], kind):
            return derive(*args, **kwargs)
        made = args[0] if isinstance(args[0], Function) else declared(args[0])
        return getattr(made, derive.__name__)(*args[1:], **kwargs)

    return either


grad = of_functions(adjoint.grad)
value_and_grad = of_functions(adjoint.value_and_grad)
vjp = of_functions(adjoint.vjp)
jvp = of_functions(tangent.jvp)
hvp = of_functions(tangent.hvp)
jacobian = of_functions(jacobians.jacobian)
hessian = of_functions(jacobians.hessian)
vmap = of_functions(batches.vmap, Function)  # of a plain function it makes one of nodes
