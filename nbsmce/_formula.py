"""The loss and its gradient: the one place where they are written.

Plain arithmetic on numbers, vectors or whatever the caller computes with; ``x`` are the effective logits of a row,
``m`` the largest of them, ``p`` their softmax, ``q`` the target mass, and

* ``mass`` is ``sum(q)``,
* ``cross`` is ``sum(q * (m - x))``, a sum of terms that are not negative,
* ``log_sum`` is ``log(sum(exp(x - m)))``, so ``lse = m + log_sum``.

With them ``mass * lse - sum(q * x)`` is ``mass * log_sum + cross``: nothing cancels, and a confident right answer keeps
the digits of its loss.
"""

from __future__ import annotations

from typing import Any


def target_mass(y: Any, weight: Any, smoothing: Any, classes: Any) -> Any:
    """``q`` of a class with the target probability ``y``."""
    return weight * ((1.0 - smoothing) * y + smoothing / classes)


def row_loss(mass: Any, cross: Any, log_sum: Any, penalty: Any) -> Any:
    """The loss of a row; ``penalty`` is its z-loss."""
    return mass * log_sum + cross + penalty


def z_penalty(z_loss: Any, lse: Any) -> Any:
    """The z-loss of a row."""
    return z_loss * (lse * lse)


def gradient_factor(mass: Any, z_loss: Any, lse: Any) -> Any:
    """What the gradient multiplies ``p`` with: ``d loss / d x = gradient_factor * p - q``."""
    return mass + 2.0 * z_loss * lse


def target_gradient(mass: Any, q: Any, gap: Any, z_loss: Any, lse: Any) -> Any:
    """``gradient_factor * p - q`` of the target class, from ``gap = 1 - p``, which can have more digits than ``p``."""
    return (mass - q) - mass * gap + 2.0 * z_loss * lse * (1.0 - gap)


def cap_slope(share: Any, one: Any = 1.0) -> Any:
    """``d x / d logits`` of an effective logit under a soft cap, of which it is this share, before the scale.

    ``one`` is 1 in the type that is computed in.
    """
    return one - share * share
