"""Faces and their five points in a picture of any size, at any size and however turned.

First the whole picture is searched at several sizes, because SCRFD misses faces that fill the
picture at its usual 640 pixels, and small faces of large pictures. Then every face is looked at
again, turned upright and brought to one size, plain and mirrored. The second look drops what only
resembled a face, and takes the mean error of the FFHQ crop's corners from 5.2 to 2.9 % of its side
(`benchmarks/calibrate_five_points.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from wplus.errors import FaceError
from wplus.faces import geometry, scrfd
from wplus.faces.crop import crop
from wplus.images import to_rgb, to_tensor

SUSPECTED = 0.35  # score that earns a second look
CONFIRMED = 0.5  # score that a face must reach there
# The longer side in pixels at which a picture is searched; those that would enlarge it by more than
# half are left out, but for the first.
LEVELS = (320, 640, 1280)
# Tried in turn while nothing is found: the picture very small, very large, and turned.
SMALLER, LARGER = 160, 2560
VIEW_SIZE = 320
VIEW_SCALES = (1.0, 1.25)  # of the FFHQ square
TURN_SIZE = 192
_TURN_MARGIN = 1.8  # side of the view in which a face is turned, in sides of its box
_UPRIGHT_BONUS = 0.05  # most pictures are upright; faces that are score 0.3 more than turned ones
_MIRRORED = [1, 0, 2, 4, 3]  # the points of a mirrored face: left and right change places


@dataclass(frozen=True, eq=False)
class Face:
    """A face in the coordinates of its upright picture (center of the first pixel = 0, 0).

    Attributes:
        box: (4,) left, top, right, bottom.
        score: the detector's, in 0..1.
        points: (5, 2) x, y of eyes, nose and mouth corners, the face's right one (on the left of
            an upright picture) first.
    """

    box: NDArray[np.float64]
    score: float
    points: NDArray[np.float64]

    @property
    def area(self) -> float:
        """Of the box, in square pixels."""
        return float((self.box[2] - self.box[0]) * (self.box[3] - self.box[1]))


def detect(picture: Image.Image) -> list[Face]:
    """The faces of a picture, the largest first; an empty list if there is none.

    Raises:
        WeightsError: the detector cannot be fetched.
    """
    if picture.mode != "RGB":
        picture = to_rgb(picture)
    longer = max(picture.size)
    usual = [side for side in LEVELS if side <= 1.5 * longer or side == LEVELS[0]]
    attempts = [usual, [SMALLER], [LARGER] if longer > LEVELS[-1] else []]
    for sides in attempts:
        faces = _examined(picture, search(picture, sides))
        if faces:
            return faces
    # A sideways photograph without EXIF: the crop turns it upright by itself once it is found.
    for quarter in (1, 3, 2):
        turned = picture.rotate(90 * quarter, expand=True)
        found = [_turn_back(face, picture.size, quarter) for face in search(turned, usual)]
        faces = _examined(picture, found)
        if faces:
            return faces
    return []


def search(picture: Image.Image, sides: list[int]) -> list[Face]:
    """Rough faces of the picture, searched at each of the sizes."""
    parts = []
    for side in sides:
        scale = side / max(picture.size)
        size = [max(1, round(length * scale)) for length in picture.size]
        canvas_size = [math.ceil(length / scrfd.MULTIPLE) * scrfd.MULTIPLE for length in size]
        canvas = Image.new("RGB", (canvas_size[0], canvas_size[1]), (127, 127, 127))
        small = picture.resize((size[0], size[1]), Image.Resampling.BILINEAR, reducing_gap=2.0)
        canvas.paste(small)
        found = scrfd.run(to_tensor(canvas), SUSPECTED)[0]
        factors = np.array([picture.width / size[0], picture.height / size[1]])
        points = (found.points + 0.5) * factors - 0.5
        boxes = (found.boxes + 0.5) * np.tile(factors, 2) - 0.5
        parts.append(scrfd.Detections(boxes, found.scores, points))
    if not parts:
        return []
    everything = scrfd.Detections(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.points for part in parts]),
    )
    best = scrfd.suppress(everything)
    return [Face(*values) for values in zip(best.boxes, best.scores.tolist(), best.points)]


def _examined(picture: Image.Image, faces: list[Face]) -> list[Face]:
    """The faces that a second look confirms, each once, with its points, the largest first."""
    confirmed: list[Face] = []
    for rough in sorted(faces, key=lambda face: -face.score):
        face = _look_again(picture, rough)
        if face is not None and not any(_same(face, other) for other in confirmed):
            confirmed.append(face)
    return sorted(confirmed, key=lambda face: -face.area)


def _look_again(picture: Image.Image, rough: Face) -> Face | None:
    """The face with points read in upright views of one size, or None if those show no face."""
    try:
        points = _upright_points(picture, rough)
        square = geometry.from_points(points, picture.size, VIEW_SIZE)
        squares = [square.scaled(scale) for scale in VIEW_SCALES]
        views = torch.cat([_view(picture, one) for one in squares])
    except FaceError:  # points on one spot, or outside of the picture
        return None
    readings = []
    for index, found in enumerate(scrfd.run(torch.cat([views, views.flip(3)]), CONFIRMED)):
        view = squares[index % len(views)]
        places = found.points
        if index >= len(views):
            places = np.stack([VIEW_SIZE - 1 - places[..., 0], places[..., 1]], axis=-1)
            places = places[:, _MIRRORED]
        # A neighbor's face may score higher: take the one that was meant.
        away = np.hypot(*np.moveaxis(places - view.from_picture(points), -1, 0)).mean(axis=1)
        if len(found) and away.min() < VIEW_SIZE / 8:
            readings.append(view.to_picture(places[away.argmin()]))
    return Face(rough.box, rough.score, np.median(readings, axis=0)) if readings else None


def _upright_points(picture: Image.Image, rough: Face) -> NDArray[np.float64]:
    """Rough points, read in the quarter turn in which the face looks most like one.

    The detector sees faces that lie or stand on their head too, but takes their mouths for eyes.
    """
    corners = rough.box.reshape(2, 2)
    center, half = corners.mean(axis=0), float(np.ptp(corners, axis=0).max()) * _TURN_MARGIN / 2
    axis = np.array([half, 0.0])
    squares = []
    for _ in range(4):
        quad = geometry.square(center, axis)
        squares.append(geometry.CropGeometry(quad, picture.size, TURN_SIZE))
        axis = geometry.quarter_turn(axis)
    upright = _view(picture, squares[0])
    turned = torch.cat([torch.rot90(upright, quarter, (2, 3)) for quarter in range(4)])
    best, points = 0.0, rough.points
    for quarter, found in enumerate(scrfd.run(turned, CONFIRMED)):
        sizes = (found.boxes[:, 2:] - found.boxes[:, :2]).max(axis=1) * _TURN_MARGIN / TURN_SIZE
        middles = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
        away = np.abs(middles - TURN_SIZE / 2).max(axis=1)
        meant = found[(away < TURN_SIZE / 8) & (sizes > 0.6) & (sizes < 1.6)]
        score = float(meant.scores.max(initial=0.0)) + (_UPRIGHT_BONUS if quarter == 0 else 0.0)
        if len(meant) and score > best:
            best = score
            points = squares[quarter].to_picture(meant.points[meant.scores.argmax()])
    return points


def _view(picture: Image.Image, square: geometry.CropGeometry) -> torch.Tensor:
    """(1, 3, S, S): the square as the detector's input, smoothed when it is shrunk much."""
    size = square.output_size
    at = 2 * size if square.side > 2 * size else size
    return to_tensor(crop(picture, square, transform_size=at, padding=False))


def _same(one: Face, other: Face) -> bool:
    """Whether two findings are one face: their points lie closer than a part of its size."""
    size = math.dist(one.points[:2].mean(axis=0), one.points[3:].mean(axis=0))
    size += math.dist(one.points[0], one.points[1])
    return bool(np.hypot(*(one.points - other.points).T).mean() < size / 4)


def _turn_back(face: Face, size: tuple[int, int], quarter: int) -> Face:
    """A face of `picture.rotate(90 * quarter, expand=True)` in the picture of this size."""
    width, height = size

    def back(points: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = points.T
        if quarter == 1:
            return np.stack([width - 1 - y, x], axis=1)
        if quarter == 3:
            return np.stack([y, height - 1 - x], axis=1)
        return np.stack([width - 1 - x, height - 1 - y], axis=1)

    corners = back(face.box.reshape(2, 2))
    box = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
    return Face(box, face.score, back(face.points))
