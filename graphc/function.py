"""gc.function: a Python function of arrays that is compiled when it is called.

In: a function of trees of nodes.  Out: a Function, which takes arrays, Python numbers and trees of them.  A call of a
kind that was not there before traces and compiles; what there is of nodes among the arguments makes it a function of
nodes, which becomes part of the graph around it.
"""

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from graphc.adjoint import grad, value_and_grad, vjp
from graphc.declare import constant, is_declared
from graphc.derived import batched, derived
from graphc.errors import DeclarationError, InputError, PropertyError
from graphc.graph import Node
from graphc.jacobian import hessian, jacobian
from graphc.made import Made
from graphc.signature import SCALARS, Call, Signature
from graphc.tangent import hvp, jvp
from graphc.trace import TRACING, at_line, shown, tracing

if TYPE_CHECKING:
    from graphc.inspect.profile import Profile
    from graphc.runtime.function import CompiledFunction
    from graphc.specialise import Specialisation


class Function:
    """A Python function that is compiled when it is called; made by `gc.function`.

    It is called as the function is, with arrays, Python numbers, and dicts, lists and tuples of them, and gives arrays
    in the structure of what the function gives.  Among nodes it is the function itself.  `grad` and its like give
    such functions again.

    >>> import numpy as np
    >>> import graphc as gc
    >>> @gc.function
    ... def energy(x, scale=1.0):
    ...     return gc.sum(x ** 2) * scale
    >>> energy(np.array([1.0, 2.0]), 10.0), energy.grad()(np.array([1.0, 2.0, 3.0]))
    (array(50.), array([2., 4., 6.]))
    """

    def __init__(
        self,
        function: Callable[..., Any],
        signature: Signature,
        symbolic: bool,
        made: Made | None = None,
        origin: tuple[Any, ...] = (),
    ) -> None:
        functools.update_wrapper(self, function, updated=())
        self.__name__: str = getattr(function, "__name__", type(function).__name__)
        self.__qualname__: str = getattr(function, "__qualname__", self.__name__)
        self._function, self._signature, self._symbolic = function, signature, symbolic
        self._made = Made() if made is None else made
        self._origin = origin  # of what this was derived, how, and by which arguments
        self._bound: dict[int, tuple[weakref.ref[Any], Made]] = {}

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """What the function gives for these arguments.

        Raises DeclarationError or DTypeError for an argument that is neither array, number, nor tree of them, or for a
        result that is no node; InputError for sizes that do not fit; and what the function raises while it is traced.

        >>> import numpy as np
        >>> import graphc as gc
        >>> twice = gc.function(lambda x: {"y": 2.0 * x})
        >>> twice(np.ones(2)), twice(gc.input("x", ("n",)))["y"].shape
        ({'y': array([2., 2.])}, (n,))
        """
        made = self._made
        if not kwargs and not TRACING.now:
            if made.trial:
                made.latest, attempt = made.trial
                result = attempt(*args)
                if result is not NotImplemented:
                    return result
            found = made.find(args)
            if found:
                made.latest, run = found
                try:
                    return run(*args)
                except InputError:
                    if found[0].fits(self._taken(args, {}).arrays):
                        raise
        call = self._taken(args, kwargs)
        if call.declared or TRACING.now:
            return self._inlined(call)
        made.latest = known = self._specialised(call)
        try:
            return known.run(*call.arrays)
        except InputError:
            if known.fits(call.arrays):
                raise
        made.latest = known = self._specialised(call, fitting=True)
        return known.run(*call.arrays)

    def _taken(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        return Call(self._signature, args, kwargs, self._symbolic)

    def _inlined(self, call: Call) -> Any:
        """What the function gives among nodes, or while another one is traced; arrays are constants there."""
        leaves = [v if is_declared(v) or type(v) in SCALARS else constant(v) for v in call.leaves]
        args, kwargs = call.filled(leaves)
        with tracing():
            return self._function(*args, **kwargs)

    def _specialised(self, call: Call, fitting: bool = False) -> Specialisation:
        """What serves this call, with `fitting` its sizes too; the first of a kind makes it, and others wait."""
        made = self._made
        found = made.known(call, fitting)
        if found is None:
            with made.lock(call.key):
                found = made.known(call, fitting) or made.kept(call, self._new(call))
        made.note(call, found)
        return found

    def _new(self, call: Call) -> Specialisation:
        from graphc.specialise import Specialisation

        return Specialisation(self._function, self.__name__, call)

    def compiled(self, /, *args: Any, **kwargs: Any) -> CompiledFunction:
        """The compiled function that a call with these arguments runs: one of all arrays in them, in order.

        It is made if it is not there, and not called.  Raises what a call does, and DeclarationError for nodes.

        >>> import numpy as np
        >>> import graphc as gc
        >>> gc.function(lambda x: x + 1.0).compiled(np.ones(3))
        <compiled <lambda>(x: float64[x_0]) -> float64[x_0]>
        """
        call = self._taken(args, kwargs)
        if call.declared:
            says = "compiled takes arrays, and there is a node among the arguments"
            raise DeclarationError(f"{self.__name__}.{says}{at_line()}")
        return self._specialised(call, fitting=True).compiled

    def grad(self, argnums: Any = 0) -> Function:
        """The function of the same arguments that gives the gradient of the scalar which this one gives.

        `argnums` is the place of an argument, whose tree comes back, or a tuple of places, for a tuple of trees.
        Raises DeclarationError for a place where there is no argument, and when called what `gc.grad` raises.

        >>> import numpy as np
        >>> import graphc as gc
        >>> f = gc.function(lambda w, x: gc.sum(w["a"] * x))
        >>> f.grad()({"a": 2.0}, np.array([1.0, 2.0])), f.grad((0, 1))({"a": 2.0}, 3.0)
        ({'a': array(3.)}, ({'a': array(3.)}, array(2.)))
        """
        return self._derived("grad", grad, argnums)

    def value_and_grad(self, argnums: Any = 0) -> Function:
        """The function that gives the pair of the value and the gradient; see `grad`.

        >>> import graphc as gc
        >>> gc.function(lambda x: x * x).value_and_grad()(3.0)
        (array(9.), array(6.))
        """
        return self._derived("value_and_grad", value_and_grad, argnums)

    def vjp(self, argnums: Any = 0) -> Function:
        """The function that gives the product of a cotangent, one more argument behind the others, and the Jacobian.

        >>> import numpy as np
        >>> import graphc as gc
        >>> gc.function(lambda x: x * x).vjp()(np.array([1.0, 2.0]), np.array([1.0, 10.0]))
        array([ 2., 40.])
        """
        return self._derived("vjp", vjp, argnums, "cotangent")

    def jvp(self, argnums: Any = 0) -> Function:
        """The function that gives the product of the Jacobian and a tangent, one more argument behind the others.

        The tangent is like the argument at `argnums`, or a tuple for a tuple of places.

        >>> import numpy as np
        >>> import graphc as gc
        >>> gc.function(lambda x: x * x).jvp()(np.array([1.0, 2.0]), np.array([1.0, 10.0]))
        array([ 2., 40.])
        """
        return self._derived("jvp", jvp, argnums, "tangent")

    def hvp(self, argnums: Any = 0) -> Function:
        """The function that gives the product of the Hessian and a tangent, one more argument behind the others.

        >>> import numpy as np
        >>> import graphc as gc
        >>> gc.function(lambda x: gc.sum(x ** 3)).hvp()(np.array([1.0, 2.0]), np.array([1.0, 1.0]))
        array([ 6., 12.])
        """
        return self._derived("hvp", hvp, argnums, "tangent")

    def jacobian(self, argnums: Any = 0, *, sparsity: Any = None) -> Function:
        """The function that gives the derivatives of every element of the result; see `gc.jacobian`.

        `sparsity` is a matrix that tells where they may be other than 0, of which a vector comes back.

        >>> import numpy as np
        >>> import graphc as gc
        >>> gc.function(lambda x: x[:2] * x[2]).jacobian()(np.array([1.0, 2.0, 3.0]))
        array([[3., 0., 1.],
               [0., 3., 2.]])
        """
        if sparsity is None:
            return self._derived("jacobian", jacobian, argnums)
        return self._derived("jacobian", functools.partial(jacobian, sparsity=sparsity), argnums, sparsity=sparsity)

    def hessian(self, argnums: Any = 0) -> Function:
        """The function that gives the second derivatives of the scalar which this one gives; see `gc.hessian`.

        >>> import numpy as np
        >>> import graphc as gc
        >>> gc.function(lambda x: x[0] ** 2 * x[1]).hessian()(np.array([1.0, 3.0]))
        array([[6., 2.],
               [2., 0.]])
        """
        return self._derived("hessian", hessian, argnums)

    def _derived(
        self, how: str, derive: Callable[..., Any], argnums: Any, last: str = "", **options: Any
    ) -> Function:
        what = f"{self.__name__}.{how}"
        of_nodes = derived(self._function, self._signature, argnums, derive, what, bool(last))
        signature = replace(self._signature, last=(*self._signature.last, last)) if last else self._signature
        return self._child(of_nodes, signature, how, argnums, **options)

    def vmap(self, in_axes: Any = 0, out_axes: Any = 0) -> Function:
        """The function of a batch of examples; see `gc.vmap`.

        Arguments that are static, or given by name alone, are shared by all examples.

        >>> import numpy as np
        >>> import graphc as gc
        >>> length = gc.function(lambda x: gc.sqrt(gc.sum(x * x)))
        >>> length.vmap()(np.array([[3.0, 4.0], [0.0, 2.0]]))
        array([5., 2.])
        """
        of_nodes = batched(self._function, self._signature, in_axes, out_axes)
        return self._child(of_nodes, self._signature, "vmap", in_axes, out_axes)

    def _child(
        self, of_nodes: Callable[..., Any], signature: Signature, how: str, *arguments: Any, **options: Any
    ) -> Function:
        """A function derived of this one, which knows what others of its kind have made."""
        of_nodes.__name__ = of_nodes.__qualname__ = f"{self.__name__}.{how}"
        key = how, repr(arguments), *map(_elements, options.values())
        made = self._made.derived.setdefault(key, Made())
        return Function(of_nodes, signature, self._symbolic, made, (self, how, arguments, options))

    def __get__(self, instance: Any, owner: type | None = None) -> Function:
        """The method of an object, which stands for itself while it is traced, as what a function closes over does."""
        if instance is None:
            return self
        method = self._function.__get__(instance, owner)
        return Function(method, self._signature.without_first(), self._symbolic, self._made_for(instance))

    def _made_for(self, instance: Any) -> Made:
        """What the method of this object has made, as long as the object lives."""
        number = id(instance)
        found = self._bound.get(number)
        if found is None:
            try:
                reference = weakref.ref(instance, lambda _: self._bound.pop(number, None))
            except TypeError:
                kind = type(instance).__name__
                says = f"a gc.function can't be a method of {kind} objects, which take no weak references"
                raise DeclarationError(f"{says}; write a function{at_line()}") from None
            found = self._bound.setdefault(number, (reference, Made()))
        return found[1]

    @property
    def _last(self) -> Specialisation:
        if self._made.latest is None:
            raise PropertyError(f"{self.__name__} has not been called; f.compiled(x) is what a call of f(x) runs")
        return self._made.latest

    @property
    def source(self) -> str:
        """The text that the last call ran; `f.compiled(x).source` is that for the argument x."""
        return self._last.compiled.source

    @property
    def stats(self) -> dict[str, Any]:
        """What `CompiledFunction.stats` tells of the last call, and how many specialisations there are."""
        return {**self._last.compiled.stats, "specialisations": self._made.count}

    def explain(self) -> str:
        """What `CompiledFunction.explain` tells of what the last call ran; `f.compiled(x).explain()` is that for x.

        >>> import numpy as np
        >>> import graphc as gc
        >>> f = gc.function(lambda x: x + 1.0)
        >>> _ = f(np.ones(3))
        >>> f.explain().splitlines()[-5:-2]
        ['forward', '  0 add', '      max(((x_0 + 16390) // 16384), 1) chunks; x_0 flops, 16*x_0 bytes']
        """
        return self._last.compiled.explain()

    def profile(self, /, *args: Any, repeat: int = 100, **kwargs: Any) -> Profile:
        """What `CompiledFunction.profile` tells of what a call with these arguments runs.

        >>> import numpy as np
        >>> import graphc as gc
        >>> [kernel.title for kernel in gc.function(lambda x: x + 1.0).profile(np.ones(3), repeat=3)]
        ['add']
        """
        compiled = self.compiled(*args, **kwargs)
        return compiled.profile(*self._taken(args, kwargs).arrays, repeat=repeat)

    def __repr__(self) -> str:
        return f"<function {self.__name__}, {self._made.count} specialisations>"

    def __reduce__(self) -> Any:
        if self._origin:
            return _derive_again, self._origin
        return self.__qualname__ if _named(self) is self else (_function_again, (self._function, self._options))

    @property
    def _options(self) -> tuple[tuple[str, ...], bool]:
        return tuple(sorted(self._signature.static)), self._symbolic


def _elements(matrix: Any) -> tuple[Any, ...]:
    """What tells a pattern of NumPy's or SciPy's from others."""
    return np.shape(matrix), *(places.tobytes() for places in np.nonzero(matrix))


def _named(thing: Function) -> Any:
    """What stands under the function's name in its module."""
    found: Any = sys.modules.get(thing.__module__)
    for part in thing.__qualname__.split("."):
        found = getattr(found, part, None)
    return found


def _function_again(of: Any, options: tuple[tuple[str, ...], bool]) -> Function:
    return of if isinstance(of, Function) else function(of, static=options[0], symbolic=options[1])


def _derive_again(parent: Function, how: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Function:
    found: Function = getattr(parent, how)(*arguments, **options)
    return found


@overload
def function(function: Callable[..., Any], /, *, static: Any = (), symbolic: bool = True) -> Function: ...


@overload
def function(*, static: Any = (), symbolic: bool = True) -> Callable[[Callable[..., Any]], Function]: ...


def function(function: Any = None, /, *, static: Any = (), symbolic: bool = True) -> Any:
    """A Python function as one of arrays, which is compiled when it is called, once for each dtype and rank of them.

    The function is called on nodes, and gives a node or a tree of nodes.  Its arguments may be arrays, Python numbers,
    which are values of the call and as weak as ever, and dicts, lists and tuples of them; None is part of the
    structure.  An argument that `static` names, a name or a list of names, is handed to the function as it is, and it
    is compiled for each value.  Sizes other than 1 are symbols, so that new ones compile nothing; with
    `symbolic=False` they are numbers.

    Raises DeclarationError for what can't be called, or a static parameter that there is not.

    >>> import numpy as np
    >>> import graphc as gc
    >>> @gc.function
    ... def normalised(x):
    ...     return (x - gc.mean(x)) / gc.std(x)
    >>> normalised(np.array([1.0, 2.0, 3.0])).round(2), normalised(np.array([1.0, 3.0]))
    (array([-1.22,  0.  ,  1.22]), array([-1.,  1.]))
    >>> normalised.stats["specialisations"]
    1
    >>> @gc.function(static="count")
    ... def powers(x, count):
    ...     return [x ** k for k in range(count)]
    >>> powers(3.0, 3)
    [array(1.), array(3.), array(9.)]
    """
    if function is None:
        return functools.partial(declared, static=static, symbolic=symbolic)
    return declared(function, static, symbolic)


def declared(function: Any, static: Any = (), symbolic: bool = True) -> Function:
    """The Function that a Python function becomes."""
    if not callable(function) or isinstance(function, Node):
        raise DeclarationError(f"gc.function takes a function of nodes, got {shown(function)}{at_line()}")
    return Function(function, Signature.of(function, static), symbolic)
