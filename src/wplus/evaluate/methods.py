"""The methods of reconstruction that are compared: images → images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from wplus import images
from wplus.errors import ConfigError
from wplus.losses import LossNetworks
from wplus.optimize import phases_for, photograph_task, refine
from wplus.psp import PSP


@dataclass(frozen=True, eq=False)
class Method:
    """A method of reconstruction.

    Attributes:
        name: for tables.
        run: images (N, 3, 256, 256) in [-1, 1] to reconstructions (N, 3, S, S), which are timed
            and scored as their files would be.
        warm_up: runs once before timing, to fill caches and load networks and kernels; None
            for an untimed `run`.
    """

    name: str
    run: Callable[[Tensor], Tensor]
    warm_up: Callable[[Tensor], object] | None = None


def one_pass(model: PSP) -> Method:
    """G(E(x) + w̄), corrected if the model has a corrector; without an encoder G(w̄).

    Raises:
        ConfigError: the encoder does not read photographs.
    """
    if model.encoder is not None and model.config.source != "photo":
        raise ConfigError(
            f"this model's encoder reads {model.config.source}, not photographs: translate files"
            " with it and score them with --pairs"
        )
    name = "mean code" if model.encoder is None else "one pass"
    return Method(name, lambda targets: _decode(model, targets, _codes(model, targets)))


def codes_only(model: PSP) -> Method:
    """`one_pass` without corrections. Raises as it does."""
    one_pass(model)  # check the model
    return Method("W+ only", lambda targets: model.decode(_codes(model, targets)))


def refined(
    model: PSP, steps: int, networks: LossNetworks, precision: torch.dtype | None = None
) -> Method:
    """`one_pass`, then optimization of the codes, as `wplus invert --refine` does it.

    Args:
        model: see `one_pass`.
        steps: of optimization, not counting warm-up.
        networks: of the losses.
        precision: of the convolutions during optimization, see `optimize.refine`.

    Raises:
        ConfigError: steps below 1; or as in `one_pass`.
    """
    if steps < 1:
        raise ConfigError(f"{steps} steps refine nothing; at least 1")

    def run(targets: Tensor, steps: int = steps) -> Tensor:
        refinement = refine(
            model,
            targets,
            _codes(model, targets),
            phases=phases_for(model, photograph_task(model), steps),
            networks=networks,
            precision=precision,
        )
        return _decode(model, targets, refinement.codes)

    name = f"{one_pass(model).name} + {steps} step{'s' if steps > 1 else ''}"
    return Method(name, run, lambda targets: run(targets, 1))


def _decode(model: PSP, targets: Tensor, codes: Tensor) -> Tensor:
    """(N, 3, S, S), corrected if the model can."""
    corrections = None if model.corrector is None else model.correct(targets, codes)
    return model.decode(codes, corrections=corrections)


def _codes(model: PSP, targets: Tensor) -> Tensor:
    """(N, L, style_dim)."""
    if model.encoder is None:
        return model.mean_codes.expand(len(targets), -1, -1)
    return model.encode(images.resize(targets.to(model.device), model.encoder.input_size))
