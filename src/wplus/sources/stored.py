"""Files whose pixels are numbers or holes: read as they stand, not as they look."""

from __future__ import annotations

import os

from PIL import Image, ImageOps

from wplus import images
from wplus.errors import ImageError


def read_as_stored(path: str | os.PathLike[str], *, exact: bool = False) -> Image.Image:
    """The image in the mode it has in the file, upright; `images.read` would make it RGB.

    Args:
        path: which.
        exact: refuse JPEG, which changes numbers.

    Raises:
        ImageError: what `images.read` refuses (missing, damaged, too large, …), or JPEG.
    """
    images.read(path)
    name = os.fsdecode(path)
    formats = [each for each in images.FORMATS if each in Image.OPEN]
    try:
        with Image.open(path, formats=formats) as image:
            image.load()
            if exact and image.format == "JPEG":
                raise ImageError(
                    f"{name}: JPEG blurs the class numbers of a label map; store it as PNG"
                )
            return ImageOps.exif_transpose(image)
    except Image.DecompressionBombError:  # Pillow's own limit is a little below that of `images`
        raise ImageError(f"{name}: is too large to be read as it stands; shrink it") from None
    except OSError as error:  # it is read twice, and can go in between
        raise ImageError(f"{name}: cannot be read ({error})") from error
