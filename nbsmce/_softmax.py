"""softmax, log_softmax, logsumexp and their gradients."""

from __future__ import annotations

from typing import Any

from ._dispatch import backend
from ._prepared import short


def softmax(x: Any, axis: Any = -1, *, where: Any = None, out: Any = None) -> Any:
    r"""Normalised exponentials: ``exp(x) / sum(exp(x))`` along an axis.

    Parameters
    ----------
    x : array_like
        Logits of any shape; float16, bfloat16, float32 or float64. Integers and truth values count as float64.
    axis : int, tuple of int or None, default -1
        The axis or axes that sum to 1, or None for the whole array.
    where : array_like of bool, optional
        Elements where this is False do not exist: their result is 0. Broadcasts to the shape of `x`.
    out : array, optional
        Where to write the result: of the shape and dtype of the result. May be `x` itself.

    Returns
    -------
    array or scalar
        Of the shape, dtype and kind of `x`. In float32 within 2 ulp of the exact result, for logits of any size.
        Results smaller than the smallest normal number are 0.

    Raises
    ------
    AxisError
        If `axis` is out of range.
    TypeError, ValueError
        If an argument has the wrong type, dtype or shape; nothing has been written then.

    See Also
    --------
    log_softmax : The logarithm, for losses: ``log(softmax(x))`` is -inf where the softmax is 0.
    softmax_backward : The gradient.

    Notes
    -----
    .. math:: y_i = \frac{e^{x_i - m}}{\sum_j e^{x_j - m}}, \qquad m = \max_j x_j

    Subtracting the largest element [1]_ makes every exponential at most 1. A row that holds NaN or +inf, or nothing but
    -inf, is NaN. The result of a row is the same to the bit in any batch, layout and number of threads.

    References
    ----------
    .. [1] P. Blanchard, D. J. Higham, N. J. Higham, "Accurately computing the log-sum-exp and softmax functions",
       IMA J. Numer. Anal. 41 (2021) 2311-2330.

    Examples
    --------
    >>> import numpy as np
    >>> import nbsmce
    >>> nbsmce.softmax([2.0, 1.0, 0.1]).round(3)
    array([0.659, 0.242, 0.099])
    >>> nbsmce.softmax(np.array([[1.0, 1.0, 5.0]]), where=np.array([True, True, False]))
    array([[0.5, 0.5, 0. ]])
    """
    if where is None and (call := short("softmax", axis, x, False)) and (y := call(x, out)) is not None:
        return y
    return backend({"x": x, "where": where, "out": out}).softmax(x, axis, where, out, False)


def log_softmax(x: Any, axis: Any = -1, *, where: Any = None, out: Any = None) -> Any:
    r"""The logarithm of the softmax: ``x - logsumexp(x)`` along an axis.

    Parameters
    ----------
    x : array_like
        Logits of any shape; float16, bfloat16, float32 or float64. Integers and truth values count as float64.
    axis : int, tuple of int or None, default -1
        The axis or axes of the classes, or None for the whole array.
    where : array_like of bool, optional
        Elements where this is False do not exist: their result is -inf. Broadcasts to the shape of `x`.
    out : array, optional
        Where to write the result: of the shape and dtype of the result. May be `x` itself.

    Returns
    -------
    array or scalar
        Of the shape, dtype and kind of `x`; in float32 within 2 ulp of the exact result, also close to 0.

    Raises
    ------
    AxisError
        If `axis` is out of range.
    TypeError, ValueError
        If an argument has the wrong type, dtype or shape; nothing has been written then.

    See Also
    --------
    softmax : The exponential of this.
    log_softmax_backward : The gradient.
    nll_loss : The loss of log-probabilities.

    Notes
    -----
    .. math:: y_i = (x_i - m) - \log\Bigl(k + \sum_{x_j < m} e^{x_j - m}\Bigr), \qquad m = \max_j x_j

    with the `k` elements that equal the largest counted apart: for `k = 1` this is ``log1p`` of what may be very
    little, and the result of a confident prediction keeps its digits. Both terms have one sign, so nothing cancels.

    Examples
    --------
    >>> import numpy as np
    >>> import nbsmce
    >>> nbsmce.log_softmax(np.array([20, 0], np.float32))
    array([-2.0611537e-09, -2.0000000e+01], dtype=float32)
    """
    if where is None and (call := short("softmax", axis, x, True)) and (y := call(x, out)) is not None:
        return y
    return backend({"x": x, "where": where, "out": out}).softmax(x, axis, where, out, True)


