"""From shapes and strides to rows, and from rows to a layout of threads. Plain arithmetic, without a GPU."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

from .access import STRIDED
from .places import WARP, Layout
from .storage import ITEMSIZES, numbers_of_chunk

# Up to how many chunks of 16 bytes a row may have for so many threads with so many chunks each; by the most chunks that
# a thread can have: kernels that need more registers for each have fewer (see Task).
# A thread of a short row has 4 chunks where it can: enough bytes are under way then, and what is done once for a row,
# and for each exchange between lanes, is done by fewer threads (docs/cuda.md has the numbers of instructions). Two
# lanes at least, since 32 bytes of memory are read at a time.
_SHORT = ((1, 1, 1), (2, 2, 1), (4, 2, 2), (8, 4, 2))
_LANES = (*_SHORT, (16, 4, 4), (32, 8, 4), (64, 16, 4), (128, 32, 4))
TEAMS = {
    8: (*_LANES, (256, 32, 8), (512, 128, 4), (1024, 128, 8), (2048, 256, 8), (4096, 512, 8)),
    4: (*_LANES, (256, 64, 4), (512, 128, 4), (1024, 256, 4), (2048, 512, 4)),
    2: (*_SHORT, (16, 8, 2), (32, 16, 2), (64, 32, 2), (128, 64, 2), (256, 128, 2), (512, 256, 2), (1024, 512, 2)),
}  # fmt: skip
BLOCK = 128  # threads, of teams that are smaller
SIDE_BY_SIDE = 64  # the same for each number of a chunk, where neighbouring threads have neighbouring rows
APART = 256  # the most threads of such a block
SECTIONS = {8: (256, 8), 4: (256, 4), 2: (256, 2)}
CLUSTER = 8  # blocks, the most that do not need a GPU of a certain size; whether it has room for them is asked
NO_SUMS = (32, 4)  # of rows side by side, where nothing is summed


class Strides(NamedTuple):
    """Of one array, in elements: the row ``r`` begins at ``(r // inner_rows) * outer + (r % inner_rows) * inner``."""

    outer: int
    inner: int
    step: int


class Rows(NamedTuple):
    """The rows of several arrays of one shape."""

    rows: int
    inner: int
    classes: int
    arrays: tuple[Strides, ...]

    @property
    def nested(self) -> bool:
        """Whether finding a row takes two strides."""
        return self.inner != 1


def merged(sizes: list[int], strides: Sequence[tuple[int, ...]]) -> tuple[list[int], list[tuple[int, ...]]]:
    """Axes that all arrays can go through as one are made one; those of one element vanish."""
    result_sizes: list[int] = []
    result: list[tuple[int, ...]] = []
    for n, s in zip(sizes, strides, strict=True):
        if n == 1:
            continue
        if result and all(before == n * now for before, now in zip(result[-1], s, strict=True)):
            result_sizes[-1] *= n
            result[-1] = s
        else:
            result_sizes.append(n)
            result.append(s)
    return result_sizes, result


@functools.lru_cache(maxsize=1024)
def rows_of(shape: tuple[int, ...], axes: tuple[int, ...], strides: tuple[tuple[int, ...], ...]) -> Rows | None:
    """The rows along ``axes`` of arrays with these strides; None if they have more strides than kernels take."""
    batch = [i for i in range(len(shape)) if i not in axes]

    def of(dimensions: list[int] | tuple[int, ...]) -> tuple[list[int], list[tuple[int, ...]]]:
        return merged([shape[i] for i in dimensions], [tuple(s[i] for s in strides) for i in dimensions])

    class_sizes, class_strides = of([i for i in axes if i < len(shape)])
    sizes, batch_strides = of(batch)
    if len(class_sizes) > 1 or len(sizes) > 2:
        return None
    count, nothing = len(strides), (0,) * len(strides)
    steps = class_strides[0] if class_strides else (1,) * count
    if len(sizes) == 2:
        outer, inner = batch_strides
        return Rows(sizes[0] * sizes[1], sizes[1], math.prod(class_sizes), tuple(map(Strides, outer, inner, steps)))
    outer = batch_strides[0] if sizes else nothing
    return Rows(math.prod(sizes), 1, math.prod(class_sizes), tuple(map(Strides, outer, nothing, steps)))


def unit_of(address: int, dtype: str, strides: Strides, classes: int) -> int:
    """The most numbers that the rows of an array can be accessed by at a time: up to 16 bytes of them, or STRIDED."""
    numbers = numbers_of_chunk(dtype)
    if strides.step != 1:
        return STRIDED
    return math.gcd(numbers, address // ITEMSIZES[dtype], classes, strides.outer, strides.inner)


def side_by_side(rows: Rows) -> bool:
    """Whether neighbouring rows are closer in memory than the classes of one."""
    first = rows.arrays[0]
    neighbour = first.inner if rows.nested else first.outer
    return rows.rows > 1 and abs(first.step) != 1 and abs(neighbour) < abs(first.step)


def resident(rows: Rows, numbers: int, most: int = 8) -> Layout | None:
    """The threads for each row; None if a row is too long for one team.

    ``numbers`` are those of 16 bytes, ``most`` is how many chunks a thread can have. What the order of a row's sums
    depends on, the threads of a team and how many chunks they have, follows from these and the number of classes alone:
    not from how many rows there are, or how they lie.
    """
    chunks_of_row = -(-rows.classes // numbers)
    for limit, threads, chunks in TEAMS[most]:
        if chunks_of_row <= limit:
            return _in_blocks(rows, numbers, threads, chunks)
    return None


def sections(rows: Rows, numbers: int, most: int = 8) -> Layout:
    """The threads for each section of a longer row."""
    return _in_blocks(rows, numbers, *SECTIONS[most])


def parts(rows: Rows, numbers: int, team: Layout) -> int:
    """How many sections of a team a row has."""
    return -(-rows.classes // (team.section * numbers))


def cluster(rows: Rows, numbers: int, most: int = 8) -> int:
    """How many blocks have the sections of a row together: a power of 2, or 0 if they are too many, or rows apart."""
    team = sections(rows, numbers, most)
    needed = parts(rows, numbers, team)
    return 0 if team.apart or needed > CLUSTER else 1 << (needed - 1).bit_length()


def without_sums(rows: Rows, numbers: int, most: int = 8) -> Layout:
    """The threads for each section of a row of which nothing is summed."""
    team = resident(rows, numbers, most)
    if side_by_side(rows):
        return _in_blocks(rows, numbers, *NO_SUMS) if team is None or team.loop else team
    return sections(rows, numbers, most) if team is None or rows.classes > 256 * numbers else team


def _in_blocks(rows: Rows, numbers: int, threads: int, chunks: int) -> Layout:
    """Of rows side by side, a block has so many that 32 bytes of each class are read together, of half types 16.

    With 512 threads those would have 128 registers, and most of their kernels spill.
    """
    apart = side_by_side(rows)
    teams = min(SIDE_BY_SIDE * numbers, APART) // min(threads, WARP) if apart else BLOCK // threads
    return Layout(threads, chunks, max(1, teams), apart, rows.nested)
