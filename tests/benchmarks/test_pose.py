"""Yaw from five points: a head in space, turned, and its shadow."""

import math

import numpy as np
import pytest
from pose import TURN, Turn, yaw

from wplus.errors import FaceError

# Eyes, nose and mouth corners in space: x to the right, y down, z towards the camera.
HEAD = np.array([[-30.0, 0, 0], [30, 0, 0], [0, 35, 25], [-22, 70, 0], [22, 70, 0]])
PLAIN = Turn(ratio=60 / 25, gain=1.0)


def shadow(angle: float, roll: float = 0.0, pitch: float = 0.0) -> np.ndarray:
    """The points as a camera far away sees them, degrees."""
    a, b, c = (math.radians(value) for value in (angle, pitch, roll))
    about_y = np.array([[math.cos(a), 0, math.sin(a)], [0, 1, 0], [-math.sin(a), 0, math.cos(a)]])
    about_x = np.array([[1, 0, 0], [0, math.cos(b), -math.sin(b)], [0, math.sin(b), math.cos(b)]])
    about_z = np.array([[math.cos(c), -math.sin(c), 0], [math.sin(c), math.cos(c), 0], [0, 0, 1]])
    return (HEAD @ (about_z @ about_x @ about_y).T)[:, :2]


@pytest.mark.parametrize("angle", [-80, -45, -10, 0, 3, 30, 60, 85])
def test_a_turned_head_is_read_exactly(angle):
    assert yaw(shadow(angle), PLAIN) == pytest.approx(angle, abs=1e-9)


@pytest.mark.parametrize("roll", [-170, -40, 25, 90])
def test_size_place_and_roll_do_not_matter(roll):
    points = 3.7 * shadow(20, roll) + (500, -40)
    assert yaw(points, PLAIN) == pytest.approx(20, abs=1e-9)


@pytest.mark.parametrize("pitch", [-15, 15])
def test_a_nod_costs_little(pitch):
    assert yaw(shadow(0, pitch=pitch), PLAIN) == pytest.approx(0, abs=1e-9)
    assert yaw(shadow(20, pitch=pitch), PLAIN) == pytest.approx(20, abs=3)


def test_a_mirrored_face_turns_the_other_way():
    points = shadow(25) + np.random.default_rng(0).normal(0, 2, (5, 2))
    mirrored = (points * (-1, 1))[[1, 0, 2, 4, 3]]
    assert yaw(mirrored) == pytest.approx(-yaw(points), abs=1e-9)


def test_the_gain_is_a_factor():
    assert yaw(shadow(25), Turn(TURN.ratio, 2.0)) == pytest.approx(
        2 * yaw(shadow(25), Turn(TURN.ratio, 1.0))
    )


@pytest.mark.parametrize(
    ("points", "why"),
    [
        (np.zeros((5, 2)), "one place"),
        (np.full((5, 2), np.nan), "finite"),
        (np.zeros((4, 2)), "five points"),
    ],
)
def test_points_that_are_no_face_are_refused(points, why):
    with pytest.raises(FaceError, match=why):
        yaw(points)
