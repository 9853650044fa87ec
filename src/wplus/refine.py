"""Refinement in W+: optimize codes until the generator's picture is nearer to the target.

Optimization from the mean code is the slow, accurate way to invert a picture ("Encoding in Style",
table 1, "W+ optimization"); from an encoder's code a few steps are enough.

What is known of the target need not be the whole picture. With a *measurement* the picture is
measured before it is compared (shrunk, for super-resolution); with an *importance* per pixel parts
of it count for nothing (the hole, for inpainting). The prior decides the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from wplus import images
from wplus.errors import ConfigError
from wplus.losses import LPIPS, IdentityLoss
from wplus.psp import PSP

BF16_UNITS = ("avx512_bf16", "amx_tile")
PATCH, PERIOD = 64, 8  # pixels, see `grid_energy`
SAMPLES_OF_W = 8192  # for the covariance of w
SIZE = 256  # pictures are compared at 256², like everywhere in the method

Measure = Callable[[Tensor], Tensor]
"""Pictures (N, 3, S, S) in [-1, 1] to what is known of them, (N, 3, H, W) in [-1, 1]."""


@dataclass(frozen=True)
class Weights:
    """Weights of the terms; a term of weight 0 is not computed.

    Attributes:
        l2: mean squared error in [-1, 1], at 256², or of what was measured at its own size.
        lpips: LPIPS at 256² (what was measured is enlarged); the method uses 0.8.
        identity: 1 − cosine of face embeddings, at 256² likewise.
        distance: mean squared distance of the codes from the start, which keeps them editable.
        prior: mean squared distance of the styles from w̄, each direction in units of its standard
            deviation over W (after Zhu et al. 2020, "Improved StyleGAN Embedding", who do so in a
            space close to W). 0.003 took two fifths of it and left LPIPS alone.
        grid: energy of patterns that repeat every 2, 4 or 8 pixels of the full image, see
            `grid_energy`; 0 for generators up to 256².
        spread: mean squared distance of the styles from their own mean, in the same units: how far
            the code is from W, where all styles are one. It leaves the person free and keeps the
            parts of the face together, for pictures of which little is known.
    """

    l2: float = 1.0
    lpips: float = 0.8
    identity: float = 0.0
    distance: float = 0.0
    prior: float = 0.003
    grid: float = 10.0
    spread: float = 0.0


@dataclass(frozen=True)
class Schedule:
    """How the codes move.

    Attributes:
        steps: at most so many.
        learning_rate: of Adam, at its peak.
        warm_up: share of the steps over which the rate rises from 0.
        cool_down: share of the steps over which it falls to 0, along a cosine.
        patience: stop when no picture improved by `tolerance` for so many steps; 0 never stops.
        tolerance: relative improvement of the best loss that counts.
    """

    steps: int = 100
    learning_rate: float = 0.12
    warm_up: float = 0.1
    cool_down: float = 0.3
    patience: int = 25
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        if self.steps < 0 or self.learning_rate <= 0 or self.patience < 0:
            raise ConfigError(
                "refinement needs steps ≥ 0, a learning rate above 0 and patience ≥ 0"
            )

    def rate(self, step: int) -> float:
        """Learning rate of step 0, 1, …."""
        here = (step + 1) / self.steps
        rise = min(1.0, here / self.warm_up) if self.warm_up else 1.0
        left = min(1.0, (1 - step / self.steps) / self.cool_down) if self.cool_down else 1.0
        fall = 0.5 - 0.5 * float(torch.cos(torch.tensor(left * torch.pi)))
        return self.learning_rate * rise * fall


@dataclass(frozen=True)
class Refinement:
    """What came out.

    Attributes:
        codes: (N, L, style_dim); for each picture the best codes seen, the start among them.
        losses: (N,) weighted totals of `codes`.
        history: for every evaluation (index 0 is the start) the terms and `loss`, (N,) each.
        steps: how many steps were made.
    """

    codes: Tensor
    losses: Tensor
    steps: int
    history: list[dict[str, Tensor]] = field(repr=False)


def refine(
    model: PSP,
    targets: Tensor,
    start: Tensor | None = None,
    *,
    lpips: LPIPS | None = None,
    identity: IdentityLoss | None = None,
    weights: Weights | None = None,
    schedule: Schedule | None = None,
    precision: torch.dtype | None = None,
    progress: Callable[[int, float], None] | None = None,
    measure: Measure | None = None,
    importance: Tensor | None = None,
    decoder: Callable[[Tensor], Tensor] | None = None,
) -> Refinement:
    """Optimize codes so that G(codes) looks like the targets.

    Each picture of a batch is optimized on its own: the batch changes nothing but the speed.

    Args:
        model: its generator is used, frozen.
        targets: (N, 3, H, W) in [-1, 1]; brought to 256², unless there is a measurement.
        start: (N, L, style_dim), or (1, L, style_dim) for all; the mean code if None.
        lpips: needed where its weight is not 0.
        identity: needed where its weight is not 0.
        weights: of the terms.
        schedule: steps, learning rate, early stop.
        precision: of the generator's convolutions on the way; see `fast_precision`. The best codes
            are judged again in the model's own precision before they are preferred to the start.
            None for the model's own.
        progress: called after every step with the step and the mean loss.
        measure: what the targets are measurements of; it must be differentiable and treat every
            picture for itself. None compares whole pictures at 256².
        importance: (N or 1, 1, H, W) in [0, 1] of the targets' pixels, not 0 everywhere. L2 is the
            mean weighted by it; the nets see the target's own pixels where it is 0.
        decoder: what makes pictures (N, 3, S, S) of codes on the way, and judges them, in place of
            the generator: `generators.truncateden` gives one of a third of its cost.

    Returns:
        The best codes and the history; never worse than the start.

    Raises:
        ConfigError: a loss is needed and not given, or shapes do not fit.
    """
    weights, schedule = weights or Weights(), schedule or Schedule()
    if (weights.lpips and lpips is None) or (weights.identity and identity is None):
        raise ConfigError("a term with a weight above 0 needs its network: pass lpips / identity")
    targets = targets.to(model.device, torch.float32)
    if importance is not None:
        importance = _checked(importance.to(targets), targets)
    if measure is None:
        targets = images.resize(targets, SIZE)
        importance = None if importance is None else images.resize(importance, SIZE)
    count = len(targets)
    start = model.mean_codes[None] if start is None else start.to(model.device)
    start = start.detach().float().expand(count, -1, -1)
    losses = _Losses(model, targets, start, weights, lpips, identity, measure, importance)
    synthesize = model.generator.synthesize if decoder is None else decoder
    if precision is not None and decoder is None:
        synthesize = model.generator.at_precision(precision).synthesize

    codes = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([codes], lr=schedule.learning_rate, betas=(0.9, 0.99))
    best_codes, best = start.clone(), torch.full((count,), torch.inf, device=model.device)
    history: list[dict[str, Tensor]] = []
    last_gain, mark = 0, best.clone()
    step = 0
    with torch.enable_grad():
        for step in range(schedule.steps + 1):
            terms = losses(synthesize(codes), codes)
            total = terms["loss"]
            history.append({name: value.detach().cpu() for name, value in terms.items()})
            better = total.detach() < best  # a loss that is not a number is never better
            best = torch.where(better, total.detach(), best)
            best_codes = torch.where(better[:, None, None], codes.detach(), best_codes)
            if progress is not None:
                progress(step, float(best.mean()))
            gained = best < mark * (1 - schedule.tolerance)
            mark = torch.where(gained, best, mark)
            if bool(gained.any()):
                last_gain = step
            stalled = schedule.patience and step - last_gain >= schedule.patience
            if step == schedule.steps or stalled:
                break
            optimizer.zero_grad(set_to_none=True)
            total.sum().backward()  # type: ignore[no-untyped-call]
            optimizer.param_groups[0]["lr"] = schedule.rate(step)
            optimizer.step()
    if precision is not None and decoder is None:
        with torch.no_grad():
            first, best = (
                losses(model.decode(found), found)["loss"] for found in (start, best_codes)
            )
        better = best < first
        best = torch.where(better, best, first)
        best_codes = torch.where(better[:, None, None], best_codes, start)
    return Refinement(best_codes, best, step, history)


def fast_precision(device: torch.device) -> torch.dtype | None:
    """bfloat16 where the processor computes in it, which more than halves the time; else None."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else None
    if device.type != "cpu":
        return None
    # torch.cpu has no public name for these yet; where one is missing, so is the speed.
    checks = [getattr(torch.cpu, f"_is_{name}_supported", None) for name in BF16_UNITS]
    return torch.bfloat16 if any(check() for check in checks if check is not None) else None


