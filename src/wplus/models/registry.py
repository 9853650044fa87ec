"""The registry: which class a configuration's `kind` names, and how it is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import nn

from wplus.config import Part
from wplus.encoders import CompactEncoder, NaiveWPlusEncoder, PyramidEncoder, SingleWEncoder
from wplus.errors import ConfigError
from wplus.formats.opening import line
from wplus.generators import MobileStyleGAN, StyleGAN2
from wplus.losses.facenets import ArcFace
from wplus.losses.perceptual import LPIPS
from wplus.nn.bisenet import BiSeNet
from wplus.nn.irse import IRSETrunk
from wplus.nn.mobilefacenet import MobileFaceNet, MobileFaceTrunk
from wplus.nn.resnet import ResNet


def _arcface(trunk: Mapping[str, Any], **options: Any) -> ArcFace:
    return ArcFace(IRSETrunk(**trunk), **options)


def _mobilefacenet(input_channels: int, stem: int, stages: Any, **options: Any) -> MobileFaceNet:
    return MobileFaceNet(MobileFaceTrunk(input_channels, stem, stages), **options)


GENERATORS: dict[str, Callable[..., nn.Module]] = {
    "stylegan2": StyleGAN2,
    "mobilestylegan": MobileStyleGAN,
}
ENCODERS: dict[str, Callable[..., nn.Module]] = {
    "pyramid": PyramidEncoder,
    "all_from_largest": partial(PyramidEncoder, levels="largest"),
    "all_from_smallest": partial(PyramidEncoder, levels="smallest"),
    "single_w": SingleWEncoder,
    "naive_wplus": NaiveWPlusEncoder,
    "compact": CompactEncoder,
}
FROZEN: dict[str, Callable[..., nn.Module]] = {
    "arcface": _arcface,
    "mobilefacenet": _mobilefacenet,
    "resnet": ResNet,
    "bisenet": BiSeNet,
    "lpips": LPIPS,
}
NETWORKS = GENERATORS | ENCODERS | FROZEN


def build(part: Part) -> nn.Module:
    """The network that `part` describes, with random weights.

    Raises:
        ConfigError: the kind is unknown, or an option is unknown or out of range.
    """
    builder = NETWORKS.get(part.kind)
    if builder is None:
        raise ConfigError(f"network {part.kind!r} is none of: {', '.join(sorted(NETWORKS))}")
    try:
        return builder(**part.options)
    except Exception as error:  # options of a file's choosing can fail anywhere in a constructor
        raise ConfigError(f"network {part.kind!r}: {line(error)}") from None
