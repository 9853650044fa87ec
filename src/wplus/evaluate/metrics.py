"""The metrics: comparisons of outputs with targets, image by image or as sets.

A metric is a row of `METRICS`; a new one is a function and a row:

    def l1(outputs, targets):              # (N, 3, 256, 256) in [-1, 1] each → (N,)
        return (outputs - targets).abs().mean(dim=(1, 2, 3))

    METRICS.register(Metric("l1", "L1 in [−1, 1]", of_pairs(l1), digits=4))
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from wplus.evaluate.frechet import UNBIASED_FROM, FeatureStatistics, frechet_distance
from wplus.evaluate.networks import FaceNet, InceptionFeatures
from wplus.losses import load_lpips
from wplus.registry import Registry

SIZE = 256  # images are compared at 256², as in the paper's losses
PSNR_CEILING = 100.0
"""PSNR of equal images, which would be infinite, and every mean with it. The smallest difference
that two 8-bit images of 256² can have is 101 dB."""


class Statistics(Protocol):
    """Accumulates the features of a set."""

    count: int

    def update(self, features: Any) -> None:
        """Add the features of N images."""


@dataclass(frozen=True, eq=False)
class Measure:
    """A metric with its network loaded.

    Attributes:
        score: compares features of outputs with features of their targets, (N,) values; with
            `statistics`, the accumulated statistics of all outputs with those of all targets.
        features: of images (N, 3, 256, 256) in [-1, 1], computed once per image and compared by
            `score`; by default the images themselves.
        statistics: makes an empty accumulator for a metric of sets; None for a metric of images.
        network: name of the network, for titles.
    """

    score: Callable[[Any, Any], Any]
    features: Callable[[Tensor], Any] = lambda images: images
    statistics: Callable[[], Statistics] | None = None
    network: str = ""


@dataclass(frozen=True)
class LoadOptions:
    """Where networks run, and the ONNX file of the face network (None: EdgeFace-S)."""

    device: torch.device | str = "cpu"
    face_net: str | None = None


@dataclass(frozen=True)
class Metric:
    """A row of `METRICS`.

    Attributes:
        name: in reports, `images.csv` and `wplus evaluate --without`.
        title: for tables; {network} is replaced by `Measure.network`.
        load: builds the measure, fetching its network on first use; see `of_pairs`.
        lower_is_better: the better direction.
        digits: after the decimal point, in tables.
        caption: short title under the images of a sheet; empty to leave it out there.
        undefined: why an image may have no value (NaN), for the list of failures.
        least: images below which a metric of sets has no value.
        unbiased_from: images below which a metric of sets is biased, which `caveat` then explains.
    """

    name: str
    title: str
    load: Callable[[LoadOptions], Measure]
    lower_is_better: bool = True
    digits: int = 3
    caption: str = ""
    undefined: str = "the metric is not a number"
    least: int = 1
    unbiased_from: int = 0
    caveat: str = ""


def of_pairs(score: Callable[[Tensor, Tensor], Tensor]) -> Callable[[LoadOptions], Measure]:
    """`Metric.load` of a function that needs no network.

    Args:
        score: outputs and targets, (N, 3, 256, 256) in [-1, 1] each, to (N,) values.
    """
    return lambda options: Measure(score)


def mse(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error (N,) float64 of images (N, 3, H, W), in the square of their units."""
    # float64 (which MPS lacks): PSNR takes the logarithm of a mean of 200,000 squares.
    dtype = torch.float32 if outputs.device.type == "mps" else torch.float64
    return (outputs.to(dtype) - targets.to(dtype)).square().mean(dim=(1, 2, 3))


def psnr(outputs: Tensor, targets: Tensor) -> Tensor:
    """Peak signal-to-noise ratio (N,) in dB of images in [-1, 1]: 10·log10(2² / MSE)."""
    return (10 * torch.log10(4 / mse(outputs, targets))).clamp(max=PSNR_CEILING)


def _lpips(net: str, options: LoadOptions) -> Measure:
    network = load_lpips(net).to(options.device)
    return Measure(network.distance, network.features)


def _identity(options: LoadOptions) -> Measure:
    network = FaceNet(options.face_net)
    return Measure(lambda a, b: (a * b).sum(dim=1), network.embed, network=network.name)


def _fid(options: LoadOptions) -> Measure:
    network = InceptionFeatures(options.device)
    statistics = partial(FeatureStatistics, network.dimension)
    return Measure(lambda a, b: frechet_distance(b, a), network, statistics)


METRICS: Registry[Metric] = Registry(
    "metric",
    [
        Metric("lpips_alexnet", "LPIPS (AlexNet)", partial(_lpips, "alexnet"), caption="LPIPS"),
        Metric("lpips_vgg16", "LPIPS (VGG)", partial(_lpips, "vgg16")),
        Metric("mse", "MSE in [−1, 1]", of_pairs(mse), digits=4, caption="MSE"),
        Metric("psnr", "PSNR (dB)", of_pairs(psnr), lower_is_better=False, digits=2),
        Metric(
            "identity",
            "identity ({network})",
            _identity,
            lower_is_better=False,
            caption="id",
            undefined="the face network gives no vector for the image or its target",
        ),
        Metric(
            "fid",
            "FID",
            _fid,
            digits=1,
            least=2,
            unbiased_from=UNBIASED_FROM,
            caveat=f"FID of fewer than {UNBIASED_FROM:,} images is too large, the more so the"
            " fewer there are: compare it only between runs on equally many",
        ),
    ],
)
"""The metrics in the order of tables. `register` adds one to tables, reports and the command."""


class Scorer:
    """Metrics with their networks, ready to compare images.

    Args:
        measures: by name of `METRICS`.
        device: where images are compared.
    """

    def __init__(self, measures: Mapping[str, Measure], device: torch.device | str = "cpu") -> None:
        self.measures = dict(measures)
        self.device = torch.device(device)

    def names(self, of_sets: bool = False) -> list[str]:
        """Names of the metrics of images, or of those of sets."""
        return [n for n, m in self.measures.items() if (m.statistics is not None) == of_sets]

    @torch.no_grad()
    def features(self, images: Tensor) -> dict[str, Any]:
        """The features of images (N, 3, 256, 256) in [-1, 1] for each metric, by name."""
        images = images.to(self.device)
        return {name: measure.features(images) for name, measure in self.measures.items()}

    @torch.no_grad()
    def compare(self, outputs: Mapping[str, Any], targets: Mapping[str, Any]) -> dict[str, Tensor]:
        """Scores of each output against its own target.

        Args:
            outputs: see `features`.
            targets: the same, of the targets.

        Returns:
            Values of the metrics of images by name, (N,) float64 on the CPU; NaN where undefined.
        """
        return {
            name: self.measures[name].score(outputs[name], targets[name]).cpu().double()
            for name in self.names()
        }


def load_scorer(
    device: torch.device | str = "cpu", face_net: str | None = None, without: Iterable[str] = ()
) -> Scorer:
    """All metrics of `METRICS` with their networks, which are fetched on first use.

    Args:
        device: where they run.
        face_net: an ONNX file for identity; None for EdgeFace-S.
        without: names of metrics to leave out.

    Raises:
        ConfigError: `without` names a metric that does not exist.
        WeightsError: a network cannot be fetched.
        FormatError: `face_net` is not a face network.
    """
    left_out = {METRICS.find(name).name for name in without}
    options = LoadOptions(device, face_net)
    rows = [row for row in METRICS.values() if row.name not in left_out]
    return Scorer({row.name: row.load(options) for row in rows}, device)
