"""Machine code: object files of kernels, routines and the driver, made by LLVM.

In: the text of kernels, and modules of words.  Out: the bytes of object files, which may be kept on disk.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import llvmlite.binding as llvm

from graphc.runtime.native import PREFIX, kernel_name, uncollected


@dataclass(frozen=True)
class Compiled:
    """The object file of a kernel, and the names of the routines that it calls."""

    code: bytes
    routines: tuple[str, ...]


def compile_kernels(texts: Sequence[str], have: Container[str] = ()) -> tuple[list[Compiled], dict[str, bytes]]:
    """The kernels of these texts, and by name the routines that they call, but for those that the caller has.

    LLVM works on one kernel while the front end reads the next: it lets other threads run meanwhile.
    """
    from concurrent.futures import Future, ThreadPoolExecutor

    from graphc.codegen.intrinsics.routine import KernelModule, Routine
    from graphc.codegen.namespace import namespace
    from graphc.runtime.frontend import lower_function  # only those who compile pay for importing Numba

    routines: dict[str, Routine] = {}
    kernels: list[tuple[Future[bytes], tuple[str, ...]]] = []
    backend = Backend()
    with uncollected(), _quick_turns(), ThreadPoolExecutor(1) as llvm_thread:
        for text in texts:
            code = compile(text, f"<{kernel_name(text)}>", "exec")
            scope = dict(namespace(code), __name__="graphc.kernel")
            exec(code, scope)
            module = KernelModule()
            lower_function(scope["kernel"], PREFIX + kernel_name(text), module)
            kernels.append((llvm_thread.submit(backend.object_file, backend.text_of(module)), tuple(module.routines)))
            routines |= module.routines
        wanted = [r for r in routines.values() if r.name not in have]
        texts_of = ((r, backend.text_of(_module_of(r))) for r in wanted)
        made = {r.name: llvm_thread.submit(backend.object_file, text, r.is_loop) for r, text in texts_of}
        return [Compiled(code.result(), needs) for code, needs in kernels], {n: c.result() for n, c in made.items()}


def _module_of(routine: Any) -> Any:
    from llvmlite import ir

    module = ir.Module(routine.name)
    routine.define(module)
    return module


@contextlib.contextmanager
def _quick_turns() -> Iterator[None]:
    """Threads change every half millisecond: one in LLVM needs the GIL for moments only, but again and again."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def compile_modules(*modules: ModuleType) -> bytes:
    """The object file that holds every function of modules written in graphc.runtime.words."""
    from graphc.runtime.words import compile_words

    backend = Backend()
    return backend.object_file(backend.text_of(compile_words(modules, PREFIX)), loops=False)


class Backend:
    """LLVM for the machine that Numba compiles for, set up as Numba does.

    What it needs is made once: between two of its calls, a thread may wait for the one that runs Python.
    """

    def __init__(self) -> None:
        from numba.core import config
        from numba.core.registry import cpu_target

        settings: Any = config  # whose names are made when it is imported
        self.triple, cpu, features = cpu_target.target_context.codegen().magic_tuple()
        level = min(int(settings.OPT), 2)  # 3 takes a third longer and gains nothing here
        self.machine = llvm.Target.from_triple(self.triple).create_target_machine(
            cpu=cpu,
            features=features,
            opt=level,
            reloc="static" if self.triple.startswith("x86") else "default",
            codemodel="jitdefault",
            jit=True,
        )
        self.layout = str(self.machine.target_data)
        self._tuning = llvm.create_pipeline_tuning_options(speed_level=level)
        self._tuning.loop_vectorization = bool(settings.LOOP_VECTORIZE)
        self._tuning.slp_vectorization = bool(settings.SLP_VECTORIZE)
        self._builder = llvm.create_pass_builder(self.machine, self._tuning)

    def object_file(self, text: str, loops: bool = True) -> bytes:
        """The code of a module's text, optimised; without `loops` that LLVM should make more of, it is as it is."""
        return bytes(self.machine.emit_object(self.optimised(text, loops)))

    def optimised(self, text: str, loops: bool = True) -> Any:
        """The module of a text, optimised."""
        code = llvm.parse_assembly(text)
        code.verify()
        passes = self._builder.getModulePassManager() if loops else _few_passes()
        passes.run(code, self._builder)
        return code

    def text_of(self, module: Any) -> str:
        """The text of an llvmlite module, made ready for the machine."""
        module.triple, module.data_layout = self.triple, self.layout
        return str(module)


def _few_passes() -> Any:
    """Variables into registers, and little more: all passes take ten times as long."""
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    return passes
