"""Cross entropy and its gradient."""

from __future__ import annotations

from typing import Any

from ._dispatch import backend
from ._prepared import short
from ._spec import Wanted, loss_spec

_LOSS = Wanted(loss=True, gradient=False, aux=False)
_LOSS_AUX = Wanted(loss=True, gradient=False, aux=True)
_BOTH = Wanted(loss=True, gradient=True, aux=False)
_BOTH_AUX = Wanted(loss=True, gradient=True, aux=True)
_GRADIENT = Wanted(loss=False, gradient=True, aux=False)


def cross_entropy(
    logits: Any,
    target: Any,
    *,
    axis: int = -1,
    weight: Any = None,
    sample_weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    logit_scale: float = 1.0,
    softcap: float | None = None,
    return_aux: bool = False,
    check: str = "deferred",
) -> Any:
    r"""Cross entropy of logits and targets.

    Parameters
    ----------
    logits : array_like
        Logits of any shape; float16, bfloat16, float32 or float64. Integers and truth values count as float64.
    target : array_like
        Class indices of any integer dtype, in the shape of `logits` without `axis`; or probabilities of the classes,
        of a floating dtype and in the shape of `logits`.
    axis : int, default -1
        The axis of the classes.
    weight : array_like, optional
        A weight for each class.
    sample_weight : array_like, optional
        A weight for each row, in the shape of the class indices.
    ignore_index : int, default -100
        Rows with this class index do not count: their loss and gradient are 0, whatever their logits are.
    reduction : {"mean", "sum", "none"}, default "mean"
        What to do with the losses of the rows. The mean is weighted: it is divided by the sum of the weights of the
        targets times the sample weights; for probabilities, by the sum of the sample weights.
    label_smoothing : float, default 0.0
        How much of the target mass is spread over all classes, between 0 and 1.
    z_loss : float, default 0.0
        The factor of ``lse**2``, which keeps logits from drifting [2]_.
    logit_scale : float, default 1.0
        What logits are multiplied with, such as an inverse temperature.
    softcap : float, optional
        The bound of ``softcap * tanh(logit_scale * logits / softcap)``, which then stands for the logits.
    return_aux : bool, default False
        Also return what is known of the rows.
    check : {"deferred", "sync"}, default "deferred"
        When to raise for a class index that is no class. Arrays in main memory are always checked before anything is
        written. On a GPU, the loss of such a row is NaN, and reading the reduced loss raises; ``"sync"`` waits for the
        GPU to check all indices before anything else is computed.

    Returns
    -------
    loss : scalar or array
        A scalar, or with ``reduction="none"`` an array of the shape of the class indices. Of the dtype of `logits`,
        float32 for the half types; no sum is taken in less. The mean of no rows is NaN, their sum 0.
    aux : Aux
        With `return_aux`: ``(lse, z_loss, predicted, correct)`` for each row.

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
    cross_entropy_with_grad : Loss and gradient in one pass over the logits.
    cross_entropy_backward : The gradient alone.
    nll_loss : The loss of log-probabilities: ``nll_loss(log_softmax(x), target)`` equals ``cross_entropy(x, target)``.

    Notes
    -----
    With the effective logits :math:`x`, their softmax :math:`p`, the target's probabilities :math:`y` (1 for a class
    index), the smoothing :math:`\varepsilon`, :math:`C` classes and the class weights :math:`w`,

    .. math::

        q_c &= w_c \bigl((1 - \varepsilon) y_c + \varepsilon / C\bigr), \qquad Q = \sum_c q_c \\
        \mathrm{loss} &= Q \log\sum_c e^{x_c} - \sum_c q_c x_c + z \Bigl(\log\sum_c e^{x_c}\Bigr)^2

    It is computed as :math:`Q \log\sum_c e^{x_c - m} + \sum_c q_c (m - x_c)` with the largest logit :math:`m`, terms
    of one sign: the loss of a confident right answer keeps its digits. A mass :math:`q_c` of 0 on a logit of -inf
    counts 0. The z-loss is weighted by the sample weights and not by the class weights.

    This function takes *logits*. Given the results of a softmax it returns a loss that is never below
    ``log(1 + (C - 1) / e)`` and learns slowly; ``nll_loss`` takes log-probabilities.

    References
    ----------
    .. [2] A. Chowdhery et al., "PaLM: Scaling language modeling with pathways", arXiv:2204.02311, section 5.

    Examples
    --------
    >>> import numpy as np
    >>> import nbsmce
    >>> logits = np.array([[2.0, 1.0, 0.1, 0.0, -1.0], [0.5, 2.5, 0.3, 0.2, 0.1], [0.2, 0.1, 3.0, 0.4, 0.3]])
    >>> round(float(nbsmce.cross_entropy(logits, [0, 2, 1])), 4)
    2.0746
    >>> loss, aux = nbsmce.cross_entropy(logits, [0, 2, 1], return_aux=True)
    >>> aux.predicted, aux.correct
    (array([0, 1, 2]), array([ True, False, False]))
    """
    spec = loss_spec(ignore_index, reduction, label_smoothing, z_loss, logit_scale, softcap, check)
    call = short(_LOSS, axis, logits, spec) if weight is None and sample_weight is None and not return_aux else None
    if call and (results := call(logits, target, None, None, None)) is not None:
        return results[0]
    chosen = backend({"logits": logits, "target": target, "weight": weight, "sample_weight": sample_weight})
    wanted = _LOSS_AUX if return_aux else _LOSS
    loss, _, aux = chosen.cross_entropy(logits, target, axis, weight, sample_weight, spec, wanted)
    return (loss, aux) if return_aux else loss


