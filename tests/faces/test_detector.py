"""Searching, looking again and coordinates, with a detector that sees five colored spots.

It stands in for the network, which has to be fetched; `test_align.py` has the real one.
"""

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from wplus.faces import detector, geometry, scrfd

COLORS = ("red", "lime", "blue", "yellow", "magenta")  # eyes, nose, mouth corners
SHAPE = np.array([[-0.5, -0.5], [0.5, -0.5], [0.0, 0.1], [-0.4, 0.6], [0.4, 0.6]])


def draw(picture: Image.Image, center, size: float, angle: float) -> np.ndarray:
    """A face of five spots; its points (5, 2)."""
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    points = SHAPE @ turn.T * size + center
    canvas, radius = ImageDraw.Draw(picture), size * 0.15
    for (x, y), color in zip(points, COLORS):
        canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)
    return points


def spots(image: np.ndarray) -> np.ndarray | None:
    """The middles (5, 2) of the five colors in an image (3, H, W), or None without all of them."""
    dark, light = image < -0.75, image > 0.75
    found = []
    for color in COLORS:
        wanted = Image.new("RGB", (1, 1), color).getpixel((0, 0))
        parts = [light[n] if level else dark[n] for n, level in enumerate(wanted)]
        rows, columns = np.nonzero(parts[0] & parts[1] & parts[2])
        if len(rows) < 4:
            return None
        found.append((columns.mean(), rows.mean()))
    return np.array(found)


def see(images: torch.Tensor, threshold: float = 0.5) -> list[scrfd.Detections]:
    """In place of `scrfd.run`: knows faces from 8 % to 70 % of the view, upright ones best."""
    seen = []
    for image in images:
        points = spots(image.numpy())
        nothing = scrfd.Detections(np.empty((0, 4)), np.empty(0), np.empty((0, 5, 2)))
        if points is None:
            seen.append(nothing)
            continue
        across = points[1] - points[0]
        down = points[3:].mean(axis=0) - points[:2].mean(axis=0)
        if across[0] * down[1] < across[1] * down[0]:  # mirrored
            points = points[[1, 0, 2, 4, 3]]
        size = np.linalg.norm(down)
        score = 0.6 + 0.3 * down[1] / size
        if not 0.08 < size / max(image.shape[1:]) < 0.7 or score < threshold:
            seen.append(nothing)
            continue
        if score < 0.8:  # as the network does, it takes lying faces for standing ones
            points = points[[3, 4, 2, 0, 1]] if score < 0.5 else points
        middle = (points.min(axis=0) + points.max(axis=0)) / 2
        box = np.concatenate([middle - 0.8 * size, middle + 0.8 * size])
        seen.append(scrfd.Detections(box[None], np.array([score]), points[None]))
    return seen


@pytest.fixture(autouse=True)
def spot_detector(monkeypatch):
    monkeypatch.setattr(scrfd, "run", see)


@pytest.mark.parametrize(
    ("width", "height", "size", "angle"),
    [
        (300, 400, 90, 0.0),
        (700, 500, 150, 0.5),
        (1300, 900, 250, -0.6),
        (400, 400, 80, 2.8),
        (400, 400, 80, 1.6),
        (400, 400, 80, -1.4),
    ],
)
def test_points_are_found_where_they_are(width, height, size, angle):
    picture = Image.new("RGB", (width, height), (60, 60, 60))
    points = draw(picture, (width * 0.55, height * 0.45), size, angle)
    [face] = detector.detect(picture)
    assert np.abs(face.points - points).max() < max(1.5, size / 60)
    assert face.box[0] < points[:, 0].min() + size / 2
    assert face.box[3] > points[:, 1].max() - size / 2
    assert face.area == pytest.approx((1.6 * 1.1 * size) ** 2, rel=0.25)


def test_search_gives_coordinates_of_the_picture():
    picture = Image.new("RGB", (1280, 960))
    points = draw(picture, (700, 500), 200, 0.1)
    [rough] = detector.search(picture, [320])  # every pixel searched stands for four
    assert np.abs(rough.points - points).mean() < 0.5
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    assert np.abs((rough.box[:2] + rough.box[2:]) / 2 - middle).max() < 4


