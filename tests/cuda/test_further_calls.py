"""Results of calls that have the plan of a call before them."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from cases import random_logits
from gpu import back, to

import nbsmce
from nbsmce._cuda import calls

pytestmark = pytest.mark.cuda


def twice(call, *sets):
    """The results of a call with some arrays after one with others, and how many plans were made for both."""
    calls.forget()
    results = [call(*map(to, arrays)) for arrays in sets]
    return results, sum(c.cache_info().misses for c in calls._remembered)


def two(shape, dtype="float32"):
    return [random_logits(shape, dtype, seed=seed) for seed in (1, 2)]


@pytest.mark.parametrize("shape", [(3, 8), (3, 5)])
def test_results_of_further_calls(shape):
    inputs = two(shape)
    results, count = twice(nbsmce.softmax, *((x,) for x in inputs))
    assert count == 1
    for x, y in zip(inputs, results, strict=True):
        np.testing.assert_allclose(back(y), reference.softmax(x, -1).astype(np.float32), rtol=3e-7)
    results, count = twice(lambda x: nbsmce.softmax(x, out=x), *((x,) for x in inputs))
    assert count == 1
    for x, y in zip(inputs, results, strict=True):
        np.testing.assert_allclose(back(y), reference.softmax(x, -1).astype(np.float32), rtol=3e-7)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_losses_and_gradients_of_further_calls(reduction):
    inputs, targets = two((5, 6)), [np.array([0, 5, -100, 2, 3]), np.array([1, 1, 4, -100, 0])]
    weights = [np.arange(1, 7, dtype=np.float32), np.arange(7, 1, -1).astype(np.float32)]
    options = {"reduction": reduction, "label_smoothing": 0.1}
    sets = list(zip(inputs, targets, weights, strict=True))
    results, count = twice(lambda x, t, w: nbsmce.cross_entropy_with_grad(x, t, weight=w, **options), *sets)
    assert count == 1
    for (x, t, w), (loss, gradient) in zip(sets, results, strict=True):
        exact_loss, exact_gradient = reference.cross_entropy(x, t, weight=w, **options)[:2]
        np.testing.assert_allclose(back(loss), exact_loss.astype(np.float32), rtol=2e-6)
        np.testing.assert_allclose(back(gradient), exact_gradient.astype(np.float32), rtol=2e-6, atol=1e-6)


def test_further_calls_say_which_target_is_no_class():
    x, good, bad = random_logits((3, 5), "float32"), np.array([0, 1, 2]), np.array([0, 7, 2])
    (first, wrong, last), count = twice(nbsmce.cross_entropy, (x, good), (x, bad), (x, good))
    assert count == 1
    with pytest.raises(IndexError, match=r"target\[1\] is 7"):
        float(wrong)
    assert float(first) == float(last)
    sync = [lambda t: nbsmce.cross_entropy(to(x), to(t), check="sync")] * 2
    sync[0](good)
    with pytest.raises(IndexError, match=r"target\[1\] is 7"):
        sync[1](bad)
    sync[0](good)


def test_a_result_over_the_targets_is_that_of_a_result_elsewhere():
    """The targets are read last for the record, and the gradient is written to their memory."""
    x, t = random_logits((2, 4), "float64"), np.array([1, 3])
    memory = to(np.concatenate([t.view(np.float64), np.zeros(10)]))
    target = memory[:2].view(np.int64)
    out = memory[1:9].reshape(2, 4)
    _, gradient = nbsmce.cross_entropy_with_grad(to(x), target, out=out)
    np.testing.assert_allclose(back(gradient), reference.cross_entropy(x, t)[1].astype(float), rtol=1e-12)