def cross_entropy_with_grad(
    logits: Any,
    target: Any,
    *,
    axis: int = -1,
    weight: Any = None,
    sample_weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    logit_scale: float = 1.0,
    softcap: float | None = None,
    return_aux: bool = False,
    dloss: Any = None,
    out: Any = None,
    check: str = "deferred",
) -> Any:
    r"""Cross entropy and its gradient, in one pass over the logits.

    Parameters
    ----------
    logits, target : array_like
        As in :func:`cross_entropy`.
    axis : int, default -1
        As in :func:`cross_entropy`.
    weight, sample_weight : array_like, optional
        As in :func:`cross_entropy`.
    ignore_index : int, default -100
        As in :func:`cross_entropy`.
    reduction : {"mean", "sum", "none"}, default "mean"
        As in :func:`cross_entropy`.
    label_smoothing, z_loss, logit_scale : float
        As in :func:`cross_entropy`.
    softcap : float, optional
        As in :func:`cross_entropy`.
    return_aux : bool, default False
        As in :func:`cross_entropy`.
    dloss : array_like, optional
        What the gradient is multiplied with: the gradient with respect to the loss, or a loss scale. A scalar, or with
        ``reduction="none"`` an array of the shape of the loss. Default 1. It does not change the loss.
    out : array, optional
        Where to write the gradient: of the shape and dtype of `logits`. May be `logits` itself; nothing of the size of
        the logits is allocated then.
    check : {"deferred", "sync"}, default "deferred"
        As in :func:`cross_entropy`.

    Returns
    -------
    loss : scalar or array
        The same bits as from :func:`cross_entropy`.
    dlogits : array
        The gradient of the loss with respect to the logits, of their shape, dtype and kind.
    aux : Aux
        With `return_aux`: ``(lse, z_loss, predicted, correct)`` for each row.

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
    cross_entropy : The loss alone, with the formula.

    Notes
    -----
    With the names of :func:`cross_entropy`, for a row with the upstream factor :math:`s`,

    .. math:: \frac{\partial\,\mathrm{loss}}{\partial\,\mathrm{logits}_c} = s \cdot \mathrm{logit\_scale} \cdot
        \bigl(1 - (x_c / \mathrm{softcap})^2\bigr) \bigl((Q + 2 z\,\mathrm{lse})\, p_c - q_c\bigr)

    At the target class of a confident right answer, :math:`p - 1` is computed as minus the sum of the other
    probabilities, which keeps its digits.

    Examples
    --------
    >>> import numpy as np
    >>> import nbsmce
    >>> logits = np.array([[2.0, 1.0, 0.1], [0.5, 2.5, 0.3]])
    >>> loss, dlogits = nbsmce.cross_entropy_with_grad(logits, np.array([0, 2]))
    >>> dlogits.round(3)
    array([[-0.17 ,  0.121,  0.049],
           [ 0.054,  0.401, -0.456]])
    """
    spec = loss_spec(ignore_index, reduction, label_smoothing, z_loss, logit_scale, softcap, check)
    call = short(_BOTH, axis, logits, spec) if weight is None and sample_weight is None and not return_aux else None
    if call and (results := call(logits, target, dloss, None, out)) is not None:
        return results
    chosen = backend(
        {
            "logits": logits,
            "target": target,
            "weight": weight,
            "sample_weight": sample_weight,
            "dloss": dloss,
            "out": out,
        }
    )
    wanted = _BOTH_AUX if return_aux else _BOTH
    loss, dlogits, aux = chosen.cross_entropy(
        logits, target, axis, weight, sample_weight, spec, wanted, dloss=dloss, out=out
    )
    return (loss, dlogits, aux) if return_aux else (loss, dlogits)


