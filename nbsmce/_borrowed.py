"""Arrays that a compiled function borrows from its caller.

Numba makes an object that counts the references to every array it is passed, and deletes it after the call: 30 ns each,
of which a kernel takes up to fourteen. Kernels neither keep their arguments nor return them, and the caller holds them.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.extending import NativeValue, register_model, unbox


class Borrowed(types.Array):
    """The type of such an argument; inside it is an array like others, whose owner is nobody."""

    def __init__(self, *parameters: Any, **more: Any) -> None:
        super().__init__(*parameters, **more)
        self.name: str = f"borrowed {self.name}"


register_model(Borrowed)(models.ArrayModel)


@unbox(Borrowed)
def _unbox(type_: Borrowed, value: Any, c: Any) -> NativeValue:
    """As Numba does it where it counts no references; nothing but an array whose numbers are of that size."""
    array = c.context.make_array(type_)(c.context, c.builder)
    where = array._getpointer()
    adapt = cgutils.get_or_insert_function(
        c.builder.module, ir.FunctionType(ir.IntType(32), [c.pyapi.pyobj, c.pyapi.voidptr]), "numba_adapt_ndarray"
    )
    refused = cgutils.is_not_null(c.builder, c.builder.call(adapt, (value, c.builder.bitcast(where, c.pyapi.voidptr))))
    size = c.context.get_abi_sizeof(c.context.get_data_type(type_.dtype))
    failed = c.builder.or_(refused, c.builder.icmp_unsigned("!=", array.itemsize, array.itemsize.type(size)))
    with c.builder.if_then(failed, likely=False):
        c.pyapi.err_set_string("PyExc_TypeError", f"not an array of {type_.dtype}")
    return NativeValue(c.builder.load(where), is_error=failed)
