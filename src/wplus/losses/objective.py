"""The objective: every loss as a named term, and their weighted sum ("Encoding in Style", Eq. 6).

L = λ1·L2 + λ2·LPIPS + λ3·L_id + λ4·L_reg, and the terms that some tasks add. All images are
compared at 256². The minimized terms are the logged ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from wplus import images
from wplus.errors import ConfigError
from wplus.losses.identity import COLUMNS, ROWS, SIZE
from wplus.losses.registry import LOSSES, check_weights, networks_for
from wplus.nn.modulated import to_float32

Number = TypeVar("Number", float, Tensor)


@dataclass(frozen=True)
class LossInputs:
    """A batch and its outputs.

    Attributes:
        source: (N, C, H, W), the encoder's input; only for the gain in identity over it.
        target: (N, 3, 256, 256) in [-1, 1].
        output: (N, 3, S, S) of the generator; losses see it area-pooled to 256². None where no
            loss compares images.
        codes: (N, L, D), the mean code included.
        mean_codes: (L, D); zeros for an encoder whose codes are not offsets from the mean.
        true_codes: (N, L, D) for targets that are samples of the generator; None without any.
        has_code: (N,) bool, which rows of `true_codes` count; None for all.
        num_with_code: the divisor of the sum over these rows; their number if None. Where a batch
            is split over processes or parts, the mean number of rows of a part makes the mean over
            parts equal that over the batch, for any distribution of the rows.
        native_size: (N,) sides from which targets were enlarged; 0 or 256 for none. The output is
            shrunk and enlarged alike before it is compared, so that finer detail than the
            photograph has is not penalized.
        code_variance: mean squared distance of w from the mean code; the unit of `code`, by which
            the mean code alone scores about 1 for any generator.
    """

    source: Tensor
    target: Tensor
    output: Tensor | None
    codes: Tensor
    mean_codes: Tensor
    true_codes: Tensor | None = None
    has_code: Tensor | None = None
    num_with_code: float | None = None
    native_size: Tensor | None = None
    code_variance: float = 1.0

    @property
    def image(self) -> Tensor:
        """The output, where there is one."""
        assert self.output is not None
        return self.output

    @cached_property
    def inner_face(self) -> LossInputs:
        """These inputs with output and target cropped to the inner face of aligned images."""
        output, target = (x[:, :, ROWS, COLUMNS] for x in (self.image, self.target))
        return replace(self, output=output, target=target)


class Objective(nn.Module):
    """Weighted losses of a batch.

    Its networks are frozen: gradients reach the output and the codes only. A loss of weight 0 is
    not computed.

    Args:
        weights: by the names of `LOSSES`.
        networks: by the names of `Loss.network`; those that no weighted loss needs are ignored.
        code_variance: see `LossInputs`.

    Raises:
        ConfigError: see `check_weights`; or all weights are 0, or a network is missing.
    """

    def __init__(
        self,
        weights: Mapping[str, float],
        networks: Mapping[str, nn.Module] | None = None,
        code_variance: float = 1.0,
    ) -> None:
        super().__init__()
        self.weights = {name: x for name, x in check_weights(weights).items() if x}
        if not self.weights:
            raise ConfigError("every loss has weight 0: there is nothing to train")
        if not 0 < code_variance < math.inf:
            raise ConfigError(f"the variance of codes must be above 0, not {code_variance}")
        self.code_variance = code_variance
        self.losses = [LOSSES[name] for name in self.weights]
        self.networks: dict[str, nn.Module] = {}
        for name in (loader.name for loader in networks_for(self.weights)):
            if networks is None or name not in networks:
                raise ConfigError(f"the weight of {name} is above 0, but its network is missing")
            self.networks[name] = networks[name]
        self._registered = nn.ModuleList(self.networks.values())  # moves with the objective
        self.requires_grad_(False)

    @property
    def needs_image(self) -> bool:
        """Whether a loss compares images, so that the generator has to run."""
        return any(loss.needs_image for loss in self.losses)

    @property
    def needs_code(self) -> bool:
        """Whether the number of examples with a known code matters."""
        return any(loss.needs_code for loss in self.losses)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all possible terms, in order."""
        return (*(name for loss in self.losses for name in loss.terms), "loss")

    @property
    def names_with_code(self) -> tuple[str, ...]:
        """Those of `names` that are means over the examples with a known code only."""
        return tuple(name for loss in self.losses if loss.needs_code for name in loss.terms)

    def forward(self, inputs: LossInputs) -> dict[str, Tensor]:
        """The terms of a batch, each a mean over it.

        Returns:
            Scalars by `names`: those of every weighted loss, and `loss`, their weighted sum.

        Raises:
            ConfigError: a shape is not as `LossInputs` says, or no weighted loss has anything to
                compare.
        """
        output = inputs.output
        if self.needs_image:
            if output is None or inputs.target.shape[1:] != (3, SIZE, SIZE):
                raise ConfigError(
                    f"targets must be (N, 3, {SIZE}, {SIZE}), not {tuple(inputs.target.shape)}, and"
                    " the weighted losses need an output"
                )
            output = functional.adaptive_avg_pool2d(to_float32(output), SIZE)
            output = _at_native_size(output, inputs.native_size)
        inputs = replace(
            inputs, output=output, codes=to_float32(inputs.codes), code_variance=self.code_variance
        )
        terms: dict[str, Tensor] = {}
        for loss in self.losses:
            network = self.networks[loss.network.name] if loss.network is not None else None
            terms |= loss.compute(inputs, network)
        if not terms:
            raise ConfigError("the only weighted loss is code, and no example has a known code")
        return {**terms, "loss": self.total(terms)}

    def total(self, terms: Mapping[str, Number]) -> Number:
        """The weighted sum of the terms that are there."""
        weighted = [
            terms[loss.terms[0]] * self.weights[loss.name]
            for loss in self.losses
            if loss.terms[0] in terms
        ]
        return sum(weighted[1:], start=weighted[0])


def _at_native_size(outputs: Tensor, native_size: Tensor | None) -> Tensor:
    """Shrink outputs to the native size of their targets, and enlarge them."""
    if native_size is None:
        return outputs
    rows = list(outputs.unbind())
    for row, side in enumerate(native_size.tolist()):
        if 0 < side < SIZE:
            small = images.resize(outputs[row : row + 1], side)
            rows[row] = images.resize(small, SIZE)[0]
    return torch.stack(rows)
