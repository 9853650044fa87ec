"""The objective: every loss as a named term, and their weighted sum ("Encoding in Style", Eq. 6).

L = λ1·L2 + λ2·LPIPS + λ3·L_id + λ4·L_reg, and the terms that some tasks add. All pictures are
compared at 256². The same table is what is minimized and what is written into the log.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from wplus import images
from wplus.errors import ConfigError
from wplus.losses.identity import COLUMNS, ROWS, SIZE, IdentityLoss
from wplus.losses.perceptual import LPIPS
from wplus.losses.similarity import SimilarityLoss
from wplus.nn.modulated import to_float32
from wplus.tasks import TERMS

LOGGED = {name: {"identity": "id", "regularization": "reg"}.get(name, name) for name in TERMS}
"""Each weight's name, and the name of its term in results and in the log."""
OF_CODES = ("regularization", "code")
"""What is computed from codes alone: where nothing else has a weight, no image is made."""


Number = TypeVar("Number", float, Tensor)


class Objective(nn.Module):
    """Source, target, output and codes to named terms and `loss`.

    Its networks never train: gradients reach the output and the codes only. What they see in the
    target is computed once per call, without gradients. A term of weight 0 is not computed.

    Args:
        weights: by the names of `TERMS`; what is not named has none.
        lpips: needed for `lpips` and `crop_lpips`.
        identity: needed for `identity`, faces only.
        similarity: needed for `similarity`, which replaces identity off faces.
        code_variance: mean squared distance of a w's numbers from the mean code; the unit of
            `code`, so that the mean code alone would score about 1, whatever the generator.

    Raises:
        ConfigError: a weight is unknown, negative or not finite, all are 0, identity and similarity
            are both asked for, or a network is missing.
    """

    def __init__(
        self,
        weights: Mapping[str, float],
        lpips: LPIPS | None = None,
        identity: IdentityLoss | None = None,
        similarity: SimilarityLoss | None = None,
        code_variance: float = 1.0,
    ) -> None:
        super().__init__()
        unknown = sorted(set(weights) - set(TERMS))
        if unknown:
            raise ConfigError(f"loss weight {unknown[0]!r} is none of: {', '.join(TERMS)}")
        for name, value in weights.items():
            if not 0 <= value < math.inf:
                raise ConfigError(f"the weight of {name} must be 0 or more, not {value}")
        self.weights = {name: float(weights.get(name, 0.0)) for name in TERMS}
        if not any(self.weights.values()):
            raise ConfigError("every loss has weight 0: there is nothing to train")
        if self.weights["identity"] and self.weights["similarity"]:
            raise ConfigError("identity (faces) and similarity (anything else) exclude each other")
        self.lpips = lpips if self._any("lpips", "crop_lpips") else None
        self.identity = identity if self._any("identity") else None
        self.similarity = similarity if self._any("similarity") else None
        for name, net in (
            ("lpips", self.lpips), ("identity", self.identity), ("similarity", self.similarity)
        ):  # fmt: skip
            if net is None and self._any(name, f"crop_{name}"):
                raise ConfigError(f"the weight of {name} is above 0, but its network is missing")
        if not 0 < code_variance < math.inf:
            raise ConfigError(f"the variance of codes must be above 0, not {code_variance}")
        self.code_variance = code_variance
        self.requires_grad_(False)

    def _any(self, *names: str) -> bool:
        return any(self.weights.get(name, 0.0) > 0 for name in names)

    @property
    def needs_image(self) -> bool:
        """Whether the generator has to run at all."""
        return self._any(*(name for name in TERMS if name not in OF_CODES))

    @property
    def names(self) -> tuple[str, ...]:
        """Names that results can have, in order; a batch without known codes has no `code`."""
        found = [LOGGED[name] for name, weight in self.weights.items() if weight]
        if "id" in found:
            found.insert(found.index("id") + 1, "id_gain")
        return (*found, "loss")

    def forward(
        self,
        source: Tensor,
        target: Tensor,
        output: Tensor | None,
        codes: Tensor,
        mean_codes: Tensor,
        true_codes: Tensor | None = None,
        known: Tensor | None = None,
        known_count: float | None = None,
        detail: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The terms of a batch, each a mean over it.

        Args:
            source: (N, C, H, W), what the encoder was given; only to log how much nearer to the
                target's identity the output is (`id_gain`), where it is a 256² color picture.
            target: (N, 3, 256, 256) in [-1, 1].
            output: (N, 3, S, S) of the generator, area-pooled to 256²; None where `needs_image` is
                false.
            codes: (N, L, D), the mean code included.
            mean_codes: (L, D); zeros for an encoder whose codes are not offsets from the mean.
            true_codes: (N, L, D) where targets were made by the generator; None without any.
            known: (N,) bool, which rows of `true_codes` count; None for all of them.
            known_count: by how many the sum over these rows is divided; as many as they are if
                None. Where a batch is dealt out in parts, the mean over parts is then that over the
                batch, however many known codes each part got.
            detail: (N,) sides from which targets were enlarged; 0 or 256 for none. The output goes
                the same way before it is compared: what a small photograph does not show cannot
                be wrong, and nothing teaches blur.

        Returns:
            Scalars by `names`: l2 and crop_l2 (mean squared error), lpips and crop_lpips, id and
            similarity (1 - cosine), id_gain (not minimized), reg (mean ‖E(x)‖ over L·D numbers),
            code (mean squared error over `code_variance`, over the examples that have a code),
            loss.

        Raises:
            ConfigError: a shape is not as above, or no weighted term can be computed.
        """
        terms: dict[str, Tensor] = {}
        if self.needs_image:
            if output is None or target.shape[1:] != (3, SIZE, SIZE):
                raise ConfigError(
                    f"targets must be (N, 3, {SIZE}, {SIZE}), not {tuple(target.shape)}, and the"
                    " weighted terms need an output"
                )
            output = _as_small(functional.adaptive_avg_pool2d(to_float32(output), SIZE), detail)
            terms |= self._of_images(source, target, output)
        if self.weights["regularization"]:
            offsets = to_float32(codes) - mean_codes
            terms["reg"] = torch.linalg.vector_norm(offsets, dim=(1, 2)).mean()
        if self.weights["code"] and true_codes is not None:
            here = slice(None) if known is None else known
            errors = to_float32(codes)[here] - true_codes[here]
            count = len(errors) if known_count is None else known_count
            if count:
                total = errors.square().mean(dim=(1, 2)).sum()
                terms["code"] = total / (count * self.code_variance)
        if not terms:
            raise ConfigError("the only weighted loss is code, and no example has a known code")
        terms["loss"] = self.total(terms)
        return {name: terms[name] for name in self.names if name in terms}

    def total(self, terms: Mapping[str, Number]) -> Number:
        """The weighted sum of the terms that are there."""
        weighted = [
            terms[term] * self.weights[name] for name, term in LOGGED.items() if term in terms
        ]
        return sum(weighted[1:], start=weighted[0])

    def _of_images(self, source: Tensor, target: Tensor, output: Tensor) -> dict[str, Tensor]:
        terms: dict[str, Tensor] = {}
        if self.weights["l2"]:
            terms["l2"] = (output - target).square().mean()
        if self.weights["lpips"]:
            terms["lpips"] = self._distance(output, target)
        if self.identity is not None:
            # Inversion gives the target itself as the source: its embedding is already there.
            photo = source.shape == target.shape
            same = photo and (source is target or torch.equal(source, target))
            before = target if same else source if photo else None
            found = self.identity(output, target, before)
            terms |= {name.replace(self.identity.name, "id"): x for name, x in found.items()}
        if self.similarity is not None:
            terms["similarity"] = self.similarity(output, target)[self.similarity.name]
        if self._any("crop_l2", "crop_lpips"):
            output, target = output[:, :, ROWS, COLUMNS], target[:, :, ROWS, COLUMNS]
        if self.weights["crop_l2"]:
            terms["crop_l2"] = (output - target).square().mean()
        if self.weights["crop_lpips"]:
            terms["crop_lpips"] = self._distance(output, target)
        return terms

    def _distance(self, output: Tensor, target: Tensor) -> Tensor:
        assert self.lpips is not None
        with torch.no_grad():
            wanted = self.lpips.features(target)
        return self.lpips.distance(self.lpips.features(output), wanted).mean()


def _as_small(pictures: Tensor, detail: Tensor | None) -> Tensor:
    """Pictures shrunk to their `detail` and enlarged again, as photographs of that size are."""
    if detail is None:
        return pictures
    rows = list(pictures.unbind())
    for row, side in enumerate(detail.tolist()):
        if 0 < side < SIZE:
            small = images.resize(pictures[row : row + 1], side)
            rows[row] = images.resize(small, SIZE)[0]
    return torch.stack(rows)