def grid_energy(full: Tensor, pooled: Tensor) -> Tensor:
    """Energy of what repeats every `PERIOD` pixels and is lost when the picture is pooled.

    Pooling 1024² to 256² takes means of 4×4 pixels, so a loss at 256² is blind to a pattern that
    repeats every 2 or 4 pixels, and optimization leaves one behind, where photographs have none.
    What pooling loses is averaged over all places of a patch that are alike modulo the period: hair
    and skin average out, a grid does not.

    Args:
        full: (N, 3, S, S).
        pooled: the same pictures at 256².

    Returns:
        (N,) mean square.
    """
    lost = full - F.interpolate(pooled, full.shape[-2:], mode="bilinear", align_corners=False)
    count, patches, repeats = len(lost), full.shape[-1] // PATCH, PATCH // PERIOD
    places = lost.view(count, 3, patches, repeats, PERIOD, patches, repeats, PERIOD)
    return places.mean(dim=(3, 6)).square().mean(dim=(1, 2, 3, 4, 5))


@torch.no_grad()
def _whitening(model: PSP) -> Tensor:
    """(style_dim, style_dim): offsets from w̄ times this have variance 1 in every direction of W."""
    generator = model.generator
    rng = torch.Generator().manual_seed(0)
    z = torch.randn(SAMPLES_OF_W, generator.style_dim, generator=rng)
    offsets = (generator.map(z.to(generator.mean_w)) - generator.mean_w).float()
    variances, directions = torch.linalg.eigh(offsets.T @ offsets / len(offsets))
    # Directions that W hardly uses would else count without limit.
    floor = variances.mean() * 1e-3
    whitening: Tensor = directions * variances.clamp_min(floor).rsqrt()
    return whitening


