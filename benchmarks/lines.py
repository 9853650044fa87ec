"""Whether two pictures have the same lines: for faces that were made of drawings.

Both pictures, the drawing and the face, are looked at by the same eye: the line finder of
`prepare.sketch`, with one steady hand whatever hand the drawing was made by. What it finds is thin,
so how thick or dark a pen was does not count. Lines need not meet exactly: a pixel of a line is
found again if the other picture has a line within some pixels (as Martin et al. 2004 match
boundaries, but many to one).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wplus.errors import ConfigError
from wplus.images import to_rgb
from wplus.prepare.sketch import Style, strokes_of

SIZE = 256  # side at which pictures are looked at
TOLERANCE = 2.0  # pixels of it
HAND = Style()  # the eye's: no wobble, no gaps, a middle scale and threshold

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Agreement:
    """How well the lines of a made picture agree with those of a drawing.

    Attributes:
        precision: share of the made lines that are near a drawn one; NaN if none is made.
        recall: share of the drawn lines that are near a made one; NaN if none is drawn.
    """

    precision: float
    recall: float

    @property
    def f_score(self) -> float:
        """Harmonic mean of both, the same with the two pictures exchanged.

        NaN if neither picture has lines, 0 if only one of them has.
        """
        if np.isnan(self.precision) and np.isnan(self.recall):
            return float("nan")
        precision, recall = np.nan_to_num([self.precision, self.recall])
        total = float(precision + recall)
        return 2 * float(precision * recall) / total if total else 0.0


def lines_in(picture: Image.Image) -> Mask:
    """(256, 256), true on the thin lines of a photograph or drawing of any size and mode."""
    gray = to_rgb(picture).convert("L")
    if gray.size != (SIZE, SIZE):
        gray = gray.resize((SIZE, SIZE), Image.Resampling.LANCZOS, reducing_gap=3.0)
    found = np.zeros((SIZE, SIZE), np.bool_)
    for chain in strokes_of(np.asarray(gray, np.float32) / 255, HAND):
        columns, rows = np.clip(np.rint(chain), 0, SIZE - 1).astype(int).T
        found[rows, columns] = True
    return found


def head(size: int = SIZE) -> Mask:
    """(size, size), true on the ellipse around the head of an FFHQ crop.

    It is the one that drawings with `Style.focus` keep. Around it are background and clothes, which
    a drawing shows or not, and which a generator of faces cannot choose.
    """
    place = (np.arange(size) + 0.5) / size
    across, down = (place - 0.5) / 0.36, (place - 0.52) / 0.5
    inside: Mask = across[None, :] ** 2 + down[:, None] ** 2 <= 1
    return inside


def near(lines: Mask, tolerance: float = TOLERANCE) -> Mask:
    """Where a line is within `tolerance` pixels, from center to center; of the same shape.

    Raises:
        ConfigError: a tolerance below 0.
    """
    if not tolerance >= 0:
        raise ConfigError(f"lines within {tolerance} pixels: 0 or more")
    reach = int(tolerance)
    wide = np.pad(lines, reach)
    height, width = lines.shape
    found = np.zeros_like(lines)
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            if down**2 + right**2 <= tolerance**2:
                rows = slice(reach + down, reach + down + height)
                found |= wide[rows, reach + right : reach + right + width]
    return found


def agreement(
    made: Mask, drawn: Mask, tolerance: float = TOLERANCE, within: Mask | None = None
) -> Agreement:
    """Compare lines.

    Args:
        made: (H, W) lines of the picture that was made.
        drawn: (H, W) lines of the drawing.
        tolerance: in pixels.
        within: (H, W) only lines in there are judged; they may meet others that lie outside.

    Raises:
        ConfigError: masks of different shapes, or a tolerance below 0.
    """
    judged = np.ones_like(made) if within is None else within
    if not made.shape == drawn.shape == judged.shape:
        raise ConfigError(
            f"lines of {made.shape} and {drawn.shape} within {judged.shape} cannot be compared"
        )
    return Agreement(
        _share(near(drawn, tolerance)[made & judged]), _share(near(made, tolerance)[drawn & judged])
    )


def _share(found: NDArray[Any]) -> float:
    return float(found.mean()) if len(found) else float("nan")
