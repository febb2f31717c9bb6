"""Vectors of sixteen lanes, and the loops around them: what the kernels are written in.

Functions on vectors are ordinary Python that runs once, while Numba generates code; every operation then appends LLVM
instructions. ``steps`` makes a loop of the generated code, ``branch`` a decision, ``Variable`` something that changes;
Python's own ``if`` and ``for`` decide and repeat while the code is made. ``in_njit`` lets ``@njit`` code call such a
function. The reasons:

* The order of every sum stands in the source, so a row has the same bits on any number of threads, in any batch, in any
  memory layout. LLVM's vectoriser takes the order that suits the processor.
* No loop falls back to scalar code over something the vectoriser does not know (``exp``, ``max`` and conversions all
  did with Numba 0.68).
* Compiling is fast. As sixty small ``@njit`` functions that call each other the softmax kernel took 4.5 s to compile,
  because Numba optimises and assembles each with all that it calls; as one function it takes a tenth.

LLVM splits a vector where the processor's registers are shorter. With the JIT off (``NUMBA_DISABLE_JIT=1``) the same
functions run step by step on NumPy arrays of sixteen.

Vectors hold float32, float64, int32, int64 or truth values (a *mask*); Python numbers in expressions take their type.
A *pointer* carries the storage type: ``float32``, ``float64``, ``int16`` for the bits of a float16 and ``uint16`` for
those of a bfloat16. Loads and stores convert the half types from and to float32, the type that they are computed in.
Lanes from ``k`` on are neither read nor written, and nothing needs alignment.

:class:`~.several.Several` vectors or pointers are taken in lockstep: one operation on them is one on each.
"""

import operator
from typing import TYPE_CHECKING

from ..._compile import JIT
from .several import combined, in_lockstep
from .storage import LANES

if JIT or TYPE_CHECKING:
    from .llvm import (
        absolute,
        float64_of,
        fma,
        from_bits,
        invert,
        lane_index,
        lanes_below,
        larger,
        narrow,
        pinned,
        select,
        smaller,
        splat,
        to_bits,
        to_float,
        to_integer,
        wide,
        zeros,
    )
    from .llvm_across import any_lane, count_lanes, lane, lane_max, lane_min, lane_sum
    from .llvm_blocks import block_lanes, load_block, store_block, transposed
    from .llvm_control import Variable, branch, in_njit, steps
    from .llvm_memory import (
        add_products,
        advance,
        at,
        computed,
        copy_number,
        fence,
        float64_at,
        gather,
        gather_at,
        gather_mask,
        is_half,
        itemsize,
        load,
        load_logits,
        on_stack,
        past,
        peek,
        poke,
        prefetch,
        same_place,
        scatter,
        store,
        store_past_cache,
        stored,
        stripes,
    )
else:
    from .python import (
        absolute,
        any_lane,
        count_lanes,
        float64_of,
        fma,
        from_bits,
        invert,
        lane,
        lane_index,
        lane_max,
        lane_min,
        lane_sum,
        lanes_below,
        larger,
        narrow,
        pinned,
        select,
        smaller,
        splat,
        to_bits,
        to_float,
        to_integer,
        transposed,
        wide,
        zeros,
    )
    from .python_memory import (
        Variable,
        add_products,
        advance,
        at,
        block_lanes,
        branch,
        computed,
        copy_number,
        fence,
        float64_at,
        gather,
        gather_at,
        gather_mask,
        in_njit,
        is_half,
        itemsize,
        load,
        load_block,
        load_logits,
        on_stack,
        past,
        peek,
        poke,
        prefetch,
        same_place,
        scatter,
        steps,
        store,
        store_block,
        store_past_cache,
        stored,
        stripes,
    )

absolute, fma, from_bits, invert, larger, narrow, pinned, select, splat, to_bits, to_float, to_integer, wide, zeros = (
    in_lockstep(f)
    for f in (
        absolute, fma, from_bits, invert, larger, narrow, pinned, select, splat, to_bits, to_float, to_integer, wide,
        zeros,
    )
)  # fmt: skip
advance, at, computed, gather_at, load, load_logits, scatter, store, stored = (
    in_lockstep(f) for f in (advance, at, computed, gather_at, load, load_logits, scatter, store, stored)
)
any_lane = combined(any_lane, operator.or_)

__all__ = [
    "LANES",
    "Variable",
    "absolute",
    "add_products",
    "advance",
    "any_lane",
    "at",
    "block_lanes",
    "branch",
    "computed",
    "copy_number",
    "count_lanes",
    "fence",
    "float64_at",
    "float64_of",
    "fma",
    "from_bits",
    "gather",
    "gather_at",
    "gather_mask",
    "in_njit",
    "invert",
    "is_half",
    "itemsize",
    "lane",
    "lane_index",
    "lane_max",
    "lane_min",
    "lane_sum",
    "lanes_below",
    "larger",
    "load",
    "load_block",
    "load_logits",
    "narrow",
    "on_stack",
    "past",
    "peek",
    "pinned",
    "poke",
    "prefetch",
    "same_place",
    "scatter",
    "select",
    "smaller",
    "splat",
    "steps",
    "store",
    "store_block",
    "store_past_cache",
    "stored",
    "stripes",
    "to_bits",
    "to_float",
    "to_integer",
    "transposed",
    "wide",
    "zeros",
]
