"""Every kernel that can be chosen, from the planner: calls of every kind with stand-ins for arrays and the driver."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import pytest
import standins
from standins import Tensor

ITEMSIZES = {"float32": 4, "bfloat16": 2, "float16": 2, "float64": 8}
LONG = (5000, 20000)  # chunks, of rows in sections: few enough for a cluster of blocks, and too many
ROWS, MANY = 6, 1 << 15  # the latter are added up in slices


class Kernel(NamedTuple):
    """What is compiled: the arguments of ``launch._load``."""

    make: Any
    signature: tuple[Any, ...]
    threads: int  # of a block

    @property
    def family(self) -> str:
        return self.make.family.__name__ if hasattr(self.make, "family") else type(self.make).__name__

    @property
    def dtype(self) -> str:
        return getattr(getattr(self.make, "variant", self.make), "dtype", "")

    @property
    def name(self) -> str:
        make = self.make
        if not hasattr(make, "layout"):
            return re.sub(r"capability=\d+, ", "", str(make))
        layout, options = make.layout, make.variant._asdict()
        said = [str(options.pop(k)) for k in ("dtype", "unit", "capability")][:2]
        said += [k if v is True else f"{k} {v}" for k, v in options.items() if v]
        where = ["apart"] * layout.apart + ["in turns"] * layout.loop + ["nested"] * layout.nested
        work = f"{make.work.__module__.rpartition('.')[2]}.{make.work.__qualname__}"
        return (
            f"{' by '.join(said[:2])}: {work}, {', '.join([*said[2:], self.family])} {layout.threads}x{layout.chunks}"
            + (f" {' '.join(where)}" if where else "")
        )


class Arrangement(NamedTuple):
    """A way in which the rows of arrays can lie."""

    shape: tuple[int, ...]
    strides: tuple[int, ...] | None
    offset: int  # bytes from a multiple of 16 to an address
    axis: int

    def array(self, number: int, dtype: str) -> Tensor:
        size = standins.SIZES.get(dtype, 1)
        return Tensor(self.shape, dtype, address=(number << 40) + self.offset // size * size, strides=self.strides)

    def of_rows(self, number: int, dtype: str) -> Tensor:
        sizes = list(self.shape)
        del sizes[self.axis]
        return Tensor(tuple(sizes), dtype, address=number << 40)


def arrangements(dtype: str, classes: int) -> Iterator[Arrangement]:
    size = ITEMSIZES[dtype]
    for unit in (0, 1, 2, 4):  # so many numbers from an aligned address
        if unit * size < 16:
            yield Arrangement((ROWS, classes), None, unit * size, -1)
            yield Arrangement((2, 3, classes), (5 * classes, classes, 1), unit * size, -1)
    yield Arrangement((ROWS, classes), (2 * classes, 2), 0, -1)
    yield Arrangement((2, 3, classes), (10 * classes, 2 * classes, 2), 0, -1)
    yield Arrangement((classes, ROWS), None, 0, 0)
    yield Arrangement((2, classes, 3), None, 0, 1)


def start_every_kernel(dtype: str, at: Arrangement) -> None:
    """Call every function with every combination of options that another kernel follows from."""
    import nbsmce

    computed = "float64" if dtype == "float64" else "float32"
    x, y, mask, factors = (at.array(i, d) for i, d in enumerate((dtype, dtype, "bool", computed), 1))
    above, lse, indices, axis = at.of_rows(5, computed), at.of_rows(6, computed), at.of_rows(7, "int64"), at.axis
    for name in ("softmax", "log_softmax"):
        for where in (None, mask):
            getattr(nbsmce, name)(x, axis, where=where)
        getattr(nbsmce, f"{name}_backward")(x, y, axis)
    for where, b in itertools.product((None, mask), (None, factors)):
        nbsmce.logsumexp(x, axis, where=where, b=b)
    nbsmce.logsumexp_backward(above, x, lse, axis)
    nbsmce.nll_loss(x, indices, axis=axis)
    nbsmce.nll_loss_backward(1.0, x, indices, axis=axis)
    targets = [(indices, 0.0), (indices, 0.1), (y, 0.0)]
    if computed != dtype:
        targets.append((factors, 0.0))
    for (target, smoothing), softcap in itertools.product(targets, (None, 3.0)):
        options = {"axis": axis, "label_smoothing": smoothing, "softcap": softcap}
        for aux in (False, True):
            nbsmce.cross_entropy(x, target, return_aux=aux, **options)
            nbsmce.cross_entropy_with_grad(x, target, return_aux=aux, **options)
        nbsmce.cross_entropy_backward(1.0, x, target, lse=lse, **options)


def recorded(capability: int, start: Callable[[], None]) -> list[Kernel]:
    """The kernels that calls with stand-ins ask for, each once, in the order of the calls."""
    from nbsmce._cuda import launch, plan

    found: dict[Kernel, None] = {}

    def load(make: Any, signature: Any, device: int, threads: int) -> Any:
        found[Kernel(make, signature, threads)] = None
        return make, signature

    with pytest.MonkeyPatch.context() as patch:
        next(standins.world(patch))
        patch.setattr(plan, "capability_of", lambda device: capability)
        patch.setattr(launch, "_load", load)
        start()
    return list(found)


def kernels(capability: int, dtypes: Iterable[str] = tuple(ITEMSIZES)) -> list[Kernel]:
    """All that can be chosen."""
    import nbsmce
    from nbsmce._cuda import layout

    limits = sorted({limit for teams in layout.TEAMS.values() for limit, _, _ in teams} | {*LONG})

    def start() -> None:
        for dtype in dtypes:
            for limit in limits:
                for at in arrangements(dtype, limit * (16 // ITEMSIZES[dtype])):
                    start_every_kernel(dtype, at)
            nbsmce.cross_entropy(Tensor((MANY, 2), dtype), Tensor((MANY,), "int64", address=1 << 50))

    return recorded(capability, start)


def hardest(all_of_them: list[Kernel]) -> dict[Any, Kernel]:
    """Of kernels that differ in their threads alone, those with the most numbers in the least registers.

    They have the same loops; with fewer chunks a thread has fewer numbers, and in a smaller block more registers. Each
    is given by what it has in common with those of other capabilities.
    """
    chosen: dict[Any, Kernel] = {}
    for kernel in all_of_them:
        key = _code(kernel)
        if key not in chosen or _hardness(kernel) > _hardness(chosen[key]):
            chosen[key] = kernel
    return chosen


def _code(kernel: Kernel) -> Any:
    """What a kernel's instructions follow from, but for the threads and the capability."""
    make = kernel.make
    if not hasattr(make, "layout"):
        return kernel.name, kernel.signature
    make = make._replace(variant=make.variant._replace(capability=None))
    if kernel.family == "merged_states":  # touches no row
        return make._replace(layout=None, variant=make.variant._replace(unit=None)), kernel.signature
    if kernel.family == "clustered":  # the number of blocks is an argument, and the hardware's
        make = make._replace(cluster=None)
    if kernel.family == "section_states" and hasattr(make.variant, "gradient"):  # before there is one
        make = make._replace(variant=make.variant._replace(gradient=None))
    return make._replace(layout=(make.layout.apart, make.layout.loop)), kernel.signature


def _hardness(kernel: Kernel) -> tuple[Any, ...]:
    if not hasattr(kernel.make, "layout"):
        return ()
    layout = kernel.make.layout
    return layout.chunks, kernel.threads, layout.threads, layout.nested