def cross_entropy_backward(
    dloss: Any,
    logits: Any,
    target: Any,
    *,
    lse: Any = None,
    out: Any = None,
    axis: int = -1,
    weight: Any = None,
    sample_weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    logit_scale: float = 1.0,
    softcap: float | None = None,
    check: str = "deferred",
) -> Any:
    r"""The gradient of :func:`cross_entropy`.

    Parameters
    ----------
    dloss : array_like or None
        The gradient with respect to the loss: a scalar, or with ``reduction="none"`` an array of the shape of the loss.
        None counts as 1.
    logits, target : array_like
        As in :func:`cross_entropy`.
    lse : array_like, optional
        The log-sum-exp of each row, as :func:`cross_entropy` returns it in ``aux``. It saves one pass over logits that
        have class indices without label smoothing; as a rounded number it costs some digits for large logits.
    out : array, optional
        Where to write the gradient: of the shape and dtype of `logits`. May be `logits` itself.
    axis : int, default -1
        As in :func:`cross_entropy`.
    weight, sample_weight : array_like, optional
        As in :func:`cross_entropy`.
    ignore_index : int, default -100
        As in :func:`cross_entropy`.
    reduction : {"mean", "sum", "none"}, default "mean"
        As in :func:`cross_entropy`.
    label_smoothing, z_loss, logit_scale : float
        As in :func:`cross_entropy`.
    softcap : float, optional
        As in :func:`cross_entropy`.
    check : {"deferred", "sync"}, default "deferred"
        As in :func:`cross_entropy`.

    Returns
    -------
    array
        The gradient with respect to the logits, of their shape, dtype and kind.

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
    cross_entropy_with_grad : Loss and gradient in one pass, with the formula.

    Examples
    --------
    >>> import numpy as np
    >>> import nbsmce
    >>> logits = np.array([[2.0, 1.0, 0.1]])
    >>> nbsmce.cross_entropy_backward(1.0, logits, [0]).round(3)
    array([[-0.341,  0.242,  0.099]])
    """
    spec = loss_spec(ignore_index, reduction, label_smoothing, z_loss, logit_scale, softcap, check)
    call = short(_GRADIENT, axis, logits, spec) if weight is None and sample_weight is None else None
    if call and (results := call(logits, target, dloss, lse, out)) is not None:
        return results[1]
    chosen = backend(
        {
            "dloss": dloss,
            "logits": logits,
            "target": target,
            "lse": lse,
            "out": out,
            "weight": weight,
            "sample_weight": sample_weight,
        }
    )
    return chosen.cross_entropy(
        logits, target, axis, weight, sample_weight, spec, _GRADIENT, dloss=dloss, lse=lse, out=out
    )[1]
