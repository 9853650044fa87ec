"""Photographs: the source of inversion, frontalization, toonification and other domains."""

from __future__ import annotations

from PIL import Image
from torch import Tensor

from wplus import images
from wplus.errors import ConfigError
from wplus.sources.kind import Kind, SourceOptions


class Photo(Kind):
    """A photograph in [-1, 1], in color or, for an encoder of one channel, gray."""

    def tensor(self, image: Image.Image, options: SourceOptions) -> Tensor:
        """See `Kind.tensor`."""
        image = images.resample(image, options.size)
        if options.channels == 1:
            return images.to_tensor(image.convert("L"))[:, :1]
        if options.channels not in (None, 3):
            raise ConfigError(f"a photograph has 3 channels or 1, not {options.channels}")
        return images.to_tensor(image)
