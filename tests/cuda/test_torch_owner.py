"""What the GPU backend does with PyTorch's own tensors, for which those in main memory stand here."""

from __future__ import annotations

import copy
import io
import os

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from nbsmce._cuda import checked, owners  # noqa: E402

pytestmark = pytest.mark.skipif(os.environ.get("NUMBA_ENABLE_CUDASIM") == "1", reason="tests of a library's arrays")


@pytest.fixture
def owner():
    """Its class of losses is made of the real library's tensors."""
    checked.torch_class.cache_clear()
    yield owners.Torch()
    checked.torch_class.cache_clear()


def loss_of(owner, value, status):
    record = checked.Record(torch.tensor(status), owner.numbers, lambda row, index: f"target[{row}] is {index}")
    return owner.checked(torch.tensor(value), record)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int64", "uint8", "bool"])
def test_a_tensor_is_described(owner, dtype):
    x = torch.zeros((4, 3, 8), dtype=getattr(torch, dtype))[1:, :, ::2].transpose(0, 1)
    address, facts = owner.facts(x, "x")
    assert address == x.data_ptr()
    assert owner.facts(x.clone(), "x")[1] != facts
    hash(facts)
    view = owner.view(2, facts, "x")
    assert view == (2, dtype, (3, 3, 4), (8, 24, 2), x.get_device(), True, address % 16, False)


@pytest.mark.parametrize("shape", [(), (0,), (5,), (4, 3, 8), (2, 0, 3)])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "int64", "bool", "uint8"])
def test_memory_is_allocated(owner, monkeypatch, shape, dtype):
    here, asked = torch.device("cpu"), []
    monkeypatch.setattr(torch, "device", lambda *device: asked.append(device) or here)
    make = owner.maker(shape, dtype, 3)
    made = make()
    assert asked == [("cuda", 3)]
    assert (made.shape, made.stride()) == (shape, torch.empty(shape).stride())
    assert (str(made.dtype), made.device, made.requires_grad) == (f"torch.{dtype}", here, False)
    assert owner.address(made) == made.data_ptr()
    assert make() is not made


READS = {
    "float": float, "int": int, "bool": bool, "repr": repr, "str": str, "format": "{:.3}".format,
    "item": lambda a: a.item(), "tolist": lambda a: a.tolist(), "cpu": lambda a: a.cpu(), "numpy": lambda a: a.numpy(),
    "saved": lambda a: torch.save({"loss": a}, io.BytesIO()),
}  # fmt: skip


@pytest.mark.parametrize("read", READS)
def test_a_loss_raises_when_it_is_read(owner, read):
    wrong = loss_of(owner, float("nan"), [3, 7])
    with pytest.raises(IndexError, match=r"target\[3\] is 7"):
        READS[read](wrong)
    for value, status in ((2.5, [3, 7]), (2.5, [-1, 0])):  # of a number the record is not looked at
        assert READS[read](loss_of(owner, value, status)) == READS[read](torch.tensor(value))
    assert torch.isnan(loss_of(owner, float("nan"), [-1, 0]).cpu())  # NaN from the logits


def test_what_is_computed_from_a_loss_is_a_plain_tensor(owner):
    wrong = loss_of(owner, float("nan"), [3, 7])
    for computed in (wrong + 1, wrong.detach(), wrong.double(), torch.isnan(wrong), torch.stack([wrong, wrong])):
        assert type(computed) is torch.Tensor
    assert type(copy.deepcopy(wrong)) is torch.Tensor


def test_a_loss_is_saved_as_a_plain_tensor(owner):
    """Checkpoints hold the loss, as PyTorch's tutorials write them, and are read where nbsmce is not installed."""
    file = io.BytesIO()
    torch.save({"loss": loss_of(owner, 2.5, [-1, 0])}, file)
    file.seek(0)
    read = torch.load(file, weights_only=True)["loss"]
    assert type(read) is torch.Tensor
    assert read == 2.5
    copied = copy.deepcopy([loss_of(owner, 2.5, [-1, 0])])[0]
    assert type(copied) is torch.Tensor
    assert copied == 2.5
