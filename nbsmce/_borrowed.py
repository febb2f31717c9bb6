"""Arrays that a compiled function borrows from its caller.

Numba makes an object that counts the references to every array it is passed, and deletes it after the call: 30 ns each,
of which a kernel takes up to fourteen. Kernels neither keep their arguments nor return them, and the caller holds them.

A vector is taken as a matrix of one row, and a matrix, where an array of three dimensions is expected, as its rows
abreast. NumPy would need 0.3 us for each such view.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.extending import NativeValue, register_model, unbox

_NOT_THERE = -(1 << 63)  # neither an extent nor a stride


class Borrowed(types.Array):
    """The type of such an argument; inside it is an array like others, whose owner is nobody."""

    def __init__(self, *parameters: Any, **more: Any) -> None:
        super().__init__(*parameters, **more)
        self.name: str = f"borrowed {self.name}"


def taken(a: np.ndarray, ndim: int) -> np.ndarray:
    """An array as a function with an argument of ``ndim`` dimensions takes it."""
    return a if a.ndim == ndim else a[None] if ndim == 2 else a.T[None]


register_model(Borrowed)(models.ArrayModel)


@unbox(Borrowed)
def _unbox(type_: Borrowed, value: Any, c: Any) -> NativeValue:
    """As Numba does it where it counts no references; nothing but an array whose numbers are of that size."""
    builder, ndim = c.builder, type_.ndim
    array = c.context.make_array(type_)(c.context, builder)
    where = array._getpointer()
    array.shape = array.strides = cgutils.pack_array(builder, [_word(_NOT_THERE)] * ndim)
    adapt = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(ir.IntType(32), [c.pyapi.pyobj, c.pyapi.voidptr]), "numba_adapt_ndarray"
    )
    refused = cgutils.is_not_null(builder, builder.call(adapt, (value, builder.bitcast(where, c.pyapi.voidptr))))
    size = c.context.get_abi_sizeof(c.context.get_data_type(type_.dtype))
    failed = builder.or_(refused, builder.icmp_unsigned("!=", array.itemsize, array.itemsize.type(size)))
    with builder.if_then(failed, likely=False):
        c.pyapi.err_set_string("PyExc_TypeError", f"not an array of {type_.dtype}")
    if ndim > 1:
        _take_less(builder, array, ndim)
    return NativeValue(builder.load(where), is_error=failed)


def _take_less(builder: ir.IRBuilder, array: Any, ndim: int) -> None:
    """See :func:`taken`. The extents of fewer dimensions, and the strides behind them, do not reach the last word."""
    words = [w for part in (array.shape, array.strides) for w in cgutils.unpack_tuple(builder, part, ndim)]
    extents, strides = words[: ndim - 1], words[ndim - 1 : 2 * ndim - 2]
    less = [_word(1), *reversed(extents), _word(0), *reversed(strides)]
    fewer = builder.icmp_signed("==", words[-1], _word(_NOT_THERE))
    words = [builder.select(fewer, a, b) for a, b in zip(less, words, strict=True)]
    array.shape, array.strides = (cgutils.pack_array(builder, part) for part in (words[:ndim], words[ndim:]))


def _word(number: int) -> ir.Constant:
    return ir.Constant(ir.IntType(64), number)
