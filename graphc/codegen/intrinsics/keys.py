"""Keys: elements of any dtype as unsigned integers that have their order.

NaN is above all, and both zeros have one key.
"""

from __future__ import annotations

from functools import partial

from llvmlite import ir

from graphc.codegen.intrinsics.vectors import POINTER, Control, Values, integer


class Keys(Control):
    """Elements of one dtype as unsigned integers that have their order: NaN is above all, both zeros are one."""

    def __init__(self, builder: ir.IRBuilder, code: str) -> None:
        super().__init__(builder, int(code[1]))
        self.kind = code[0]
        self.type = ir.IntType(8 * self.bytes)
        self.vector = ir.VectorType(self.type, self.lanes)

    def constant(self, value: int) -> ir.Constant:
        return ir.Constant(self.type, value)

    def key(self, value: ir.Value) -> ir.Value:
        """That of an element, or those of a vector."""
        b, width, constant = self.builder, self.type.width, partial(ir.Constant, value.type)
        sign = constant(1 << (width - 1))
        if self.kind in "bu":
            return value
        if self.kind == "i":
            return b.xor(value, sign)
        infinity = constant({4: 0x7F80_0000, 8: 0x7FF0_0000_0000_0000}[self.bytes])
        is_nan = b.icmp_unsigned(">", b.and_(value, constant((1 << (width - 1)) - 1)), infinity)
        value = b.select(b.icmp_unsigned("==", value, sign), constant(0), value)
        ordered = b.xor(value, b.or_(b.ashr(value, constant(width - 1)), sign))
        return b.select(is_nan, constant((1 << width) - 1), ordered)

    # memory

    def _element(self, address: ir.Value, index: ir.Value, kind: ir.Type) -> ir.Value:
        return self.builder.gep(self.builder.inttoptr(address, POINTER), [index], source_etype=kind)

    def load(self, address: ir.Value, index: ir.Value, kind: ir.Type) -> ir.Value:
        """An element, or as many from it on as a vector has."""
        element = getattr(kind, "element", kind)
        return self.builder.load(self._element(address, index, element), align=element.width // 8, typ=kind)

    def put(self, value: ir.Value, address: ir.Value, index: ir.Value) -> None:
        """Store an element, or a vector from there on."""
        element = getattr(value.type, "element", value.type)
        self.builder.store(value, self._element(address, index, element), align=element.width // 8)

    def element(self, x: ir.Value, step: ir.Value, k: ir.Value, kind: ir.Type | None = None) -> ir.Value:
        """Element k of those that are `step` bytes apart, or a vector from there on; True is any byte but 0."""
        value = self.load(self.builder.add(x, self.builder.mul(k, step)), integer(0), kind or self.type)
        if self.kind != "b":
            return value
        return self.builder.zext(self.builder.icmp_unsigned("!=", value, ir.Constant(value.type, 0)), value.type)

    def beside(self, x: ir.Value, step: ir.Value, n: ir.Value, spare: ir.Value) -> ir.Value:
        """Where the elements are side by side: where they are, or else copied to spare."""

        def copied() -> Values:
            self.loop(integer(0), n, 1, [], one)
            return [spare]

        def one(k: ir.Value, carried: Values) -> Values:
            self.put(self.element(x, step, k), spare, k)
            return []

        return self.choose(self.builder.icmp_signed("==", step, integer(self.bytes)), lambda: [x], copied)[0]