def logsumexp(
    x: Any,
    axis: Any = -1,
    *,
    b: Any = None,
    where: Any = None,
    keepdims: bool = False,
    return_sign: bool = False,
    out: Any = None,
) -> Any:
    r"""The logarithm of the sum of exponentials: ``log(sum(b * exp(x)))`` along an axis.

    Parameters
    ----------
    x : array_like
        Numbers of any shape; float16, bfloat16, float32 or float64. Integers and truth values count as float64.
    axis : int, tuple of int or None, default -1
        The axis or axes to sum over, or None for the whole array.
    b : array_like, optional
        Factors, also negative ones, that broadcast with `x`. A factor of 0 removes an element, whatever it is.
    where : array_like of bool, optional
        Elements where this is False do not exist. Broadcasts to the shape of `x`.
    keepdims : bool, default False
        Keep the axes that are summed over, with length 1.
    return_sign : bool, default False
        Also return the sign of the sum, and the logarithm of its absolute value.
    out : array, optional
        Where to write the logarithm: of the shape and dtype of the result.

    Returns
    -------
    array or scalar
        Of the dtype of `x` (float32 for the half types). In float32 within 2 ulp of the larger of the result and the
        largest element. The sum of nothing is -inf. NaN where the sum is negative, unless its sign is returned.
    sign : array or scalar
        With `return_sign`: 1, -1, 0 where the sum is 0, or NaN.

    Raises
    ------
    AxisError
        If `axis` is out of range.
    TypeError, ValueError
        If an argument has the wrong type, dtype or shape; nothing has been written then.

    See Also
    --------
    logsumexp_backward : The gradient.

    Notes
    -----
    .. math:: m + \log\sum_j b_j e^{x_j - m}, \qquad m = \max_j x_j

    Examples
    --------
    >>> import numpy as np
    >>> import nbsmce
    >>> float(nbsmce.logsumexp([1000.0, 1000.0]))
    1000.6931471805599
    >>> nbsmce.logsumexp(np.array([1.0, 2.0]), b=np.array([1.0, -1.0]), return_sign=True)
    (np.float64(1.5413248546129181), np.float64(-1.0))
    """
    plain = b is None and where is None and out is None and not keepdims and not return_sign
    if plain and (call := short("logsumexp", axis, x)) and (lse := call(x)) is not None:
        return lse
    chosen = backend({"x": x, "b": b, "where": where, "out": out})
    return chosen.logsumexp(x, axis, b, where, keepdims, return_sign, out)


def softmax_backward(dy: Any, y: Any, axis: Any = -1, *, out: Any = None) -> Any:
    r"""The gradient of :func:`softmax`, from its result.

    Parameters
    ----------
    dy : array_like
        The gradient with respect to the softmax.
    y : array_like
        The softmax, of the shape of `dy`.
    axis : int, tuple of int or None, default -1
        As in :func:`softmax`.
    out : array, optional
        Where to write the result: of the shape and dtype of the result. May be `dy` or `y` itself.

    Returns
    -------
    array
        The gradient with respect to the logits, of the shape and kind of `dy`, in the wider of the two dtypes.

    Raises
    ------
    AxisError
        If `axis` is out of range.
    TypeError, ValueError
        If an argument has the wrong type, dtype or shape; nothing has been written then.

    See Also
    --------
    softmax : The function.

    Notes
    -----
    .. math:: dx_i = y_i \Bigl(dy_i - \sum_j y_j\, dy_j\Bigr)

    Examples
    --------
    >>> import numpy as np
    >>> import nbsmce
    >>> y = nbsmce.softmax(np.array([1.0, 2.0, 3.0]))
    >>> nbsmce.softmax_backward(np.array([1.0, 0.0, 0.0]), y).round(4)
    array([ 0.0819, -0.022 , -0.0599])
    """
    if (call := short("softmax_backward", axis, dy, False)) and (dx := call(dy, y, out)) is not None:
        return dx
    return backend({"dy": dy, "y": y, "out": out}).softmax_backward(dy, y, axis, out, False)


