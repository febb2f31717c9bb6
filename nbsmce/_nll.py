"""The negative log-likelihood and its gradient."""

from __future__ import annotations

from typing import Any

from ._dispatch import backend
from ._spec import loss_spec


def nll_loss(
    log_probs: Any,
    target: Any,
    *,
    axis: int = -1,
    weight: Any = None,
    sample_weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    check: str = "deferred",
) -> Any:
    r"""Negative log-likelihood of class indices under log-probabilities.

    Parameters
    ----------
    log_probs : array_like
        Log-probabilities of any shape, as from :func:`log_softmax`.
    target : array_like
        Class indices of any integer dtype, in the shape of `log_probs` without `axis`.
    axis : int, default -1
        As in :func:`cross_entropy`.
    weight, sample_weight : array_like, optional
        As in :func:`cross_entropy`.
    ignore_index : int, default -100
        As in :func:`cross_entropy`.
    reduction : {"mean", "sum", "none"}, default "mean"
        As in :func:`cross_entropy`.
    check : {"deferred", "sync"}, default "deferred"
        As in :func:`cross_entropy`.

    Returns
    -------
    scalar or array
        As from :func:`cross_entropy`.

    Raises
    ------
    IndexError
        If a class index is neither a class nor `ignore_index`; the message names its position.
    AxisError
        If `axis` is out of range.
    TypeError, ValueError
        If an argument has the wrong type, dtype or shape.

    See Also
    --------
    cross_entropy : The same from logits, with more options.

    Notes
    -----
    .. math:: \mathrm{loss} = -w_t\, \mathrm{log\_probs}_t

    Examples
    --------
    >>> import numpy as np
    >>> import nbsmce
    >>> x = np.array([[2.0, 1.0, 0.1]])
    >>> float(nbsmce.nll_loss(nbsmce.log_softmax(x), [0])) == float(nbsmce.cross_entropy(x, [0]))
    True
    """
    spec = loss_spec(ignore_index, reduction, 0.0, 0.0, 1.0, None, check)
    chosen = backend({"log_probs": log_probs, "target": target, "weight": weight, "sample_weight": sample_weight})
    return chosen.nll_loss(log_probs, target, axis, weight, sample_weight, spec, gradient=False)


def nll_loss_backward(
    dloss: Any,
    log_probs: Any,
    target: Any,
    *,
    axis: int = -1,
    weight: Any = None,
    sample_weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    out: Any = None,
    check: str = "deferred",
) -> Any:
    r"""The gradient of :func:`nll_loss`.

    Parameters
    ----------
    dloss : array_like or None
        The gradient with respect to the loss: a scalar, or with ``reduction="none"`` an array of the shape of the loss.
        None counts as 1.
    log_probs, target : array_like
        As in :func:`nll_loss`.
    axis : int, default -1
        As in :func:`nll_loss`.
    weight, sample_weight : array_like, optional
        As in :func:`nll_loss`.
    ignore_index : int, default -100
        As in :func:`nll_loss`.
    reduction : {"mean", "sum", "none"}, default "mean"
        As in :func:`nll_loss`.
    out : array, optional
        Where to write the gradient: of the shape and dtype of `log_probs`. May be `log_probs` itself.
    check : {"deferred", "sync"}, default "deferred"
        As in :func:`cross_entropy`.

    Returns
    -------
    array
        The gradient with respect to the log-probabilities: 0 but at the targets.

    Raises
    ------
    IndexError
        If a class index is neither a class nor `ignore_index`; the message names its position.
    AxisError
        If `axis` is out of range.
    TypeError, ValueError
        If an argument has the wrong type, dtype or shape; nothing has been written then.

    See Also
    --------
    nll_loss : The loss.

    Examples
    --------
    >>> import numpy as np
    >>> import nbsmce
    >>> nbsmce.nll_loss_backward(1.0, np.log([[0.5, 0.25, 0.25]]), [0])
    array([[-1.,  0.,  0.]])
    """
    spec = loss_spec(ignore_index, reduction, 0.0, 0.0, 1.0, None, check)
    chosen = backend(
        {
            "dloss": dloss,
            "log_probs": log_probs,
            "target": target,
            "weight": weight,
            "sample_weight": sample_weight,
            "out": out,
        }
    )
    return chosen.nll_loss(log_probs, target, axis, weight, sample_weight, spec, gradient=True, dloss=dloss, out=out)