class _Losses:
    """The terms, with everything about the targets computed once."""

    def __init__(
        self,
        model: PSP,
        targets: Tensor,
        start: Tensor,
        weights: Weights,
        lpips: LPIPS | None,
        identity: IdentityLoss | None,
        measure: Measure | None,
        importance: Tensor | None,
    ) -> None:
        self.targets, self.start, self.weights = targets, start, weights
        self.measure, self.importance = measure, importance
        self.lpips = lpips.to(targets.device) if lpips and weights.lpips else None
        self.identity = identity.to(targets.device) if identity and weights.identity else None
        with torch.no_grad():
            seen = images.resize(targets, SIZE)
            self.features = self.lpips.features(seen) if self.lpips else []
            self.embedding = self.identity.embed(seen) if self.identity else None
        self.mean = model.generator.mean_w.float()
        self.whitening = _whitening(model) if weights.prior or weights.spread else None

    def __call__(self, full: Tensor, codes: Tensor) -> dict[str, Tensor]:
        """Terms (N,) by name; `loss` is their weighted sum."""
        pictures = images.resize(full, SIZE)
        known = pictures if self.measure is None else self.measure(full)
        if known.shape != self.targets.shape:
            raise ConfigError(
                f"what is measured is {tuple(known.shape)}, the target {tuple(self.targets.shape)}"
            )
        terms: dict[str, Tensor] = {}
        if self.weights.l2:
            terms["l2"] = self._mean((known - self.targets).square())
        if self.importance is not None:
            known = torch.lerp(self.targets, known, self.importance)
        if self.lpips is not None or self.identity is not None:
            known = images.resize(known, SIZE)
        if self.lpips is not None:
            terms["lpips"] = self.lpips.distance(self.lpips.features(known), self.features)
        if self.identity is not None and self.embedding is not None:
            terms["identity"] = 1 - (self.identity.embed(known) * self.embedding).sum(dim=1)
        if self.weights.distance:
            terms["distance"] = (codes - self.start).square().mean(dim=(1, 2))
        if self.whitening is not None:
            white = (codes - self.mean) @ self.whitening
            if self.weights.prior:
                terms["prior"] = white.square().mean(dim=(1, 2))
            if self.weights.spread:
                apart = white - white.mean(dim=1, keepdim=True)
                terms["spread"] = apart.square().mean(dim=(1, 2))
        if self.weights.grid and full.shape[-1] > SIZE:
            terms["grid"] = grid_energy(full, pictures)
        weighted = [getattr(self.weights, name) * value for name, value in terms.items()]
        terms["loss"] = torch.stack(weighted).sum(dim=0)
        return terms

    def _mean(self, squares: Tensor) -> Tensor:
        """(N,) means over channels and pixels, each pixel by its importance."""
        if self.importance is None:
            return squares.mean(dim=(1, 2, 3))
        weighted = (squares.mean(dim=1, keepdim=True) * self.importance).sum(dim=(1, 2, 3))
        return weighted / self.importance.sum(dim=(1, 2, 3))


def _checked(importance: Tensor, targets: Tensor) -> Tensor:
    count, _, height, width = targets.shape
    if importance.ndim != 4 or importance.shape[1:] != (1, height, width):
        raise ConfigError(
            f"importance is (N, 1, {height}, {width}) like the targets, "
            f"not {tuple(importance.shape)}"
        )
    if len(importance) not in (1, count):
        raise ConfigError(f"importance of {len(importance)} pictures does not fit {count} targets")
    if importance.min() < 0 or importance.max() > 1 or not importance.flatten(1).any(dim=1).all():
        raise ConfigError("importance is 0 to 1, and not 0 everywhere")
    return importance.expand(count, -1, -1, -1)
