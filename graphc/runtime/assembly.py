"""The text of an llvmlite module in half of llvmlite's time, which is much of what compiling costs.

In: a module.  Out: LLVM's assembly.  llvmlite formats types and names of operands through several calls each; here the
instructions that kernels are made of are one format, and all others are left to llvmlite.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from llvmlite.ir import instructions


def assembly(module: Any) -> str:
    """The text of a module, whose names of values and blocks need no escapes."""
    lines: list[str] = []
    for value in module.globals.values():
        if isinstance(value, ir.Function):
            _function(lines, value)
        else:
            lines.append(f"{value}\n")
    lines += [f"{node}\n" for node in module.metadata]
    return "".join(lines)


def _function(lines: list[str], function: Any) -> None:
    function.descr_prototype(lines)
    if not function.blocks:
        return
    lines.append("{\n")
    for block in function.blocks:
        lines.append(f'"{block.name}":\n')
        for i in block.instructions:
            text = _WRITE.get(type(i), _unknown)(i)
            if text and i.metadata:
                text += "".join([f", !{kind} {node.get_reference()}" for kind, node in i.metadata.items()])
            lines.append(f"{text or i}\n")
    lines.append("}\n")


def _unknown(i: Any) -> str:
    """Nothing: llvmlite writes it."""
    return ""


def _named(value: Any) -> str:
    return f"{value.type!s} {value.get_reference()}"


def _plain(i: Any) -> str:
    operands = ", ".join([a.get_reference() for a in i.operands])
    return f'%"{i._name}" = {i.opname} {" ".join(i.flags)} {i.type!s} {operands}'


def _cast(i: Any) -> str:
    (a,) = i.operands
    return f'%"{i._name}" = {i.opname} {a.type!s} {a.get_reference()} to {i.type!s}'


def _load(i: Any) -> str:
    (a,) = i.operands
    align = f", align {i.align}" if i.align else ""
    return f'%"{i._name}" = load {i.type!s}, {a.type!s} {a.get_reference()}{align}'


def _store(i: Any) -> str:
    a, b = i.operands
    align = f", align {i.align}" if i.align else ""
    return f"store {a.type!s} {a.get_reference()}, {b.type!s} {b.get_reference()}{align}"


def _compare(i: Any) -> str:
    a, b = i.operands
    flags = " ".join(i.flags)
    return f'%"{i._name}" = {i.opname} {flags} {i.op} {a.type!s} {a.get_reference()}, {b.get_reference()}'


def _element(i: Any) -> str:
    inbounds = "inbounds " if i.inbounds else ""
    indices = ", ".join(map(_named, i.indices))
    return f'%"{i._name}" = getelementptr {inbounds}{i.source_etype!s}, {_named(i.pointer)}, {indices}'


def _phi(i: Any) -> str:
    incoming = ", ".join([f"[{value.get_reference()}, {block.get_reference()}]" for value, block in i.incomings])
    return f'%"{i._name}" = phi {i.type!s} {incoming}'


def _of_several(i: Any) -> str:
    flags = " ".join(i.flags)
    return f'%"{i._name}" = {i.opname} {flags} {", ".join(map(_named, i.operands))}'


def _call(i: Any) -> str:
    function, *arguments = i.operands
    kind = function.function_type
    if kind.var_arg or i.cconv or i.tail or i.fastmath or i.attributes or i.arg_attributes:
        return ""
    result = "" if isinstance(kind.return_type, ir.VoidType) else f'%"{i._name}" = '
    return f"{result}call {kind.return_type!s} {function.get_reference()}({', '.join(map(_named, arguments))})"


def _jump(i: Any) -> str:
    return f"{i.opname} {', '.join(map(_named, i.operands))}"


_WRITE: dict[type, Callable[[Any], str]] = {
    instructions.Instruction: _plain,
    instructions.CastInstr: _cast,
    instructions.LoadInstr: _load,
    instructions.StoreInstr: _store,
    instructions.ICMPInstr: _compare,
    instructions.FCMPInstr: _compare,
    instructions.GEPInstr: _element,
    instructions.PhiInstr: _phi,
    instructions.SelectInstr: _of_several,
    instructions.InsertElement: _of_several,
    instructions.ShuffleVector: _of_several,
    instructions.CallInstr: _call,
    instructions.Branch: _jump,
    instructions.ConditionalBranch: _jump,
}
