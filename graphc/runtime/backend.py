"""Machine code: object files of kernels, routines and the driver, made by LLVM.

In: the text of kernels, and modules of words.  Out: the bytes of object files, which may be kept on disk.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from types import ModuleType
from typing import Any

import llvmlite.binding as llvm
from llvmlite.binding.ffi import OutputString
from llvmlite.binding.ffi import lib as library

from graphc.codegen.intrinsics.routine import Effort
from graphc.codegen.intrinsics.target import compiled_for
from graphc.runtime.assembly import assembly
from graphc.runtime.native import PREFIX, dissolve, kernel_name, processors

MOST_THREADS = 4  # the front end does not keep more of them busy
MOST_MODULES = 64  # of a backend, whose context keeps the types and constants of them all
_idle: list[Backend] = []  # to make one takes a millisecond


@dataclass(frozen=True)
class Compiled:
    """The object file of a kernel, and the names of the routines that it calls."""

    code: bytes
    routines: tuple[str, ...]


def compile_kernels(
    texts: Sequence[str], has: Callable[[str], bool] = lambda name: False
) -> tuple[list[Compiled], dict[str, bytes]]:
    """The kernels of these texts, and by name the routines that they call, but for those that the caller has.

    LLVM works on kernels in threads of its own while the front end reads the next.  The caller sees to it that Python
    collects nothing meanwhile (`uncollected`).
    """
    from concurrent.futures import Future, ThreadPoolExecutor

    from graphc.codegen.intrinsics.routine import KernelModule, Routine
    from graphc.runtime.frontend import lower  # only those who compile pay for importing Numba

    routines: dict[str, Routine] = {}
    kernels: list[tuple[Future[bytes], tuple[str, ...]]] = []
    with _quick_turns(), ThreadPoolExecutor(min(MOST_THREADS, processors())) as threads:
        for text in texts:
            module = KernelModule()
            lower(text, PREFIX + kernel_name(text), module)
            needs, effort = module.routines, module.effort
            late = text_of(module.late) if module.late.functions else ""
            kernels.append((threads.submit(object_file, text_of(module), effort, late), tuple(needs)))
            routines |= needs
        wanted = [r for r in routines.values() if not has(r.name)]
        made = {r.name: threads.submit(object_file, text_of(_module_of(r)), r.effort) for r in wanted}
        gc.collect(0)  # what the front end has left, while LLVM works: else it is next, and all wait for that
        return [Compiled(code.result(), needs) for code, needs in kernels], {n: c.result() for n, c in made.items()}


def _module_of(routine: Any) -> Any:
    from llvmlite import ir

    module = ir.Module(routine.name)
    routine.define(module)
    return module


@contextlib.contextmanager
def _quick_turns() -> Iterator[None]:
    """Threads change every tenth of a millisecond: one in LLVM needs the GIL for moments only, but again and again."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0001)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def compile_modules(*modules: ModuleType) -> bytes:
    """The object file that holds every function of modules written in graphc.runtime.words."""
    return object_file(*words_of(modules))


def words_of(modules: Sequence[ModuleType]) -> tuple[str, Effort]:
    """What `object_file` takes for modules written in graphc.runtime.words."""
    from graphc.runtime.words import compile_words

    return _head() + compile_words(modules, PREFIX), Effort.LINES


def text_of(module: Any) -> str:
    """The text of an llvmlite module, made ready for the machine; nothing is left of the module."""
    text = _head() + assembly(module)
    blocks = [block for function in module.functions for block in function.blocks]
    dissolve(*blocks, *module.functions, module)
    return text


def object_file(text: str, effort: Effort = Effort.LOOPS, late: str = "") -> bytes:
    """The code of a module's text.  What another text defines is inlined `late`: when loops are vectorised."""
    try:
        backend = _idle.pop()
    except IndexError:
        backend = Backend()
    code = backend.object_file(text, effort, late)
    backend.modules += 1
    if backend.modules < MOST_MODULES:
        _idle.append(backend)
    return code


