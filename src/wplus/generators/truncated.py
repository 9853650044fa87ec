"""A truncated generator: an image of 256² from the layers up to 128².

Losses are computed at 256², but most of the work of a 1024² generator is at higher resolutions. The
layers up to 128² are kept; a small head, fitted to the whole generator's images, replaces the
others. A step forward and backward is three times faster (0.10 s instead of 0.29 s on one core).
"""

from __future__ import annotations

from importlib import resources

import torch.nn.functional as F
from safetensors.torch import load as load_tensors
from torch import Tensor, nn

from wplus.errors import ConfigError
from wplus.formats.strict import load_strict
from wplus.generators.base import Generator, Noise
from wplus.nn.haar import inverse_haar
from wplus.nn.modulated import per_channel, to_float32

FILES = {"mobilestylegan-ffhq": "mobilestylegan-ffhq-short.safetensors"}
"""Heads by the `weights_id` of the generator that they were fitted to."""
WITNESS = "generator.to_image.weight"  # the generator's last weight, to check files without ids
READ_AT = 128  # resolution of the features that the head reads


class TruncatedHead(nn.Module):
    """Styled 3×3 convolution to the four sub-bands of the image, and a small correction.

    Args:
        channels: of the features.
        hidden: channels of the correction.
        style_dim: of the styles.
    """

    def __init__(self, channels: int, hidden: int = 32, style_dim: int = 512) -> None:
        super().__init__()
        self.affine = nn.Linear(style_dim, channels)
        nn.init.zeros_(self.affine.weight)
        nn.init.ones_(self.affine.bias)
        self.direct = nn.Conv2d(channels, 12, 3, padding=1)
        self.narrow = nn.Conv2d(channels, hidden, 1)
        self.correct = nn.Conv2d(hidden, 12, 3, padding=1)
        nn.init.zeros_(self.correct.weight)
        nn.init.zeros_(self.correct.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """(N, channels, H, W) and (N, style_dim) to (N, 3, 2H, 2W) float32."""
        x = x.to(self.direct.weight.dtype)  # features can be of lower precision
        x = x * per_channel(self.affine(w), x)
        bands = self.direct(x) + self.correct(F.leaky_relu(self.narrow(x), 0.2))
        return inverse_haar(to_float32(bands))


class TruncatedGenerator(nn.Module):
    """Codes to images of 256², close to the whole generator's images averaged to 256².

    Args:
        generator: the whole one.
        head: fitted to it.

    Raises:
        ConfigError: the generator has no features at 128², or the head reads other ones.
    """

    def __init__(self, generator: Generator, head: TruncatedHead) -> None:
        super().__init__()
        if generator.feature_channels.get(READ_AT) != head.direct.in_channels:
            raise ConfigError(f"this generator has no layers at {READ_AT}² that the head can read")
        self.generator, self.head = generator, head
        self.read = sum(size <= READ_AT for size in generator.style_resolutions)
        """The number of styles at or below 128²."""
        self.resolution = 2 * READ_AT

    def forward(self, codes: Tensor, noise: Noise = "fixed") -> Tensor:
        """(N, L, style_dim) or (N, style_dim) codes to (N, 3, 256, 256) float32, not clamped."""
        codes = self.generator.broadcast(codes)
        features = self.generator.features(codes, READ_AT, noise)
        image: Tensor = self.head(features, codes[:, self.read :].mean(1))
        return image


def can_truncate(generator: Generator) -> bool:
    """Whether a head was fitted to the weights of this generator."""
    return generator.weights_id in FILES


def head_state(weights_id: str) -> dict[str, Tensor]:
    """Tensors of the shipped head, and `WITNESS`."""
    file = resources.files("wplus").joinpath("weights", FILES[weights_id])
    return load_tensors(file.read_bytes())


def truncate(generator: Generator) -> TruncatedGenerator:
    """The truncated form of a generator, which shares its layers.

    Raises:
        ConfigError: there is none for this generator.
    """
    if not can_truncate(generator):
        raise ConfigError(
            f"no truncated form of this {type(generator).__name__}, only of"
            f" {', '.join(FILES)}; use the full decoder"
        )
    state = head_state(generator.weights_id)
    del state[WITNESS]
    hidden, channels = state["narrow.weight"].shape[:2]
    head = TruncatedHead(channels, hidden, state["affine.weight"].shape[1])
    load_strict(head, {name: value.float() for name, value in state.items()}, "the truncated head")
    head.to(generator.device).eval().requires_grad_(False)
    for conv in (head.direct, head.narrow, head.correct):
        conv.to(generator.get_parameter("constant").dtype)
    return TruncatedGenerator(generator, head)
