"""How far a face is turned to a side, from the detector's five points: no net of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from wplus.errors import FaceError


@dataclass(frozen=True)
class Turn:
    """Two numbers that make an angle of five points, see `yaw`.

    Attributes:
        ratio: distance between the eyes over how far the nose stands out from the face.
        gain: what is left to bring measured angles to true ones.
    """

    ratio: float
    gain: float


# Fitted by benchmarks/yaw.py to 310 photographs of FFHQ, all of its first 700 that look far aside
# among them. On 99 others it is off by 2.9 degrees on average (95th percentile 8.1; R² .95), and
# from 30 degrees on by 3.8 (7 faces).
TURN = Turn(ratio=1.45, gain=1.14)


def yaw(points: ArrayLike, turn: Turn = TURN) -> float:
    """The angle in degrees, 0 for a face seen from the front; positive as `attributes.csv` has it.

    In a head that turns by θ the nose moves away from the line between the middles of eyes and
    mouth, across it, by its depth times sin θ, and the distance of the eyes shrinks with cos θ. So
    their ratio is tan θ, whatever the size of the face, its place and its roll.

    Args:
        points: (5, 2) x, y of the eyes, the nose and the mouth corners, in any upright or turned
            picture; of both pairs the one on the left of an upright picture first.
        turn: the two constants.

    Returns:
        Degrees; positive where the nose is on the right of the picture.

    Raises:
        FaceError: points that are not finite, or of which eyes and mouth are in one place.
    """
    places = np.asarray(points, np.float64)
    if places.shape != (5, 2) or not np.isfinite(places).all():
        raise FaceError("a pose needs five points with finite coordinates")
    eyes, mouth = places[:2].mean(axis=0), places[3:].mean(axis=0)
    height = math.dist(eyes, mouth)
    if not height > 0:
        raise FaceError("the points of this face span no area: eyes and mouth are in one place")
    down = (mouth - eyes) / height
    across = np.array([down[1], -down[0]])
    nose = float((places[2] - eyes) @ across)
    apart = float((places[1] - places[0]) @ across)
    return turn.gain * math.degrees(math.atan2(turn.ratio * nose, apart))
