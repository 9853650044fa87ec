"""pSp: an encoder, a mean code and a frozen generator ("Encoding in Style", section 3).

pSp(x) = G(E(x) + w̄)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from PIL import Image
from torch import Tensor, nn

from wplus.config import ModelConfig
from wplus.correctors import Corrector
from wplus.encoders import Encoder
from wplus.errors import ConfigError
from wplus.generators import Corrections, Generator, Noise
from wplus.images import WORKING_SIZE, resize
from wplus.nn.modulated import to_float32
from wplus.sources import SOURCES
from wplus.sources.kind import SourceOptions

Images = Tensor | Image.Image | Sequence[Image.Image]


class PSP(nn.Module):
    """The model.

    Args:
        encoder: E; None for a generator alone, which has everything but `encode`.
        generator: G.
        config: of the networks, for model files.
        corrector: of the generator's features; None for none.

    Attributes:
        mean_codes: (L, style_dim) buffer, w̄ for every style.
    """

    def __init__(
        self,
        encoder: Encoder | None,
        generator: Generator,
        config: ModelConfig,
        corrector: Corrector | None = None,
    ) -> None:
        super().__init__()
        SOURCES.find(config.source)
        if encoder is not None and (
            encoder.num_styles != generator.num_styles or encoder.style_dim != generator.style_dim
        ):
            raise ConfigError(
                f"the encoder makes codes of {encoder.num_styles}×{encoder.style_dim},"
                f" the generator takes {generator.num_styles}×{generator.style_dim}"
            )
        for resolution, channels in corrector.feature_channels.items() if corrector else ():
            if generator.feature_channels.get(resolution) != channels:
                raise ConfigError(
                    f"the corrector corrects {channels} channels at {resolution}², which this"
                    " generator does not have"
                )
        self.encoder = encoder
        self.generator = generator
        self.corrector = corrector
        self.config = replace(config, generator_id=generator.weights_id)
        self.mean_codes: Tensor
        shape = (generator.num_styles, generator.style_dim)
        self.register_buffer("mean_codes", generator.mean_w.expand(shape).clone())

    @property
    def num_styles(self) -> int:
        """L, the number of style vectors in a code."""
        return self.generator.num_styles

    @property
    def resolution(self) -> int:
        """Side of the decoded image in pixels."""
        return self.generator.resolution

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.mean_codes.device

    def lower_precision(self, dtype: torch.dtype) -> None:
        """Put encoder and convolutions into `dtype`; codes and images stay float32."""
        if self.encoder is not None:
            self.encoder.to(dtype)
        if self.corrector is not None:
            self.corrector.to(dtype)
        self.generator = self.generator.at_precision(dtype)

    def encode(self, images: Images) -> Tensor:
        """Images to codes, the mean code included.

        Args:
            images: the encoder's input (N, C, S, S), averaged or interpolated to its `input_size`:
                photographs in [-1, 1], sketches in [0, 1], label maps one-hot. Or one PIL image,
                or several, of any size, whose middle square becomes the input of the model's
                source; faces should be cropped first (`faces.align`).

        Returns:
            (N, L, style_dim) float32, or float64 from a float64 encoder.

        Raises:
            ConfigError: the model has no encoder, or the images have other channels or are not
                square.
            ImageError: an image is not of the model's source.
        """
        if self.encoder is None:
            raise ConfigError("this model has no encoder; start from mean_codes and refine instead")
        if not isinstance(images, Tensor):
            images = self.prepare(images)
        if images.ndim == 4 and images.shape[2] == images.shape[3] != self.encoder.input_size:
            images = resize(to_float32(images), self.encoder.input_size)
        mean = to_float32(self.mean_codes)
        mean = mean if self.config.start_from_mean else torch.zeros_like(mean)
        return self.encoder.encode(images.to(next(self.encoder.parameters())), mean, self.decode)

    def prepare(self, images: Image.Image | Sequence[Image.Image]) -> Tensor:
        """PIL images to the encoder's input (N, C, 256, 256); see `encode`."""
        if self.encoder is None:
            raise ConfigError("this model has no encoder, so it takes no images")
        options = SourceOptions(
            size=WORKING_SIZE,
            channels=self.encoder.input_channels,
            bilinear=self.config.label_resampling == "bilinear",
        )
        kind = SOURCES.find(self.config.source).kind
        listed = [images] if isinstance(images, Image.Image) else images
        return torch.cat([kind.tensor(_square(image), options) for image in listed])

    def correct(
        self, images: Tensor, codes: Tensor, target_codes: Tensor | None = None
    ) -> dict[int, Tensor]:
        """Corrections with which `decode` restores the details of a photograph that codes lose.

        Args:
            images: (N, 3, S, S) photographs in [-1, 1].
            codes: (N, L, style_dim), those of the photographs, encoded or refined.
            target_codes: (N, L, style_dim), edits of them that will be decoded; None for `codes`.

        Returns:
            Terms to add to the generator's features, by resolution R: (N, C, R, R).

        Raises:
            ConfigError: the model has no corrector, or shapes do not fit.
        """
        if self.corrector is None:
            raise ConfigError("this model has no corrector")
        features = [
            self.generator.pyramid(each.to(self.device), self.corrector.feature_channels)
            for each in (codes, target_codes)
            if each is not None
        ]
        parameter = next(self.corrector.parameters())
        images = resize(images.to(self.device).float(), self.corrector.input_size)
        corrections: dict[int, Tensor] = self.corrector(images.to(parameter), *features)
        return corrections

    def decode(
        self,
        codes: Tensor,
        noise: Noise = "fixed",
        rng: torch.Generator | None = None,
        corrections: Corrections | None = None,
    ) -> Tensor:
        """Codes to images.

        Args:
            codes: (N, L, style_dim), or (N, style_dim) for one w at every layer.
            noise: "fixed" (stored maps; equal codes give equal images), "random" or "none".
            rng: source of random noise.
            corrections: of `correct` for the same codes.

        Returns:
            (N, 3, resolution, resolution) float32, nominally in [-1, 1].

        Raises:
            ConfigError: the codes or corrections do not fit the generator.
        """
        return self.generator.synthesize(codes.to(self.device), noise, rng, corrections)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images to (reconstructions, codes): `decode` of `encode`."""
        codes = self.encode(images)
        return self.decode(codes), codes

    def map(self, z: Tensor, truncation: float = 1.0) -> Tensor:
        """(N, style_dim) standard normal z -> (N, style_dim) w float32, drawn to the mean by ψ."""
        return self.generator.map(z.to(self.generator.mean_w), truncation).float()

    @torch.no_grad()
    def sample(self, count: int, truncation: float = 1.0, seed: int | None = None) -> Tensor:
        """Codes of random images.

        Args:
            count: how many.
            truncation: ψ; 0.7 trades variety for quality.
            seed: the same seed gives the same codes, on any device; None draws fresh ones.

        Returns:
            (count, L, style_dim) float32.
        """
        rng = None if seed is None else torch.Generator().manual_seed(seed)
        z = torch.randn(count, self.generator.style_dim, generator=rng)
        return self.map(z, truncation)[:, None].repeat(1, self.num_styles, 1)


def _square(image: Image.Image) -> Image.Image:
    """The middle square of an image, with unchanged pixels and mode, as for label maps."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))
