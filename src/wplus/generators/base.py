"""The interface of generators: z -> w, w+ -> features and image, mean code, styles."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from itertools import chain
from typing import Literal

import torch
from torch import Tensor, nn

from wplus.errors import ConfigError

Noise = Literal["fixed", "random", "none"]
Corrections = Mapping[int, Tensor]
"""By resolution R: (N, C, R, R), added to the features that the layers up to R make."""


class Generator(nn.Module, ABC):
    """A pretrained StyleGAN as pSp uses it: frozen, driven through W+.

    Attributes:
        resolution: side of the image in pixels.
        style_dim: length of z, of w and of each style vector.
        style_resolutions: for each of the `num_styles` style inputs, the resolution at which it
            acts; not decreasing. Layer ranges named by meaning (coarse, medium, fine) resolve
            through it, so they mean the same for generators with different numbers of styles.
        feature_channels: C of the features at each resolution that `pyramid` returns.
        mapping: (N, style_dim) z -> (N, style_dim) w.
        mean_w: (style_dim,) buffer, w̄ = E[map(z)].
        weights_id: name of its shipped weights; empty for any others. A suffix after a slash names
            a change of weights that keeps the mapping, and so the meaning of codes. Code that
            changes weights must change it too.
        training_noise: default noise for training encoders through it.
    """

    resolution: int
    style_dim: int
    style_resolutions: tuple[int, ...]
    feature_channels: Mapping[int, int]
    mapping: nn.Module
    mean_w: Tensor
    weights_id: str = ""
    training_noise: Noise = "fixed"

    @property
    def latent_space(self) -> str:
        """Name of the shipped weights with the same meaning of codes; empty for none."""
        return self.weights_id.partition("/")[0]

    def style_affines(self) -> Iterator[tuple[int, nn.Module]]:
        """(style index, affine layer) of every modulated layer, for closed-form directions.

        Raises:
            ConfigError: this generator does not provide them.
        """
        raise ConfigError(f"a {type(self).__name__} does not provide its style layers")

    @property
    def num_styles(self) -> int:
        """L, the number of style vectors in a W+ code."""
        return len(self.style_resolutions)

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return self.mean_w.device

    @abstractmethod
    def levels(
        self,
        codes: Tensor,
        noises: Sequence[Tensor | None],
        corrections: Corrections,
        wanted: Set[int],
    ) -> dict[int, Tensor]:
        """The features of some resolutions, and the image, which is the level of `resolution`.

        Args:
            codes: (N, L, style_dim) of the type of `mean_w`, whatever that of the convolutions
                (`at_precision`); on a CPU with frozen weights (`runs_banded`) of one sample.
            noises: the noise maps of all layers, see `noise_maps`.
            corrections: to be added to the features.
            wanted: keys of `feature_channels`, or `resolution`; later layers need not run.

        Returns:
            By resolution R: features (N, C, R, R) of the convolutions' type, corrections included,
            or the image (N, 3, R, R) float32.
        """

    def synthesize(
        self,
        codes: Tensor,
        noise: Noise = "fixed",
        rng: torch.Generator | None = None,
        corrections: Corrections | None = None,
    ) -> Tensor:
        """W+ codes to images.

        Args:
            codes: (N, L, style_dim), or (N, style_dim) for the same w at every layer.
            noise: "fixed" uses the stored noise maps, so equal codes give equal images; "random"
                draws new ones; "none" leaves noise out.
            rng: source of random noise; torch's global one if None.
            corrections: added to the features; see `correctors`.

        Returns:
            (N, 3, resolution, resolution) float32, nominally in [-1, 1] (not clamped).

        Raises:
            ConfigError: the codes have another shape, or the corrections do not fit.
        """
        codes, corrections = self.broadcast(codes), corrections or {}
        self.check_features(len(codes), corrections)
        if not len(codes):
            return codes.new_zeros((0, 3, self.resolution, self.resolution), dtype=torch.float32)
        return self._levels(codes, {self.resolution}, corrections, noise, rng)[self.resolution]

    def pyramid(
        self,
        codes: Tensor,
        resolutions: Iterable[int],
        noise: Noise = "fixed",
        corrections: Corrections | None = None,
    ) -> dict[int, Tensor]:
        """The features after the layers up to each of some resolutions.

        Args:
            codes: (N, L, style_dim) or (N, style_dim); styles of later layers do not matter.
            resolutions: keys of `feature_channels`.
            noise: see `synthesize`.
            corrections: see `synthesize`; the features include them.

        Returns:
            By resolution R: (N, C, R, R) of the convolutions' type.

        Raises:
            ConfigError: there are no layers at a resolution, or a shape does not fit.
        """
        codes, corrections, wanted = self.broadcast(codes), corrections or {}, set(resolutions)
        self.check_features(len(codes), corrections, *wanted)
        return self._levels(codes, wanted, corrections, noise)

    def _levels(
        self,
        codes: Tensor,
        wanted: Set[int],
        corrections: Corrections,
        noise: Noise,
        rng: torch.Generator | None = None,
    ) -> dict[int, Tensor]:
        if not self.runs_banded(codes) or len(codes) == 1:
            return self.levels(codes, self.noise_maps(len(codes), noise, rng), corrections, wanted)
        # Sample by sample the activations stay in the cache; a batch gains nothing here.
        singles = [
            self._levels(
                codes[i : i + 1],
                wanted,
                {size: extra[i : i + 1] for size, extra in corrections.items()},
                noise,
                rng,
            )
            for i in range(len(codes))
        ]
        return {size: torch.cat([single[size] for single in singles]) for size in singles[0]}

    def features(
        self,
        codes: Tensor,
        resolution: int,
        noise: Noise = "fixed",
        corrections: Corrections | None = None,
    ) -> Tensor:
        """The level of `pyramid` at one resolution: (N, C, R, R)."""
        return self.pyramid(codes, [resolution], noise, corrections)[resolution]

    def check_features(self, count: int, corrections: Corrections, *resolutions: int) -> None:
        """Raise ConfigError unless all resolutions exist and corrections fit `count` codes."""
        for resolution in (*corrections, *resolutions):
            channels = self.feature_channels.get(resolution)
            if channels is None:
                raise ConfigError(f"this generator has no layers at {resolution}²")
            expected = (count, channels, resolution, resolution)
            if resolution in corrections and corrections[resolution].shape != expected:
                raise ConfigError(
                    f"corrections of shape {tuple(corrections[resolution].shape)} do not fit"
                    f" features of shape {expected}"
                )

    def forward(self, codes: Tensor, noise: Noise = "fixed") -> Tensor:
        """The same as `synthesize`, for data parallelism, compilation and export."""
        return self.synthesize(codes, noise)

    def map(self, z: Tensor, truncation: float = 1.0) -> Tensor:
        """Z to w, truncated towards the mean code: w̄ + ψ·(map(z) − w̄).

        Args:
            z: (N, style_dim), standard normal.
            truncation: ψ; 1 keeps w, 0 gives w̄ (StyleGAN, appendix B).

        Returns:
            (N, style_dim).

        Raises:
            ConfigError: z has another shape.
        """
        if z.ndim != 2 or z.shape[1] != self.style_dim:
            raise ConfigError(f"z must be (N, {self.style_dim}), not {tuple(z.shape)}")
        w: Tensor = self.mapping(z)
        return w if truncation == 1.0 else self.mean_w + truncation * (w - self.mean_w)

    def broadcast(self, codes: Tensor) -> Tensor:
        """(N, style_dim) or (N, L, style_dim) -> (N, L, style_dim) of the styles' type."""
        if codes.ndim == 2:
            codes = codes[:, None].expand(-1, self.num_styles, -1)
        expected = (self.num_styles, self.style_dim)
        if codes.ndim != 3 or tuple(codes.shape[1:]) != expected:
            raise ConfigError(
                f"codes of shape {tuple(codes.shape)} do not fit this generator:"
                f" it takes (N, {expected[0]}, {expected[1]})"
            )
        return codes.to(self.mean_w.dtype)

    def noise_maps(
        self, count: int, noise: Noise, rng: torch.Generator | None
    ) -> list[Tensor | None]:
        """The noise maps of all layers in order, for a batch of `count`.

        Random maps are standard normal and drawn sample by sample, not layer by layer, so that an
        image depends on the seed of `rng` but not on the batch or the device.

        Returns:
            For each layer (1 or count, 1, R, R), or None for no noise.

        Raises:
            ConfigError: there is no such kind of noise.
        """
        stored = [map_ for name, map_ in self.named_buffers() if name.endswith(".noise")]
        if noise == "fixed":
            return list(stored)
        if noise == "none":
            return [None] * len(stored)
        if noise != "random":
            raise ConfigError(f"noise {noise!r} is none of: fixed, random, none")
        samples = [[self.draw_noise(map_, rng) for map_ in stored] for _ in range(count)]
        return [torch.cat(maps) for maps in zip(*samples)]

    def draw_noise(self, stored: Tensor, rng: torch.Generator | None) -> Tensor:
        """A random map in place of a stored one."""
        if rng is None:
            return torch.randn_like(stored)
        return torch.randn(stored.shape, generator=rng, device=rng.device).to(stored)

    def runs_banded(self, codes: Tensor) -> bool:
        """Whether large layers are computed sample by sample, a band of rows at a time."""
        return codes.device.type == "cpu" and not self.trains

    @property
    def trains(self) -> bool:
        """Whether gradients of the generator's own weights are needed."""
        return torch.is_grad_enabled() and any(p.requires_grad for p in self.parameters())

    def at_precision(self, dtype: torch.dtype) -> Generator:
        """A copy whose convolutions compute in `dtype`; the two share no tensor.

        Mapping, style affines and mean code keep their type: they cost nothing, and bfloat16 would
        round codes to three digits.
        """
        copies: dict[int, Tensor] = {}  # deepcopy takes these instead of copying in full precision
        for name, tensor in chain(self.named_parameters(), self.named_buffers()):
            on_codes = "affine" in name or name.startswith("mapping") or name == "mean_w"
            keeps = on_codes or not tensor.is_floating_point()
            lowered = tensor.detach().to(tensor.dtype if keeps else dtype, copy=True)
            if isinstance(tensor, nn.Parameter):
                lowered = nn.Parameter(lowered, tensor.requires_grad)
            copies[id(tensor)] = lowered
        return copy.deepcopy(self, copies)

    @torch.no_grad()
    def estimate_mean_w(self, num_samples: int = 100_000, seed: int = 0) -> Tensor:
        """(style_dim,) mean of w over `num_samples` draws of z; used where a file has no mean."""
        rng = torch.Generator().manual_seed(seed)
        total = torch.zeros(self.style_dim, dtype=torch.float64)
        left = num_samples
        while left:
            count = min(left, 4096)
            z = torch.randn(count, self.style_dim, generator=rng)
            w = self.mapping(z.to(self.mean_w))
            total += w.double().sum(0).cpu()
            left -= count
        return (total / num_samples).to(self.mean_w)


def corrected(x: Tensor, corrections: Corrections) -> Tensor:
    """Features (N, C, R, R), with their correction added if there is one."""
    extra = corrections.get(x.shape[-1])
    return x if extra is None else x + extra.to(x.dtype)