def test_mirrored_views_cancel_what_the_detector_adds_to_one_side(monkeypatch):
    def leaning(images, threshold):
        seen = see(images, threshold)
        push = np.array([6.0, 0.0])
        return [scrfd.Detections(each.boxes, each.scores, each.points + push) for each in seen]

    monkeypatch.setattr(scrfd, "run", leaning)
    picture = Image.new("RGB", (320, 320))
    points = draw(picture, (160, 150), 70, 0)
    [face] = detector.detect(picture)
    assert np.abs(face.points - points).max() < 1.5


def test_where_it_is_searched_while_nothing_is_found(monkeypatch):
    asked = []
    monkeypatch.setattr(detector, "search", lambda picture, sides: asked.append(sides) or [])
    assert detector.detect(Image.new("RGB", (4000, 3000))) == []
    assert asked == [[320, 640, 1280], [160], [2560], *[[320, 640, 1280]] * 3]
    asked.clear()
    assert detector.detect(Image.new("L", (100, 60))) == []
    assert asked == [[320], [160], [], *[[320]] * 3]


def test_a_found_face_ends_the_search(monkeypatch):
    asked, searched = [], detector.search
    monkeypatch.setattr(
        detector, "search", lambda picture, sides: asked.append(sides) or searched(picture, sides)
    )
    picture = Image.new("RGB", (400, 300))
    draw(picture, (200, 100), 60, 0)
    assert len(detector.detect(picture)) == 1
    assert asked == [[320]]


def test_what_a_second_look_does_not_confirm_is_dropped(monkeypatch):
    """A first finding whose views show nothing, as a face-like texture would be."""
    picture = Image.new("RGB", (640, 480))

    def first_only(images, threshold):
        if images.shape[2:] != (256, 320):  # the first level of a search is not square here
            return see(images, threshold)
        points = SHAPE.astype(np.float32)[None] * 30 + 150
        return [scrfd.Detections(np.array([[120.0, 120, 180, 180]]), np.array([0.9]), points)]

    monkeypatch.setattr(scrfd, "run", first_only)
    assert len(detector.search(picture, [320])) == 1
    assert detector.detect(picture) == []


def test_findings_of_one_face_count_once():
    points = SHAPE * 50 + 100
    face = detector.Face(np.array([0.0, 0, 100, 100]), 0.9, points)
    shifted = detector.Face(face.box, 0.8, points + 8)
    neighbor = detector.Face(face.box, 0.8, points + np.array([90, 0]))
    assert detector._same(face, shifted)
    assert not detector._same(face, neighbor)


@pytest.mark.parametrize("quarter", [1, 2, 3])
def test_turning_back(quarter):
    picture = Image.new("RGB", (70, 40))
    picture.putpixel((11, 23), (255, 0, 0))
    picture.putpixel((50, 30), (0, 255, 0))
    turned = np.asarray(picture.rotate(90 * quarter, expand=True))
    places = [np.argwhere(turned[..., channel] == 255)[0][::-1] for channel in (0, 1)]
    points = np.array([places[0], places[1], *[places[0]] * 3], float)
    box = np.concatenate([points[:2].min(axis=0), points[:2].max(axis=0)])
    back = detector._turn_back(detector.Face(box, 0.9, points), picture.size, quarter)
    np.testing.assert_array_equal(back.points[:2], [[11, 23], [50, 30]])
    np.testing.assert_array_equal(back.box, [11, 23, 50, 30])


def test_views_of_the_square_are_at_the_detectors_size():
    picture = Image.new("RGB", (900, 900), "red")
    square = geometry.CropGeometry(geometry.square((450, 450), (400, 0)), picture.size, 320)
    view = detector._view(picture, square)
    assert view.shape == (1, 3, 320, 320)
    assert view[0, 0].min() == 1
    assert view[0, 1].max() == -1
