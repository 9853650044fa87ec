"""Faces and their five points in images of any size, with faces of any size and rotation.

The first pass searches the whole image at several sizes, because SCRFD at its usual 640 pixels
misses faces that fill the image and small faces in large images. The second pass examines every
face upright and at one size, plain and mirrored. It rejects false detections and reduces the mean
error of the FFHQ crop's corners from 5.2 to 2.9 % of its side
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

SUSPECTED = 0.35  # least score in the first pass
CONFIRMED = 0.5  # least score in the second pass
# Longer sides in pixels at which an image is searched; except for the first, those that would
# enlarge it by more than half are left out.
LEVELS = (320, 640, 1280)
# Tried in turn while nothing is found: the image very small, very large, and rotated.
SMALLER, LARGER = 160, 2560
VIEW_SIZE = 320
VIEW_SCALES = (1.0, 1.25)  # of the FFHQ square
TURN_SIZE = 192
_TURN_MARGIN = 1.8  # side of the rotated view of a face, in sides of its box
_UPRIGHT_BONUS = 0.05  # most images are upright; upright faces score 0.3 more than rotated ones
_MIRRORED = [1, 0, 2, 4, 3]  # order of the points of a mirrored face: left and right exchanged


@dataclass(frozen=True, eq=False)
class Face:
    """A face in the coordinates of its upright image (center of the first pixel = 0, 0).

    Attributes:
        box: (4,) left, top, right, bottom.
        score: the detector's, in 0..1.
        points: (5, 2) x, y of eyes, nose and mouth corners, the face's right one (on the left of
            an upright image) first.
    """

    box: NDArray[np.float64]
    score: float
    points: NDArray[np.float64]

    @property
    def area(self) -> float:
        """Of the box, in square pixels."""
        return float((self.box[2] - self.box[0]) * (self.box[3] - self.box[1]))


def detect(image: Image.Image) -> list[Face]:
    """The faces of an image, the largest first; an empty list if there is none.

    Raises:
        WeightsError: the detector cannot be fetched.
    """
    if image.mode != "RGB":
        image = to_rgb(image)
    longer = max(image.size)
    usual = [side for side in LEVELS if side <= 1.5 * longer or side == LEVELS[0]]
    attempts = [usual, [SMALLER], [LARGER] if longer > LEVELS[-1] else []]
    for sides in attempts:
        faces = _examined(image, search(image, sides))
        if faces:
            return faces
    # A sideways photograph without EXIF: once a face is found, its crop is upright.
    for quarter in (1, 3, 2):
        turned = image.rotate(90 * quarter, expand=True)
        found = [_turn_back(face, image.size, quarter) for face in search(turned, usual)]
        faces = _examined(image, found)
        if faces:
            return faces
    return []


def search(image: Image.Image, sides: list[int]) -> list[Face]:
    """The first pass: rough faces of the image, searched at each of the sizes."""
    parts = []
    for side in sides:
        scale = side / max(image.size)
        size = [max(1, round(length * scale)) for length in image.size]
        canvas_size = [math.ceil(length / scrfd.MULTIPLE) * scrfd.MULTIPLE for length in size]
        canvas = Image.new("RGB", (canvas_size[0], canvas_size[1]), (127, 127, 127))
        small = image.resize((size[0], size[1]), Image.Resampling.BILINEAR, reducing_gap=2.0)
        canvas.paste(small)
        found = scrfd.run(to_tensor(canvas), SUSPECTED)[0]
        factors = np.array([image.width / size[0], image.height / size[1]])
        points = (found.points + 0.5) * factors - 0.5
        boxes = (found.boxes + 0.5) * np.tile(factors, 2) - 0.5
        parts.append(scrfd.Detections(boxes, found.scores, points))
    if not parts:
        return []
    columns = zip(*((part.boxes, part.scores, part.points) for part in parts))
    best = scrfd.suppress(scrfd.Detections(*map(np.concatenate, columns)))
    return [Face(*values) for values in zip(best.boxes, best.scores.tolist(), best.points)]


def _examined(image: Image.Image, faces: list[Face]) -> list[Face]:
    """The faces that the second pass confirms, each once, the largest first."""
    confirmed: list[Face] = []
    for rough in sorted(faces, key=lambda face: -face.score):
        face = _second_pass(image, rough)
        if face is not None and not any(_same(face, other) for other in confirmed):
            confirmed.append(face)
    return sorted(confirmed, key=lambda face: -face.area)


def _second_pass(image: Image.Image, rough: Face) -> Face | None:
    """The face with points detected in upright views of one size; None if those have no face."""
    try:
        points = _upright_points(image, rough)
        square = geometry.from_points(points, image.size, VIEW_SIZE)
        squares = [square.scaled(scale) for scale in VIEW_SCALES]
        views = torch.cat([_view(image, one) for one in squares])
    except FaceError:  # points on one spot, or outside of the image
        return None
    readings = []
    for index, found in enumerate(scrfd.run(torch.cat([views, views.flip(3)]), CONFIRMED)):
        view = squares[index % len(views)]
        places = found.points
        if index >= len(views):
            places = np.stack([VIEW_SIZE - 1 - places[..., 0], places[..., 1]], axis=-1)
            places = places[:, _MIRRORED]
        # A neighboring face may score higher: take the one nearest to the rough points.
        away = np.hypot(*np.moveaxis(places - view.from_picture(points), -1, 0)).mean(axis=1)
        if len(found) and away.min() < VIEW_SIZE / 8:
            readings.append(view.to_picture(places[away.argmin()]))
    return Face(rough.box, rough.score, np.median(readings, axis=0)) if readings else None


def _upright_points(image: Image.Image, rough: Face) -> NDArray[np.float64]:
    """Rough points, detected in the quarter turn in which the face has the highest score.

    The detector finds rotated faces too, but confuses their mouths with eyes.
    """
    corners = rough.box.reshape(2, 2)
    center, half = corners.mean(axis=0), float(np.ptp(corners, axis=0).max()) * _TURN_MARGIN / 2
    axis = np.array([half, 0.0])
    squares = []
    for _ in range(4):
        quad = geometry.square(center, axis)
        squares.append(geometry.CropGeometry(quad, image.size, TURN_SIZE))
        axis = geometry.quarter_turn(axis)
    upright = _view(image, squares[0])
    turned = torch.cat([torch.rot90(upright, quarter, (2, 3)) for quarter in range(4)])
    best, points = 0.0, rough.points
    for quarter, found in enumerate(scrfd.run(turned, CONFIRMED)):
        sizes = (found.boxes[:, 2:] - found.boxes[:, :2]).max(axis=1) * _TURN_MARGIN / TURN_SIZE
        middles = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
        away = np.abs(middles - TURN_SIZE / 2).max(axis=1)
        same = found[(away < TURN_SIZE / 8) & (sizes > 0.6) & (sizes < 1.6)]
        score = float(same.scores.max(initial=0.0)) + (_UPRIGHT_BONUS if quarter == 0 else 0.0)
        if len(same) and score > best:
            best = score
            points = squares[quarter].to_picture(same.points[same.scores.argmax()])
    return points


def _view(image: Image.Image, square: geometry.CropGeometry) -> torch.Tensor:
    """(1, 3, S, S): the square as the detector's input, smoothed when it is shrunk much."""
    size = square.output_size
    at = 2 * size if square.side > 2 * size else size
    return to_tensor(crop(image, square, transform_size=at, padding=False))


def _same(one: Face, other: Face) -> bool:
    """Whether two detections are one face: their points are close relative to its size."""
    size = math.dist(one.points[:2].mean(axis=0), one.points[3:].mean(axis=0))
    size += math.dist(one.points[0], one.points[1])
    return bool(np.hypot(*(one.points - other.points).T).mean() < size / 4)


def _turn_back(face: Face, size: tuple[int, int], quarter: int) -> Face:
    """A face of `image.rotate(90 * quarter, expand=True)` in the image of this size."""
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
