"""What is measured of each picture: distances to the target, and whether it is the same person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from wplus.evaluate.networks import FaceNet, InceptionFeatures
from wplus.losses import LPIPS, load_lpips

SIZE = 256  # everything is judged at 256², like everywhere in the method
PSNR_CEILING = 100.0
"""PSNR of equal pictures, which would be infinite, and every mean with it. The smallest difference
that two 8-bit pictures of 256² can have is 101 dB."""


@dataclass(frozen=True)
class Metric:
    """How a number is called and read.

    Attributes:
        title: for tables; {face} stands for the face net's name.
        lower: whether lower is better.
        digits: after the point.
    """

    title: str
    lower: bool
    digits: int


METRICS: Mapping[str, Metric] = {
    "lpips_alexnet": Metric("LPIPS (AlexNet)", lower=True, digits=3),
    "lpips_vgg16": Metric("LPIPS (VGG)", lower=True, digits=3),
    "mse": Metric("MSE in [−1, 1]", lower=True, digits=4),
    "psnr": Metric("PSNR (dB)", lower=False, digits=2),
    "identity": Metric("identity ({face})", lower=False, digits=3),
}
"""The metrics of single pictures, in the order of tables."""
OPTIONAL = ("lpips-alexnet", "lpips-vgg16", "identity", "fid")
"""What may be left out: each needs a file to be fetched."""


@dataclass(frozen=True, eq=False)
class Target:
    """Pictures to be reached, and everything about them that is computed only once.

    Attributes:
        images: (N, 3, 256, 256) in [-1, 1].
        perceptual: features of each LPIPS.
        faces: (N, D) unit vectors on the CPU, or None.
        inception: (N, 2048) features, or None.
    """

    images: Tensor
    perceptual: Mapping[str, Sequence[Tensor]]
    faces: Tensor | None
    inception: Tensor | None

    def of(self, chosen: Sequence[int]) -> Target:
        """The same for some of the pictures."""
        rows = list(chosen)
        return Target(
            self.images[rows],
            {name: [layer[rows] for layer in layers] for name, layers in self.perceptual.items()},
            None if self.faces is None else self.faces[rows],
            None if self.inception is None else self.inception[rows],
        )


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of a batch.

    Attributes:
        values: by name of `METRICS`, (N,) float64 on the CPU; NaN where there is none.
        inception: (N, 2048) features of the outputs, or None.
    """

    values: Mapping[str, Tensor]
    inception: Tensor | None


class Features(Protocol):
    """What FID is computed from: (N, 3, H, W) in [-1, 1] to (N, dimension)."""

    dimension: int

    def __call__(self, images: Tensor) -> Tensor:
        """The features of pictures."""


class Judge:
    """The metrics that were asked for, with their nets.

    Args:
        lpips: nets by name, "alexnet" and "vgg16"; on the device where pictures are judged.
        face: for identity; None leaves it out.
        inception: for FID; None leaves it out.

    Attributes:
        lpips, face, inception: the same.
    """

    def __init__(
        self,
        lpips: Mapping[str, LPIPS],
        face: FaceNet | None = None,
        inception: Features | None = None,
    ) -> None:
        self.lpips = lpips
        self.face = face
        self.inception = inception

    @property
    def metrics(self) -> list[str]:
        """Names of the values that `compare` gives, in the order of `METRICS`."""
        known = {"mse", "psnr", *(f"lpips_{net}" for net in self.lpips)}
        known |= set() if self.face is None else {"identity"}
        return [name for name in METRICS if name in known]

    @torch.no_grad()
    def target(self, images: Tensor) -> Target:
        """What `compare` needs of the pictures (N, 3, 256, 256) in [-1, 1] to be reached."""
        return Target(
            images,
            {name: net.features(images) for name, net in self.lpips.items()},
            None if self.face is None else self.face.embed(images),
            None if self.inception is None else self.inception(images),
        )

    @torch.no_grad()
    def compare(self, outputs: Tensor, target: Target) -> Scores:
        """Score pictures (N, 3, 256, 256) in [-1, 1], each against its own target."""
        squared = mse(outputs, target.images)
        values = {"mse": squared, "psnr": psnr(squared)}
        for name, net in self.lpips.items():
            values[f"lpips_{name}"] = net.distance(net.features(outputs), target.perceptual[name])
        if self.face is not None and target.faces is not None:
            values["identity"] = (self.face.embed(outputs) * target.faces).sum(dim=1)
        features = None if self.inception is None else self.inception(outputs)
        return Scores({name: value.cpu().double() for name, value in values.items()}, features)


def mse(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error (N,) float64 of pictures (N, 3, H, W), in the square of their units."""
    # Float64 where there is any, since the mean of 200,000 squares is what PSNR takes a log of.
    kind = torch.float32 if outputs.device.type == "mps" else torch.float64
    return (outputs.to(kind) - targets.to(kind)).square().mean(dim=(1, 2, 3))


def psnr(squared: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of mean squared errors in [-1, 1]: 10·log10(2² / MSE)."""
    return (10 * torch.log10(4 / squared)).clamp(max=PSNR_CEILING)


def load_judge(
    device: torch.device | str = "cpu",
    face_net: str | None = None,
    without: Sequence[str] = (),
) -> Judge:
    """A judge with its nets, fetched on first use.

    Args:
        device: where LPIPS and Inception run.
        face_net: an ONNX file; None for EdgeFace-S.
        without: names of `OPTIONAL` that are not to be measured, nor fetched.

    Raises:
        WeightsError: a net cannot be fetched.
        FormatError: `face_net` is no face net.
    """
    nets = [net for net in ("alexnet", "vgg16") if f"lpips-{net}" not in without]
    face = None if "identity" in without else FaceNet(face_net)  # a wrong file shows before a fetch
    return Judge(
        {net: load_lpips(net).to(device) for net in nets},
        face,
        None if "fid" in without else InceptionFeatures(device),
    )
