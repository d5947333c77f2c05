"""From text to machine code: Numba's front end, one run of LLVM, an object file that is linked where it is needed.

In: text that defines functions of three int64 values, and the intrinsics that it names.  Out: the bytes of an object
file, which may be kept on disk, and addresses once it is linked.  Linking needs llvmlite alone, so that a process
which finds its program in the cache never imports Numba.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import linecache
import threading
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from types import FunctionType, ModuleType
from typing import Any

import llvmlite.binding as llvm

from graphc.errors import GraphcError
from graphc.runtime.once import once

_PREFIX = "graphc_"  # no function of a text may meet a name of the C library
_LIBRARIES = 32  # of one linker
_linkers: dict[int, Any] = {}  # the newest, by number
_counter = itertools.count()
compiling = threading.RLock()  # held by whoever compiles, from before Numba is imported
forked_in_a_compilation = False  # this process began while another thread of its parent held that lock, or Numba's

# Called with C's convention; the inner function has Numba's: a place for the result, one for an exception.
_WRAPPER = """
declare i32 @{inner}(ptr, ptr, i64, i64, i64)

define i64 @{symbol}(i64 %a, i64 %b, i64 %c) {{
    %result = alloca i64
    %exception = alloca ptr
    store i64 0, ptr %result
    %status = call i32 @{inner}(ptr %result, ptr %exception, i64 %a, i64 %b, i64 %c)
    %value = load i64, ptr %result
    ret i64 %value
}}
"""


def check_compiler() -> None:
    """Raises GraphcError where compiling would wait for a thread that is not there."""
    if forked_in_a_compilation:
        raise GraphcError(
            "this process was forked while another thread compiled, so it can load what the cache has but not compile; "
            'compile before forking, fork when no thread compiles, or start it by multiprocessing.get_context("spawn")'
        )


def compile_text(text: str, namespace: Mapping[str, Any], filename: str) -> bytes:
    """The object file that holds every function of `text` as a C function.

    Each takes three int64 values and returns an int64, or nothing, which becomes 0; they may call one another, use no
    reference counts and raise nothing.  `filename` stands for the text in tracebacks.
    """
    # Only those who compile pay for importing Numba.
    from numba.core.compiler_lock import global_compiler_lock
    from numba.core.registry import cpu_target

    scope = dict(namespace, __name__="graphc.program")
    exec(compile(text, filename, "exec"), scope)
    functions = {k: f for k, f in scope.items() if isinstance(f, FunctionType) and f.__code__.co_filename == filename}
    scope.update({name: _caller(name) for name in functions})
    with global_compiler_lock, _no_garbage_collection(), _shown_in_errors(text, filename):
        cpu_target.typing_context.refresh()
        cpu_target.target_context.refresh()
        module = llvm.parse_assembly("")
        for name, function in functions.items():
            _lower_into(module, name, function)
        for variable in module.global_variables:
            if variable.name.startswith("_ZN08NumbaEnv"):
                variable.linkage = "internal"  # never read by code that raises nothing
        return _optimised(module)


@contextlib.contextmanager
def _shown_in_errors(text: str, filename: str) -> Iterator[None]:
    """Numba's errors quote lines of the text meanwhile."""
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    try:
        yield
    finally:
        linecache.cache.pop(filename, None)


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """The front end makes very many objects and frees few: collections in between cost a quarter of its time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _caller(name: str) -> Any:
    """The intrinsic by which one function of a text calls another."""
    from llvmlite import ir
    from numba.core import cgutils, types
    from numba.extending import intrinsic

    @intrinsic
    def call(context: Any, a: Any, b: Any, c: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kind = ir.FunctionType(ir.IntType(64), [ir.IntType(64)] * 3)
            return builder.call(cgutils.get_or_insert_function(builder.module, kind, _PREFIX + name), args)

        return types.int64(types.int64, types.int64, types.int64), emit

    return call


def _lower_into(module: Any, name: str, function: FunctionType) -> None:
    """Add the C function `name` to an LLVM module."""
    from numba.core import compiler, types
    from numba.core.registry import cpu_target

    flags: Any = compiler.Flags()
    flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
    flags.error_model = "numpy"
    result = compiler.compile_extra(
        cpu_target.typing_context,
        cpu_target.target_context,
        function,
        (types.int64,) * 3,
        None,
        flags,
        {},
        pipeline_class=_lean_pipeline(),
    )
    inner = result.fndesc.llvm_func_name
    module.link_in(llvm.parse_assembly(result.library.get_llvm_str()))
    for needed in result.library._linking_libraries:
        module.link_in(needed._get_module_for_linking(), preserve=True)
    module.link_in(llvm.parse_assembly(_WRAPPER.format(symbol=_PREFIX + name, inner=inner)))
    module.get_function(inner).linkage = "internal"


@lru_cache(maxsize=1)
def _lean_pipeline() -> Any:
    """Numba's stages without those that the text never needs: closures, overloads, literals, rewrites, parfors.

    Sums, differences and products carry `contract`, and nothing else does.  (Numba's own setting would have comparisons
    carry it too, from where LLVM hands it on to choices, and takes max(0, |x|) for max(0, x).)
    """
    from llvmlite.ir.transforms import Visitor
    from numba.core import compiler, lowering, typed_passes, untyped_passes
    from numba.core.compiler_machinery import PassManager, register_pass

    class Contract(Visitor):  # type: ignore[misc]
        def visit_Instruction(self, instruction: Any) -> None:
            if instruction.opname in ("fadd", "fsub", "fmul") and not instruction.flags:
                instruction.flags.append("contract")

    class Lower(lowering.Lower):
        def lower_normal_function(self, fndesc: Any) -> None:
            super().lower_normal_function(fndesc)
            Contract().visit(self.module)

    @register_pass(mutates_CFG=True, analysis_only=False)
    class Lowering(typed_passes.NativeLowering):
        _name = "graphc_lowering"
        lowering_class = Lower

    stages = (
        untyped_passes.TranslateByteCode,
        untyped_passes.FixupArgs,
        untyped_passes.IRProcessing,
        typed_passes.NopythonTypeInference,
        typed_passes.PreLowerStripPhis,
        typed_passes.IRLegalization,
        Lowering,
        typed_passes.NoPythonBackend,
    )

    class LeanPipeline(compiler.CompilerBase):
        def define_pipelines(self) -> list[Any]:
            manager = PassManager("graphc")
            for stage in stages:
                manager.add_pass(stage, stage.__name__)
            manager.finalize()
            return [manager]

    return LeanPipeline


def compile_modules(*modules: ModuleType) -> bytes:
    """The object file that holds every function of modules written in graphc.runtime.words."""
    from graphc.runtime.words import compile_words

    code = llvm.parse_assembly(compile_words(modules, _PREFIX))
    machine = _target_machine(code)
    # Variables into registers and little more: the full set of passes takes ten times as long and saves nothing here.
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    passes.run(code, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options()))
    return bytes(machine.emit_object(code))


def _optimised(code: Any) -> bytes:
    """The module, optimised once, as an object file."""
    config = _numba_config()
    machine = _target_machine(code)
    tuning = llvm.create_pipeline_tuning_options(speed_level=_level())
    tuning.loop_vectorization = bool(config.LOOP_VECTORIZE)
    tuning.slp_vectorization = bool(config.SLP_VECTORIZE)
    builder = llvm.create_pass_builder(machine, tuning)
    builder.getModulePassManager().run(code, builder)
    return bytes(machine.emit_object(code))


def _target_machine(code: Any) -> Any:
    """The machine that Numba compiles for, set up as Numba does; the module is made ready for it."""
    from numba.core.registry import cpu_target

    triple, cpu, features = cpu_target.target_context.codegen().magic_tuple()
    machine = llvm.Target.from_triple(triple).create_target_machine(
        cpu=cpu,
        features=features,
        opt=_level(),
        reloc="static" if triple.startswith("x86") else "default",
        codemodel="jitdefault",
        jit=True,
    )
    code.triple, code.data_layout = triple, str(machine.target_data)
    code.verify()
    return machine


def _level() -> int:
    """LLVM's level of optimisation: Numba's setting, but not 3, which takes a third longer and gains nothing here."""
    return min(int(_numba_config().OPT), 2)


def _numba_config() -> Any:
    from numba.core import config

    return config


@once
def _initialize() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


def _linker(number: int) -> Any:
    """The linker for the library of this number.

    Of a library that is gone, its linker keeps some kilobytes.  So there is a new one now and then, and one that links
    no more goes with the last of its libraries.
    """
    _initialize()
    group = number // _LIBRARIES
    linker = _linkers.get(group) or _linkers.setdefault(group, llvm.create_lljit_compiler(suppress_errors=True))
    for old in [k for k in list(_linkers) if k < group]:
        _linkers.pop(old, None)
    return linker


class Native:
    """Functions in memory; their addresses are valid as long as this object lives."""

    def __init__(self, code: bytes, names: Iterable[str] = ("program",)) -> None:
        builder = llvm.JITLibraryBuilder().add_object_img(code).add_current_process()
        symbols = {name: _PREFIX + name for name in names}
        for symbol in symbols.values():
            builder.export_symbol(symbol)
        number = next(_counter)
        self._linker = _linker(number)
        self._library = builder.link(self._linker, f"graphc{number}")
        self._addresses: dict[str, int] = {name: self._library[symbol] for name, symbol in symbols.items()}

    def __getitem__(self, name: str) -> int:
        """The address of a function."""
        return self._addresses[name]
