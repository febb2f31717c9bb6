"""What vectors and pointers may hold, as Numba types."""

from __future__ import annotations

from numba import types

LANES = 16

COMPUTED = {types.int16: types.float32, types.uint16: types.float32}
"""The half types, stored as integers, and what they are computed in."""


def computed_type(storage: types.Type) -> types.Type:
    """The type that numbers stored as ``storage`` are computed in."""
    return COMPUTED.get(storage, storage)


class Vector(types.Type):
    """Sixteen numbers of one type, or sixteen truth values."""

    def __init__(self, dtype: types.Type) -> None:
        self.dtype = dtype
        super().__init__(name=f"Vector({dtype})")

    @property
    def key(self) -> types.Type:
        return self.dtype


MASK = Vector(types.boolean)
