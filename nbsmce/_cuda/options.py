"""The options of a loss as kernels take them."""

from __future__ import annotations

from typing import Any, NamedTuple


class Options(NamedTuple):
    """Numbers, and as integers what is given and wanted."""

    slope: Any  # of the target mass over the probability
    share: Any  # the target mass of a class with the probability 0, without its weight
    z_loss: Any
    scale: Any  # of the logits
    softcap: Any  # 0 is none
    inverse_cap: Any  # 1 / softcap: a division would be made for every class
    upstream: Any  # what the gradient of every row is multiplied with
    ignore_index: Any
    indexed: Any  # the target has class indices
    weighted: Any  # classes have weights
    sampled: Any  # rows have weights
    dloss_of_rows: Any
    dloss_of_all: Any
    divided: Any  # the loss is a mean
    by_row: Any  # the losses of rows are wanted
    reduced: Any  # their sum is
