"""The FFHQ square of landmarks and points, and its coordinates."""

import json
import math

import numpy as np
import pytest

from wplus.errors import FaceError
from wplus.faces import geometry
from wplus.faces.geometry import FIVE_POINT_RULE, LANDMARK_RULE, CropGeometry

SIZE = (800, 600)
FIVE = np.array([[350.0, 240], [452, 250], [400, 300], [362, 352], [440, 358]])


def landmarks_of(five: np.ndarray) -> np.ndarray:
    """68 landmarks whose eye means and mouth corners are the five points; the rest is noise."""
    random = np.random.default_rng(7)
    points = random.uniform(0, 600, (68, 2))
    for first, eye in ((36, five[0]), (42, five[1])):
        around = random.normal(0, 4, (6, 2))
        points[first : first + 6] = eye + around - around.mean(axis=0)
    points[48], points[54] = five[3], five[4]
    return points


def slow_square(left_eye, right_eye, left_mouth, right_mouth) -> list[complex]:
    """The rule in complex numbers, y pointing down: rot90 is a product with i."""
    el, er, ml, mr = (complex(*p) for p in (left_eye, right_eye, left_mouth, right_mouth))
    e, m = (el + er) / 2, (ml + mr) / 2
    x = (er - el) - 1j * (m - e)
    x *= max(2 * abs(er - el), 1.8 * abs(m - e)) / abs(x)
    y, c = 1j * x, e + 0.1 * (m - e)
    return [c - x - y, c - x + y, c + x + y, c + x - y]


@pytest.mark.parametrize("seed", range(8))
def test_landmark_square(seed):
    five = FIVE + np.random.default_rng(seed).normal(0, 40, (5, 2))
    square = geometry.from_landmarks(landmarks_of(five), SIZE)
    expected = slow_square(five[0], five[1], five[3], five[4])
    np.testing.assert_allclose([complex(*p) for p in square.quad], expected, atol=1e-9)
    assert square.picture_size == SIZE
    assert square.output_size == 256
    same = geometry.from_points(five, SIZE, rule=LANDMARK_RULE)
    np.testing.assert_allclose(same.quad, square.quad, atol=1e-9)


def test_wide_and_narrow_faces_take_the_larger_measure():
    wide = geometry.from_points([[0, 0], [100, 0], [50, 20], [20, 50], [80, 50]], SIZE)
    assert wide.side == pytest.approx(2 * FIVE_POINT_RULE.eyes * 100)
    narrow = geometry.from_points([[45, 0], [55, 0], [50, 50], [45, 100], [55, 100]], SIZE)
    assert narrow.side == pytest.approx(2 * FIVE_POINT_RULE.mouth * 100)


@pytest.mark.parametrize("angle", [0.3, 1.5, 3.1, -2.0])
def test_the_square_turns_scales_and_moves_with_the_face(angle):
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])

    def move(points):
        return np.asarray(points) @ turn.T * 1.7 + [30, -12]

    plain = geometry.from_points(FIVE, SIZE)
    moved = geometry.from_points(move(FIVE), SIZE)
    np.testing.assert_allclose(moved.quad, move(plain.quad), atol=1e-9)


def test_five_point_rule_is_close_to_the_landmark_rule():
    one = geometry.from_points(FIVE, SIZE)
    other = geometry.from_points(FIVE, SIZE, rule=LANDMARK_RULE)
    away = np.linalg.norm(np.subtract(one.quad, other.quad), axis=1).mean()
    assert 0 < away < 0.04 * other.side


def test_coordinates_go_there_and_back():
    square = geometry.from_points(FIVE, SIZE, output_size=64)
    edges = np.array([[-0.5, -0.5], [-0.5, 63.5], [63.5, 63.5], [63.5, -0.5]])
    np.testing.assert_allclose(square.to_picture(edges), square.quad, atol=1e-9)
    points = np.random.default_rng(0).uniform(-50, 100, (3, 5, 2))
    there = square.to_picture(points)
    assert there.shape == points.shape
    np.testing.assert_allclose(square.from_picture(there), points, atol=1e-9)
    assert square.center == pytest.approx(np.mean(square.quad, axis=0))


def test_scaled():
    square = geometry.from_points(FIVE, SIZE)
    larger = square.scaled(1.25)
    assert larger.side == pytest.approx(1.25 * square.side)
    assert larger.center == pytest.approx(square.center)
    np.testing.assert_allclose(larger.scaled(0.8).quad, square.quad)


def test_dict_goes_through_json():
    square = geometry.from_points(FIVE, SIZE, output_size=512)
    stored = json.loads(json.dumps(square.to_dict()))
    assert CropGeometry.from_dict(stored) == square


@pytest.mark.parametrize(
    "change",
    [
        {"quad": [[0, 0], [0, 1]]},
        {"quad": "square"},
        {"quad": [[0, 0], [0, 9], [9, 9], [float("nan"), 0]]},
        {"quad": [[0, 0], [0, 9], [20, 9], [9, 0]]},
        {"picture_size": [10]},
        {"picture_size": [0, 10]},
        {"output_size": 0},
        {"output_size": None},
        {"color": "red"},
    ],
)
def test_damaged_dicts_are_refused(change):
    good = {"quad": [[0, 0], [0, 9], [9, 9], [9, 0]], "picture_size": [20, 20], "output_size": 64}
    assert CropGeometry.from_dict(good).side == 9
    with pytest.raises(FaceError):
        CropGeometry.from_dict({**good, **change})
    with pytest.raises(FaceError):
        CropGeometry.from_dict({"quad": good["quad"]})


@pytest.mark.parametrize(
    "points",
    [
        np.full((5, 2), 100.0),  # all on one spot
        FIVE * 0.001,  # smaller than a pixel
        FIVE * np.nan,
        FIVE * np.inf,
        FIVE[:4],
    ],
)
def test_degenerate_points_are_refused(points):
    with pytest.raises(FaceError):
        geometry.from_points(points, SIZE)


def test_degenerate_landmarks_are_refused():
    for bad in (np.zeros((68, 2)), np.zeros((5, 2)), np.full((68, 2), np.nan)):
        with pytest.raises(FaceError):
            geometry.from_landmarks(bad, SIZE)


def test_opposite_axes_cancel():
    """Eyes exchanged so that the axis vanishes: which way is up cannot be told."""
    with pytest.raises(FaceError, match="which way"):
        geometry.from_points(
            [[10, 0], [-10, 0], [0, 0], [0, 20], [0, 20]], SIZE, rule=LANDMARK_RULE
        )


def test_middle_square():
    square = geometry.middle_square((301, 200), 128)
    assert square.quad == ((49.5, -0.5), (49.5, 199.5), (249.5, 199.5), (249.5, -0.5))
    assert square.output_size == 128
    whole = geometry.middle_square((200, 200))
    assert whole.quad == ((-0.5, -0.5), (-0.5, 199.5), (199.5, 199.5), (199.5, -0.5))
