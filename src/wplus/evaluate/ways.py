"""The ways from a picture to its reconstruction that are compared."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from wplus import images
from wplus.errors import ConfigError, ImageError
from wplus.evaluate.data import Batch, as_saved
from wplus.losses import LPIPS, IdentityLoss
from wplus.psp import PSP
from wplus.reconstruct import Plan, refine_photographs


@dataclass(frozen=True, eq=False)
class Outcome:
    """Reconstructions of a batch.

    Attributes:
        images: for each of the N targets (1, 3, 256, 256) in [-1, 1], or why there is no picture.
        seconds: for the whole batch; None where nothing was computed.
    """

    images: list[Tensor | ImageError]
    seconds: float | None


def _outcome(outputs: Tensor, seconds: float) -> Outcome:
    """Of generated images (N, 3, S, S): each as its file would be judged."""
    found: list[Tensor | ImageError] = []
    for output in outputs:
        try:
            found.append(as_saved(output))
        except ImageError as error:
            found.append(error)
    return Outcome(found, seconds)


class Way(Protocol):
    """Makes reconstructions.

    Attributes:
        name: for tables.
    """

    name: str

    def run(self, batch: Batch) -> Outcome:
        """Reconstruct the targets of a batch."""

    def warm_up(self, batch: Batch) -> None:
        """Do once what is slow the first time: caches, kernels, lazy loading."""


class OnePass:
    """G(E(x) + w̄); for a model without an encoder, G(w̄), the floor.

    Raises:
        ConfigError: the encoder does not read photographs.
    """

    def __init__(self, model: PSP) -> None:
        if model.encoder is not None and model.config.source != "photo":
            raise ConfigError(
                f"this model's encoder reads {model.config.source}, not photographs: make its"
                " results and compare the files, with --pairs"
            )
        self.model = model
        self.name = "mean code" if model.encoder is None else "one pass"

    def codes(self, batch: Batch) -> Tensor:
        """(N, L, style_dim)."""
        if self.model.encoder is None:
            return self.model.mean_codes.expand(len(batch.targets), -1, -1)
        targets = batch.targets.to(self.model.device)
        return self.model.encode(images.resize(targets, self.model.encoder.input_size))

    @torch.no_grad()
    def run(self, batch: Batch) -> Outcome:
        """From the pictures to images of the generator's resolution."""
        started = _now(self.model.device)
        outputs = self.model.decode(self.codes(batch))
        return _outcome(outputs, _now(self.model.device) - started)

    def warm_up(self, batch: Batch) -> None:
        """A run that is not counted."""
        self.run(batch)


class Refined:
    """The same, then `steps` of optimization of the codes.

    Args:
        model: see `OnePass`.
        steps: at most so many, see `refine.Schedule`.
        lpips: LPIPS (AlexNet), part of what is minimized.
        identity: part of it too where the model is refined so, see `reconstruct.Plan`.
        precision: of the convolutions on the way, see `refine.refine`.

    Raises:
        ConfigError: no steps; or as in `OnePass`.
    """

    def __init__(
        self,
        model: PSP,
        steps: int,
        lpips: LPIPS,
        precision: torch.dtype | None = None,
        identity: IdentityLoss | None = None,
    ) -> None:
        if steps < 1:
            raise ConfigError(f"{steps} steps refine nothing; at least 1")
        self._start = OnePass(model)
        self.model = model
        self.steps = steps
        self.lpips, self.identity = lpips, identity
        self.precision = precision
        self.name = f"{self._start.name} + {steps} step{'s' if steps > 1 else ''}"

    @torch.no_grad()
    def run(self, batch: Batch) -> Outcome:
        """From the pictures to images of the generator's resolution, the first pass included."""
        return self._run(batch, self.steps)

    def _run(self, batch: Batch, steps: int) -> Outcome:
        started = _now(self.model.device)
        start = self._start.codes(batch)
        found = refine_photographs(
            self.model,
            batch.targets,
            start,
            Plan.of(self.model, steps),
            lpips=self.lpips,
            identity=self.identity,
            precision=self.precision,
        )
        outputs = self.model.decode(found.codes)
        return _outcome(outputs, _now(self.model.device) - started)

    @torch.no_grad()
    def warm_up(self, batch: Batch) -> None:
        """One step."""
        self._run(batch, 1)


class Given:
    """Reconstructions that are there already: the second folder of `data.Pairs`."""

    name = "pictures"

    def run(self, batch: Batch) -> Outcome:
        """The batch's own outputs."""
        if batch.outputs is None:
            raise ConfigError("only pairs of pictures come with their reconstructions")
        return Outcome([output[None] for output in batch.outputs], None)

    def warm_up(self, batch: Batch) -> None:
        """Nothing to warm up."""


def _now(device: torch.device) -> float:
    """Seconds, when the device has done all it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
    return time.perf_counter()
