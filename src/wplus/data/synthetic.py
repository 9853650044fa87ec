"""Endless training pairs with their true codes: draw z and render.

Workers draw recipes (two z, a truncation, a crossover); `Synthesizer` turns a batch of them into
codes and images on the generator's device.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor

from wplus import images
from wplus.data.base import Batch, Dataset, Example
from wplus.errors import ConfigError
from wplus.generators import Generator


class Synthetic(Dataset):
    """Recipes of synthetic examples.

    The styles up to the crossover come from the first w, the others from the second (StyleGAN's
    style mixing), so that codes differ from layer to layer as those of photographs do.

    Args:
        num_styles: L of the generator.
        style_dim: of the generator.
        truncation: lowest and highest ψ, drawn uniformly.
        mixing: probability of a crossover; without one, all styles come from the first w.
        count: None draws endlessly, from the random numbers of the step. A number gives a fixed set
            of that size, the same on every pass: for validation.
        seed: of the fixed set.

    Raises:
        ConfigError: a value is out of range.
    """

    def __init__(
        self,
        num_styles: int,
        style_dim: int = 512,
        *,
        truncation: tuple[float, float] = (0.5, 1.0),
        mixing: float = 0.5,
        count: int | None = None,
        seed: int = 0,
    ) -> None:
        low, high = truncation
        if not (0 <= low <= high and 0 <= mixing <= 1 and num_styles > 0 and style_dim > 0):
            raise ConfigError(
                f"cannot draw samples with truncation {truncation}, mixing {mixing},"
                f" {num_styles} styles of {style_dim}"
            )
        if seed < 0 or (count is not None and count < 1):
            raise ConfigError(f"cannot draw {count} samples with seed {seed}")
        self.num_styles, self.style_dim = num_styles, style_dim
        self.truncation, self.mixing = (low, high), mixing
        self.count, self.seed = count, seed
        self.endless = count is None

    def __len__(self) -> int:
        return self.count or 0

    def name(self, index: int) -> str:
        """See `Dataset.name`."""
        return f"synthetic {index}" if self.endless else f"synthetic {self.seed}-{index}"

    def item(self, index: int, rng: np.random.Generator | None) -> Example:
        """A recipe; see `Dataset.item`. An endless set needs an `rng`."""
        if self.count is not None:
            rng = np.random.default_rng(np.random.SeedSequence((self.seed, index)))
        elif rng is None:
            raise ConfigError("an endless set has no fixed items to validate on: give it a count")
        z = rng.standard_normal((2, self.style_dim), dtype=np.float32)
        psi = float(rng.uniform(*self.truncation))
        mixes, cut = rng.random() < self.mixing, int(rng.integers(1, max(self.num_styles, 2)))
        return {
            "name": self.name(index),
            "z": torch.from_numpy(z),
            "psi": psi,
            "cut": cut if mixes else self.num_styles,
        }

    def fingerprint(self) -> str:
        """See `Dataset.fingerprint`."""
        setting = (self.num_styles, self.style_dim, self.truncation, self.mixing, self.seed)
        return f"synthetic {self.count} {setting}"


class Synthesizer:
    """Recipes to codes and images, on the device of training.

    Args:
        generator: G, frozen; moved to `device`.
        device: of training.
        size: side of the images; larger ones are averaged down.
        at_once: number of codes that are rendered together.
    """

    def __init__(
        self,
        generator: Generator,
        device: torch.device | str,
        size: int = 256,
        at_once: int = 8,
    ) -> None:
        self.device = torch.device(device)
        self.generator = generator.to(self.device)
        self.size, self.at_once = size, at_once

    def __call__(self, batch: Batch) -> Batch:
        """The batch on the device, with its recipes rendered.

        Returns:
            A batch with source, target and `has_code` for every row, and codes where any has one. A
            rendered image is its own source and target. Rows with images keep them.

        Raises:
            ConfigError: the rendered images do not fit the other rows: another size, or a source
                that is no photograph.
        """
        moved = _to(batch, self.device)
        if "z" not in batch:
            return moved
        drawn = batch["synthetic"]
        rows = drawn.nonzero()[:, 0].to(self.device)
        codes = self.codes(batch["z"][drawn], batch["psi"][drawn], batch["cut"][drawn])
        rendered = self.render(codes)
        count = len(drawn)
        fresh = {"source": rendered, "target": rendered, "codes": codes}
        for key, values in fresh.items():
            whole = cast(Tensor | None, moved.get(key))
            if whole is None:
                whole = values.new_zeros((count, *values.shape[1:]))
            if whole.shape[1:] != values.shape[1:]:
                raise ConfigError(
                    f"synthetic {key} of {tuple(values.shape[1:])} cannot stand beside"
                    f" {key} of {tuple(whole.shape[1:])} in one batch"
                )
            moved[key] = whole.index_copy(0, rows, values)  # type: ignore[literal-required]
        moved["has_code"] = moved["has_code"] | moved["synthetic"]
        return moved

    @torch.no_grad()
    def codes(self, z: Tensor, psi: Tensor, cut: Tensor) -> Tensor:
        """The codes of recipes.

        Args:
            z: (N, 2, style_dim) standard normal.
            psi: (N,) truncation.
            cut: (N,) number of styles from the first w; L for no mixing.

        Returns:
            (N, L, style_dim) float32.

        Raises:
            ConfigError: they were drawn for another generator.
        """
        count, _, width = z.shape
        if int(cut.max()) > self.generator.num_styles or width != self.generator.style_dim:
            raise ConfigError(
                f"samples of {width} numbers and {int(cut.max())} styles were drawn for another"
                f" generator: this one has {self.generator.num_styles} of"
                f" {self.generator.style_dim}"
            )
        z, psi, cut = (each.to(self.device) for each in (z, psi, cut))
        mean = self.generator.mean_w
        with torch.autocast(self.device.type, enabled=False):
            w = self.generator.map(z.reshape(-1, width).to(mean)).reshape(count, 2, width)
        w = torch.lerp(mean.expand_as(w).float(), w.float(), psi[:, None, None].float())
        return spread(w[:, 0], w[:, 1], cut, self.generator.num_styles)

    @torch.no_grad()
    def render(self, codes: Tensor) -> Tensor:
        """(N, L, style_dim) -> (N, 3, size, size) float32 in [-1, 1], with the stored noise."""
        parts = torch.split(codes, self.at_once)
        rendered = [
            images.resize(self.generator.synthesize(part), self.size).float() for part in parts
        ]
        return torch.cat(rendered).clamp_(-1, 1)


def spread(first: Tensor, second: Tensor, cut: Tensor, num_styles: int) -> Tensor:
    """Two w to one code: the first w for layers below `cut`, the second for the others.

    Args:
        first, second: (N, style_dim).
        cut: (N,) integers.
        num_styles: L.

    Returns:
        (N, L, style_dim).
    """
    layers = torch.arange(num_styles, device=first.device)
    return torch.where((layers < cut[:, None])[..., None], first[:, None], second[:, None])


def _to(batch: Batch, device: torch.device) -> Batch:
    """Every tensor of a batch on a device; pinned memory is copied asynchronously."""
    moved = {
        key: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
        for key, value in batch.items()
    }
    return cast(Batch, moved)
