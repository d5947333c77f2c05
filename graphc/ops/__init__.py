"""The op records, a file a family."""

from graphc.ops import elementwise, leaf

__all__ = ["elementwise", "leaf"]
