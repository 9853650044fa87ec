"""Files whose pixels are numbers or holes: read as they stand, not as they look."""

from __future__ import annotations

from PIL import Image

from wplus.errors import ImageError
from wplus.image_files import Source, naming, read_stored


def read_as_stored(path: Source, *, exact: bool = False) -> Image.Image:
    """The image in the mode it has in the file, upright; `images.read` would make it RGB.

    Args:
        path: which.
        exact: refuse lossy compression, which changes numbers.

    Raises:
        ImageError: what `images.read` refuses (missing, damaged, too large, …), or lossy.
    """
    image = read_stored(path)
    if exact and image.info["lossy"]:
        with naming(path) as name:
            raise ImageError(
                f"{name}: lossy compression blurs the class numbers of a label map; store it as PNG"
            )
    return image