def log_softmax_backward(dy: Any, y: Any, axis: Any = -1, *, out: Any = None) -> Any:
    r"""The gradient of :func:`log_softmax`, from its result.

    Parameters
    ----------
    dy : array_like
        The gradient with respect to the log-softmax.
    y : array_like
        The log-softmax, of the shape of `dy`.
    axis : int, tuple of int or None, default -1
        As in :func:`log_softmax`.
    out : array, optional
        Where to write the result: of the shape and dtype of the result. May be `dy` or `y` itself.

    Returns
    -------
    array
        The gradient with respect to the logits, of the shape and kind of `dy`, in the wider of the two dtypes.

    Raises
    ------
    AxisError
        If `axis` is out of range.
    TypeError, ValueError
        If an argument has the wrong type, dtype or shape; nothing has been written then.

    See Also
    --------
    log_softmax : The function.

    Notes
    -----
    .. math:: dx_i = dy_i - e^{y_i} \sum_j dy_j

    Elements that a mask has hidden have the log-softmax -inf, and so get what `dy` holds there: 0 in a gradient of
    anything that does not look at them.

    Examples
    --------
    >>> import numpy as np
    >>> import nbsmce
    >>> y = nbsmce.log_softmax(np.array([1.0, 2.0, 3.0]))
    >>> nbsmce.log_softmax_backward(np.array([1.0, 0.0, 0.0]), y).round(4)
    array([ 0.91  , -0.2447, -0.6652])
    """
    if (call := short("softmax_backward", axis, dy, True)) and (dx := call(dy, y, out)) is not None:
        return dx
    return backend({"dy": dy, "y": y, "out": out}).softmax_backward(dy, y, axis, out, True)


def logsumexp_backward(dlse: Any, x: Any, lse: Any, axis: Any = -1, *, out: Any = None) -> Any:
    r"""The gradient of :func:`logsumexp`, from its result.

    Parameters
    ----------
    dlse : array_like
        The gradient with respect to the log-sum-exp, with or without the axes that were summed over.
    x : array_like
        The numbers that :func:`logsumexp` was called with.
    lse : array_like
        What it returned, with or without the axes that were summed over.
    axis : int, tuple of int or None, default -1
        As in :func:`logsumexp`.
    out : array, optional
        Where to write the result: of the shape and dtype of the result. May be `x` itself.

    Returns
    -------
    array
        The gradient with respect to `x`, of its shape, dtype and kind. Rows of nothing but -inf have the gradient 0.

    Raises
    ------
    AxisError
        If `axis` is out of range.
    TypeError, ValueError
        If an argument has the wrong type, dtype or shape; nothing has been written then.

    See Also
    --------
    logsumexp : The function.

    Notes
    -----
    .. math:: dx_i = dlse \cdot e^{x_i - lse}

    Examples
    --------
    >>> import numpy as np
    >>> import nbsmce
    >>> x = np.array([1.0, 2.0, 3.0])
    >>> nbsmce.logsumexp_backward(2.0, x, nbsmce.logsumexp(x)).round(4)
    array([0.1801, 0.4895, 1.3305])
    """
    if (call := short("logsumexp_backward", axis, x)) and (dx := call(dlse, x, lse, out)) is not None:
        return dx
    chosen = backend({"dlse": dlse, "x": x, "lse": lse, "out": out})
    return chosen.logsumexp_backward(dlse, x, lse, axis, out)
