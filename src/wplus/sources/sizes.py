"""What all sources ask of a size and of pictures."""

from __future__ import annotations

from torch import Tensor

from wplus.errors import ConfigError, ImageError


def check_size(size: int) -> None:
    """Raises ConfigError for a size below 1."""
    if size < 1:
        raise ConfigError(f"the encoder's input cannot be {size} pixels wide; use 1 or more")


def check_pictures(pictures: Tensor, what: str) -> None:
    """Raises ImageError for anything but a float tensor (N, C, H, W)."""
    if pictures.ndim != 4 or not pictures.is_floating_point():
        raise ImageError(
            f"{what} are a float tensor (N, C, H, W), not {pictures.dtype} {tuple(pictures.shape)}"
        )
