"""The position of the FFHQ crop of a face in its image: pure geometry, no pixels.

Coordinates are x, y in the upright image (after EXIF rotation). The center of the first pixel is
0, 0, as for landmark detectors; the image's own edge is at -0.5.

The rule is FFHQ's (Karras et al., "A Style-Based Generator Architecture", appendix A; the same in
the published pSp): an oriented square around the eyes and the mouth. From 68 landmarks it is exact.
For a detector's five points the four constants of the rule are fitted anew, because SCRFD's eyes
and mouth corners differ a little from the means of dlib's landmarks (see `FIVE_POINT_RULE`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wplus.errors import FaceError

MIN_CROP_SIDE = 4.0  # pixels; a smaller square holds no face
Point = tuple[float, float]
Quad = tuple[Point, Point, Point, Point]


@dataclass(frozen=True)
class Rule:
    """Four constants that determine an oriented square by eye centers and mouth corners.

    With e the middle of the eyes, m the middle of the mouth corners, ee the vector from left eye to
    right eye and em = m - e: the square's horizontal axis points along ee - `lean` * rot90(em), its
    half side is max(`eyes` * |ee|, `mouth` * |em|), its center e + `drop` * em.
    """

    eyes: float
    mouth: float
    drop: float
    lean: float


LANDMARK_RULE = Rule(eyes=2.0, mouth=1.8, drop=0.1, lean=1.0)
# Fitted by benchmarks/calibrate_five_points.py to 700 FFHQ photographs, whose frames are the true
# squares. On 100 others the corners are off by 2.8 % of the side in the mean and by 5.4 % at the
# 95th percentile (2.9 and 6.2 with the landmarks' constants). Larger corrections, linear in all ten
# coordinates, gained no more; the remaining error is at the level of the scatter between detectors.
FIVE_POINT_RULE = Rule(eyes=1.97, mouth=1.83, drop=0.10, lean=0.53)


@dataclass(frozen=True)
class CropGeometry:
    """A crop: a square of an image, and the size to which it is resampled.

    With the image it determines the crop; it is also all that is needed to paste a result back.

    Attributes:
        quad: the corners top left, bottom left, bottom right, top right, of the upright crop.
        picture_size: width and height of the upright image that the coordinates belong to.
        output_size: pixels a side of the crop.

    Raises:
        FaceError: the corners are not finite, are not those of a square or span no area, or a size
            is below 1.
    """

    quad: Quad
    picture_size: tuple[int, int]
    output_size: int = 256

    def __post_init__(self) -> None:
        corners = np.asarray(self.quad, np.float64)
        if corners.shape != (4, 2) or not np.isfinite(corners).all():
            raise FaceError(f"a crop needs four corners with finite coordinates, not {self.quad}")
        if min(*self.picture_size, self.output_size) < 1:
            raise FaceError(f"a crop of {self.picture_size} to {self.output_size} has no pixels")
        down, across = corners[1] - corners[0], corners[3] - corners[0]
        if not np.allclose(corners[2], corners[0] + down + across, atol=1e-3):
            raise FaceError(f"the corners of a crop are not those of a square: {self.quad}")
        area = abs(float(down[0] * across[1] - down[1] * across[0]))
        if area < MIN_CROP_SIDE**2 or min(math.hypot(*down), math.hypot(*across)) < MIN_CROP_SIDE:
            raise FaceError(
                f"the points of this face span no area (a crop below {MIN_CROP_SIDE:g} pixels)"
            )

    @property
    def side(self) -> float:
        """Length of the upper edge in pixels of the image."""
        return math.dist(self.quad[0], self.quad[3])

    @property
    def center(self) -> Point:
        """Middle of the square."""
        x, y = np.mean(self.quad, axis=0)
        return float(x), float(y)

    def scaled(self, factor: float) -> CropGeometry:
        """The square scaled by a factor around its center.

        Raises:
            FaceError: the result has no area.
        """
        center = np.asarray(self.center)
        return replace(self, quad=_points(center + factor * (np.asarray(self.quad) - center)))

    def to_picture(self, points: ArrayLike) -> NDArray[np.float64]:
        """Points (..., 2) of the crop, in its pixels, as coordinates of the image."""
        corner, below, _, beside = np.asarray(self.quad, np.float64) + 0.5
        share = (np.asarray(points, np.float64) + 0.5) / self.output_size
        edges = np.stack([beside - corner, below - corner])
        placed: NDArray[np.float64] = corner + share @ edges - 0.5
        return placed

    def from_picture(self, points: ArrayLike) -> NDArray[np.float64]:
        """Points (..., 2) of the image in pixels of the crop: the inverse of `to_picture`."""
        corner, below, _, beside = np.asarray(self.quad, np.float64) + 0.5
        edges = np.stack([beside - corner, below - corner])
        share = (np.asarray(points, np.float64) + 0.5 - corner) @ np.linalg.inv(edges)
        placed: NDArray[np.float64] = share * self.output_size - 0.5
        return placed

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and lists, for JSON."""
        return {
            "quad": [list(point) for point in self.quad],
            "picture_size": list(self.picture_size),
            "output_size": self.output_size,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CropGeometry:
        """The geometry that `to_dict` wrote.

        Raises:
            FaceError: entries are missing or unknown, or the values describe no crop.
        """
        if set(values) != {"quad", "picture_size", "output_size"}:
            raise FaceError(f"a crop has quad, picture_size and output_size, not {sorted(values)}")
        try:
            width, height = (int(value) for value in values["picture_size"])
            quad = _points(np.asarray(values["quad"], np.float64))
            return cls(quad, (width, height), int(values["output_size"]))
        except (TypeError, ValueError) as error:
            if isinstance(error, FaceError):
                raise
            raise FaceError(f"the stored crop is damaged ({error})") from error


def from_landmarks(
    landmarks: ArrayLike, picture_size: tuple[int, int], output_size: int = 256
) -> CropGeometry:
    """The FFHQ crop of 68 landmarks (68, 2) in the usual order (iBUG 300-W, as dlib gives them).

    Raises:
        FaceError: the landmarks have another shape, or determine no crop.
    """
    points = _finite(landmarks, 68)
    eyes = points[36:42].mean(axis=0), points[42:48].mean(axis=0)
    quad = _oriented_square(LANDMARK_RULE, *eyes, points[48], points[54])
    return CropGeometry(quad, picture_size, output_size)


def from_points(
    points: ArrayLike,
    picture_size: tuple[int, int],
    output_size: int = 256,
    rule: Rule = FIVE_POINT_RULE,
) -> CropGeometry:
    """The FFHQ crop of five points (5, 2): eyes, nose, mouth corners, the image's left one first.

    Raises:
        FaceError: the points have another shape, or determine no crop.
    """
    five = _finite(points, 5)
    quad = _oriented_square(rule, five[0], five[1], five[3], five[4])
    return CropGeometry(quad, picture_size, output_size)


def middle_square(image_size: tuple[int, int], output_size: int = 256) -> CropGeometry:
    """The middle square of an image, for use without alignment.

    Raises:
        FaceError: a side of the image is below `MIN_CROP_SIDE` pixels.
    """
    side = min(image_size)
    left, top = ((length - side) // 2 - 0.5 for length in image_size)
    right, bottom = left + side, top + side
    quad = ((left, top), (left, bottom), (right, bottom), (right, top))
    return CropGeometry(quad, image_size, output_size)


def _finite(points: ArrayLike, count: int) -> NDArray[np.float64]:
    array = np.asarray(points, np.float64)
    if array.shape != (count, 2):
        raise FaceError(f"the crop needs {count} points ({count}, 2), not {array.shape}")
    if not np.isfinite(array).all():
        raise FaceError("the points of this face are not finite numbers")
    return array


def _oriented_square(
    rule: Rule,
    left_eye: NDArray[np.float64],
    right_eye: NDArray[np.float64],
    left_mouth: NDArray[np.float64],
    right_mouth: NDArray[np.float64],
) -> Quad:
    eyes, mouth = (left_eye + right_eye) / 2, (left_mouth + right_mouth) / 2
    eye_to_eye, eye_to_mouth = right_eye - left_eye, mouth - eyes
    axis = eye_to_eye - rule.lean * quarter_turn(eye_to_mouth)
    length = math.hypot(*axis)
    if length == 0:
        raise FaceError("the points of this face do not determine which way is up")
    half = max(rule.eyes * math.hypot(*eye_to_eye), rule.mouth * math.hypot(*eye_to_mouth))
    return square(eyes + rule.drop * eye_to_mouth, axis * (half / length))


def square(center: ArrayLike, axis: ArrayLike) -> Quad:
    """The square around `center` (2,) with the middle of its right edge at `center + axis`."""
    c, x = np.asarray(center, np.float64), np.asarray(axis, np.float64)
    y = quarter_turn(x)
    return _points(np.stack([c - x - y, c - x + y, c + x + y, c + x - y]))


def quarter_turn(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotate right to down: (x, y) -> (-y, x), with y pointing down."""
    return np.stack([-vector[1], vector[0]])


def _points(corners: NDArray[np.float64]) -> Quad:
    if corners.shape != (4, 2):
        raise FaceError(f"a crop has four corners (4, 2), not {corners.shape}")
    a, b, c, d = ((float(x), float(y)) for x, y in corners)
    return a, b, c, d
