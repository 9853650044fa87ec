"""The interface of encoders: images in, offsets from the mean code out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor, nn

from wplus.errors import ConfigError
from wplus.nn.modulated import to_float32


class Encoder(nn.Module, ABC):
    """E of pSp(x) = G(E(x) + w̄) ("Encoding in Style", section 3).

    Attributes:
        input_channels: 3 for photographs, 1 for sketches, 19 for label maps, ….
        input_size: side of the images in pixels.
        num_styles: L, style vectors in a code.
        style_dim: length of each.
    """

    def __init__(
        self, num_styles: int, input_channels: int, style_dim: int, input_size: int
    ) -> None:
        super().__init__()
        self.num_styles, self.style_dim = num_styles, style_dim
        self.input_channels, self.input_size = input_channels, input_size

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """(N, input_channels, input_size, input_size) -> (N, L, style_dim) offsets.

        Raises:
            ConfigError: the images have another shape.
        """

    def encode(
        self, images: Tensor, mean_codes: Tensor, decode: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Codes of images: offsets and the mean code, in one pass.

        Args:
            images: as for `forward`.
            mean_codes: (L, style_dim), what offsets are added to; zeros for absolute codes.
            decode: codes to images, for encoders that compare their output with the image.

        Returns:
            (N, L, style_dim) float32.
        """
        offsets: Tensor = self(images)
        return to_float32(offsets) + mean_codes

    def check(self, images: Tensor) -> None:
        """Refuse images of another shape: the heads would fold surplus pixels into the batch.

        Raises:
            ConfigError: says which shape is expected.
        """
        expected = (self.input_channels, self.input_size, self.input_size)
        if images.ndim != 4 or tuple(images.shape[1:]) != expected:
            raise ConfigError(
                f"the encoder takes images of shape (N, {expected[0]}, {expected[1]},"
                f" {expected[2]}), not {tuple(images.shape)}; resize them first"
            )
