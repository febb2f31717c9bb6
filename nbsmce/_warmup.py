"""Compiling ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

DTYPES = ("float32", "float64")


def warmup(
    functions: Iterable[str] | None = None,
    dtypes: Iterable[object] = DTYPES,
    *,
    progress: Callable[[int, int, str], object] | None = None,
) -> int:
    """Have the kernels for arrays in main memory ready before the first call.

    Kernels are compiled when they are first needed, which takes some tenths of a second for each, or loaded from where
    an earlier process has left them, which takes some milliseconds. This does that now: when a service starts, or when
    an image is built, for the processes to come.

    Parameters
    ----------
    functions : iterable of str, optional
        Names of functions of this package. All by default.
    dtypes : iterable of dtype or str
        Of ``float16``, ``bfloat16``, ``float32``, ``float64``.
    progress : callable, optional
        Called as ``progress(done, total, name)`` before each kernel, and after the last with an empty name.

    Returns
    -------
    int
        How many kernels were not there before.

    Raises
    ------
    ValueError
        If a function or a dtype is none of these.
    TypeError
        If one of both is a single name and not a list.

    See Also
    --------
    set_num_threads : The limit for the threads that are started, too.

    Notes
    -----
    Where compiled code is kept, and how to move it or to do without: ``python -m nbsmce cache``, docs/reliability.md.

    Examples
    --------
    >>> import nbsmce
    >>> made = nbsmce.warmup(["logsumexp"], ["float32"])
    >>> nbsmce.warmup(["logsumexp"], ["float32"])  # nothing is left to do
    0
    """
    from ._cpu import warmup as kernels

    if isinstance(functions, str) or isinstance(dtypes, str):
        raise TypeError("functions and dtypes must be lists of names, not a single one")
    wanted = kernels.FUNCTIONS if functions is None else tuple(functions)
    for name in wanted:
        if name not in kernels.FUNCTIONS:
            raise ValueError(f"functions must be of {', '.join(kernels.FUNCTIONS)}; got {name!r}")
    names = tuple(_dtype_name(dtype) for dtype in dtypes)
    for name in names:
        if name not in kernels.STORAGE:
            raise ValueError(f"dtypes must be of {', '.join(kernels.STORAGE)}; got {name!r}")
    todo = kernels.missing(wanted, names)
    for done, (name, kernel, key) in enumerate(todo):
        if progress is not None:
            progress(done, len(todo), name)
        kernel[key]
    kernels.start_threads()
    if progress is not None:
        progress(len(todo), len(todo), "")
    return len(todo)


def _dtype_name(dtype: object) -> str:
    if isinstance(dtype, str):
        return dtype
    try:
        return np.dtype(dtype).name  # type: ignore[call-overload, no-any-return]
    except TypeError:
        raise ValueError(f"dtypes must be dtypes or their names, got {dtype!r}") from None
