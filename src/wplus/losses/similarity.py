"""Similarity for domains other than faces: the cosine of two self-supervised embeddings."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional

from wplus.formats.moco import read_moco
from wplus.formats.strict import load_strict
from wplus.losses.cosine import CosineLoss
from wplus.nn.resnet import ResNet


class SimilarityLoss(CosineLoss):
    """1 - <R(y), R(y_hat)>, R being the mean features of a MoCo-v2 ResNet-50, as `similarity`.

    Args:
        net: maps images of any size to (N, D).
    """

    SIZE = 224

    def __init__(self, net: nn.Module, name: str = "similarity") -> None:
        super().__init__(net, name)

    def prepare(self, images: Tensor) -> Tensor:
        """Resize (N, 3, H, W) to 224x224 by picking the nearest pixels.

        The published loss resizes so, and does not standardize colors as ImageNet nets expect;
        weights of 0.5 for this term were tuned with both.
        """
        return functional.interpolate(images, size=(self.SIZE, self.SIZE), mode="nearest")


def load_moco(path: str | Path) -> ResNet:
    """Read `moco_v2_800ep_pretrain.pth.tar` as a net of (N, 2048) features.

    Raises:
        FormatError: the file is unsafe or damaged, or a tensor is missing, unexpected or misshapen.
    """
    config, state = read_moco(path)
    net = ResNet(**config)
    load_strict(net, state, str(path))
    return net.eval()
