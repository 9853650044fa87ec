"""The face parser: photographs to label maps, by BiSeNet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from wplus import images, weights
from wplus.errors import ImageError
from wplus.faces.labels import by_place
from wplus.formats.bisenet import read_bisenet
from wplus.formats.strict import load_strict
from wplus.nn.bisenet import BiSeNet
from wplus.nn.resnet import ConvNorm

PARSER = "bisenet-faces.pth"  # a row of `weights.table`
SIZE = 512  # side at which the network was trained


class FaceParser:
    """Labels of aligned faces.

    Args:
        network: images (N, 3, H, W) in [-1, 1] to scores (N, classes, H, W).
        size: side in pixels to which images are resized for it.
    """

    def __init__(self, network: nn.Module, size: int = SIZE) -> None:
        self.network = network.eval().requires_grad_(False)
        self.size = size

    def to(self, device: torch.device | str) -> FaceParser:
        """Move to a device; returns the parser itself."""
        self.network.to(device)
        return self

    @torch.inference_mode()
    def parse(self, batch: Tensor) -> Tensor:
        """Label maps (N, H, W) int64 of FFHQ crops (N, 3, H, W) in [-1, 1].

        Each label is an index into `LABELS`. Sides are the person's own (l_eye is on the right of
        the image) and determined by position, see `labels.by_place`.

        Raises:
            ImageError: another shape, or integers.
        """
        if batch.ndim != 4 or batch.shape[1] != 3 or not batch.is_floating_point():
            raise ImageError(
                "a parser reads a float tensor (N, 3, H, W) in [-1, 1],"
                f" not {batch.dtype} {tuple(batch.shape)}"
            )
        labels = []
        for image in torch.split(batch, 1):  # one at a time, to bound the memory for scores
            resized = images.resize(image, self.size).contiguous(memory_format=torch.channels_last)
            scores = images.resize(self.network(resized), (image.shape[2], image.shape[3]))
            labels.append(by_place(scores.argmax(1)[0]))
        return torch.stack(labels)


def load_parser(path: str | Path | None = None) -> FaceParser:
    """The parser of a published `79999_iter.pth`; without a path it is fetched on first use.

    Raises:
        FormatError: the file is damaged or holds another network.
        WeightsError: it cannot be fetched.
    """
    path = weights.path(PARSER) if path is None else path
    config, state = read_bisenet(path)
    network = BiSeNet(**config)
    load_strict(network, state, str(path))
    channels_last: Any = {"memory_format": torch.channels_last}  # unknown to torch's own types
    return FaceParser(folded(network).to(**channels_last))


def folded(network: nn.Module) -> nn.Module:
    """Fold the batch norms into the convolutions, which is faster; in evaluation mode."""
    network.eval()
    for module in network.modules():
        if isinstance(module, ConvNorm):
            module.conv = fuse_conv_bn_eval(module.conv, module.norm)
            module.norm = nn.Identity()  # type: ignore[assignment]
    return network