@cache
def _head() -> str:
    """What a text begins with: which machine it is for, and how data are laid out in its memory."""
    backend = Backend()
    _idle.append(backend)
    return f'target triple = "{backend.triple}"\ntarget datalayout = "{backend.layout}"\n'


class Backend:
    """LLVM for the processor at hand, set up as Numba does, with a context of its own: for one thread at a time.

    What it needs is made once: between two of its calls, a thread may wait for the one that runs Python.
    """

    modules = 0  # that it has made

    def __init__(self) -> None:
        from numba.core import config
        from numba.core.registry import cpu_target

        settings: Any = config  # whose names are made when it is imported
        self.triple = cpu_target.target_context.codegen().magic_tuple()[0]
        level = min(int(settings.OPT), 2)  # 3 takes a third longer and gains nothing here
        self.machine = self._machine(level)
        self.layout = str(self.machine.target_data)
        self._context = llvm.create_context()
        self._tuning = llvm.create_pipeline_tuning_options(speed_level=level)
        self._tuning.loop_vectorization = bool(settings.LOOP_VECTORIZE)
        self._tuning.slp_vectorization = bool(settings.SLP_VECTORIZE)
        self._builder = llvm.create_pass_builder(self.machine, self._tuning)

    def _machine(self, level: int) -> Any:
        cpu, features = compiled_for()
        return llvm.Target.from_triple(self.triple).create_target_machine(
            cpu=cpu,
            features=features,
            opt=level,
            reloc="static" if self.triple.startswith("x86") else "default",
            codemodel="jitdefault",
            jit=True,
        )

    @cached_property
    def _quick_machine(self) -> Any:
        """The same without a look at what it makes, in a tenth of the time."""
        return self._machine(0)

    def object_file(self, text: str, effort: Effort, late: str) -> bytes:
        """See the function of this name."""
        code = self.optimised(text, effort, late)
        machine = self._quick_machine if effort is Effort.CALLS else self.machine
        with OutputString() as error:
            buffer = unlocked("LLVMPY_TargetMachineEmitToMemory")(machine, code, 1, error)
            if not buffer:
                raise RuntimeError(str(error))
        try:
            return ctypes.string_at(library.LLVMPY_GetBufferStart(buffer), library.LLVMPY_GetBufferSize(buffer))
        finally:
            library.LLVMPY_DisposeMemoryBuffer(buffer)

    def optimised(self, text: str, effort: Effort = Effort.LOOPS, late: str = "") -> Any:
        """The module of a text, optimised as far as the effort goes."""
        code = llvm.parse_assembly(text, self._context)
        code.verify()
        if effort is Effort.CALLS:
            return code
        run, loops = unlocked("LLVMPY_RunNewModulePassManager"), effort is Effort.LOOPS
        run(self._builder.getModulePassManager() if loops else _few_passes(), code, self._builder)
        if late:
            code.link_in(llvm.parse_assembly(late, self._context))
        if loops:
            _unkeep(code)
            run(_late_passes(), code, self._builder)
        return code


@cache
def unlocked(name: str) -> Any:
    """A function of llvmlite's library that threads may call at the same time, each with a context of its own.

    llvmlite itself lets one thread in at a time, since by default all modules share a context.
    """
    locked = getattr(library, name)
    function = getattr(ctypes.CDLL(library._name, handle=library._handle), name)
    function.argtypes, function.restype = locked.argtypes, locked.restype
    return function


def _unkeep(code: Any) -> None:
    """Have variants kept no more, which the vectoriser alone knew of."""
    for function in code.functions:
        if function.linkage == llvm.Linkage.weak_odr:
            function.linkage = llvm.Linkage.internal


def _late_passes() -> Any:
    """What the vectoriser made calls of is inlined: LLVM's own inliner comes before it.  What nobody calls goes."""
    passes = llvm.create_new_module_pass_manager()
    passes.add_always_inliner_pass()
    passes.add_global_dead_code_eliminate_pass()
    return passes


def _few_passes() -> Any:
    """Variables into registers, and little more: all passes take ten times as long."""
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    return passes
