"""Which part of the face every pixel shows: photographs to label maps, by BiSeNet."""

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
        network: gives scores (N, classes, H, W) for pictures (N, 3, H, W) in [-1, 1].
        size: side at which it looks at them.
    """

    def __init__(self, network: nn.Module, size: int = SIZE) -> None:
        self.network = network.eval().requires_grad_(False)
        self.size = size

    def to(self, device: torch.device | str) -> FaceParser:
        """Move to a device; the same parser."""
        self.network.to(device)
        return self

    @torch.inference_mode()
    def parse(self, pictures: Tensor) -> Tensor:
        """Label maps (N, H, W) int64 of pictures (N, 3, H, W) in [-1, 1], cropped as FFHQ is.

        Each label is an index into `LABELS`. Sides are the person's own (l_eye is on the
        right of the picture), and set by place, see `labels.by_place`.

        Raises:
            ImageError: another shape, or integers.
        """
        if pictures.ndim != 4 or pictures.shape[1] != 3 or not pictures.is_floating_point():
            raise ImageError(
                "a parser reads a float tensor (N, 3, H, W) in [-1, 1],"
                f" not {pictures.dtype} {tuple(pictures.shape)}"
            )
        labels = []
        for number in range(len(pictures)):  # scores of many large pictures are large
            picture = pictures[number : number + 1]
            seen = images.resize(picture, self.size).contiguous(memory_format=torch.channels_last)
            scores = images.resize(self.network(seen), (picture.shape[2], picture.shape[3]))
            labels.append(by_place(scores.argmax(1)[0]))
        return torch.stack(labels)


def load_parser(path: str | Path | None = None) -> FaceParser:
    """The parser of a published `79999_iter.pth`; without a path, fetch it on first use.

    Raises:
        FormatError: the file is damaged or another network.
        WeightsError: it cannot be fetched.
    """
    path = weights.path(PARSER) if path is None else path
    config, state = read_bisenet(path)
    network = BiSeNet(**config)
    load_strict(network, state, str(path))
    channels_last: Any = {"memory_format": torch.channels_last}  # unknown to torch's own types
    return FaceParser(folded(network).to(**channels_last))


def folded(network: nn.Module) -> nn.Module:
    """The same network in evaluation mode with its batch norms in the convolutions: faster."""
    network.eval()
    for module in network.modules():
        if isinstance(module, ConvNorm):
            module.conv = fuse_conv_bn_eval(module.conv, module.norm)
            module.norm = nn.Identity()  # type: ignore[assignment]
    return network
