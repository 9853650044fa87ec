"""How far the five-point crop is from FFHQ's own, and the constants that bring it nearest.

FFHQ photographs were cropped from 68 landmarks by the very rule of `wplus.faces.from_landmarks`, so
the true square of each is its own frame. Every photograph is laid, turned, scaled and shifted at
random, into a larger page whose margin continues it blurred. There the detector runs as it would on
any photograph; the error is the mean distance of the square's corners from the true ones, in
percent of its side. Four constants are fitted on the first photographs, and reported on the others.
The rule turns and scales with the face, so random placing trains no habit into it.

    python benchmarks/calibrate_five_points.py FOLDER_OF_256_PIXEL_FFHQ_PHOTOGRAPHS
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wplus import images
from wplus.faces import CropGeometry, crop, detect, detector, from_points, geometry
from wplus.faces.geometry import FIVE_POINT_RULE, LANDMARK_RULE, Quad, Rule

Sample = tuple[NDArray[np.float64], Quad]  # five points and the true square


def whole(size: tuple[int, int], output_size: int = 256) -> CropGeometry:
    """The geometry of the full frame of an image."""
    right, bottom = size[0] - 0.5, size[1] - 0.5
    quad = ((-0.5, -0.5), (-0.5, bottom), (right, bottom), (right, -0.5))
    return CropGeometry(quad, size, output_size)


def place(photo: Image.Image, random: np.random.Generator) -> tuple[Image.Image, Quad]:
    """The photograph somewhere in a larger page, and its frame there."""
    width, height = (int(value) for value in random.integers(400, 900, 2))
    side, angle = random.uniform(150, 500), random.uniform(-0.7, 0.7)
    center = random.uniform(0.35, 0.65, 2) * (width, height)
    wide = round(2 * min(side, photo.width))  # twice the photograph, at the resolution it will have
    around = crop(photo, whole(photo.size, wide).scaled(2.0), transform_size=2 * wide)
    # From the page back to `around`: turn by -angle about the center, scale, shift to its middle.
    scale = wide / (2 * side)
    cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
    shift = wide / 2 - np.array([[cos, sin], [-sin, cos]]) @ center
    page = around.transform(
        (width, height),
        Image.Transform.AFFINE,
        (cos, sin, float(shift[0]), -sin, cos, float(shift[1])),
        Image.Resampling.BICUBIC,
        fillcolor=around.getpixel((0, 0)),
    )
    axis = np.array([math.cos(angle), math.sin(angle)]) * side / 2
    return page, geometry.square(center - 0.5, axis)


def error(rule: Rule, samples: Sequence[Sample]) -> NDArray[np.float64]:
    """Mean corner distance of each sample in percent of the true side."""
    found = np.array([from_points(points, (1, 1), rule=rule).quad for points, _ in samples])
    true = np.array([quad for _, quad in samples])
    sides = np.linalg.norm(true[:, 3] - true[:, 0], axis=1)
    errors: NDArray[np.float64] = np.linalg.norm(found - true, axis=2).mean(axis=1) / sides * 100
    return errors


def fit(samples: Sequence[Sample]) -> Rule:
    """The rule of least mean error, by a search along each constant with shrinking steps."""
    best = list(astuple(LANDMARK_RULE))
    lowest, step = float(error(Rule(*best), samples).mean()), 0.16
    while step > 0.004:
        improved = False
        for index in range(len(best)):
            for change in (-step, step):
                trial = best.copy()
                trial[index] += change
                value = float(error(Rule(*trial), samples).mean())
                if value < lowest:
                    best, lowest, improved = trial, value, True
        if not improved:
            step /= 2
    return Rule(*(round(value, 3) for value in best))


def line(name: str, values: NDArray[np.float64]) -> str:
    mean, high, most = values.mean(), np.percentile(values, 95), values.max()
    return f"{name:32} mean {mean:5.2f}  95th percentile {high:5.2f}  largest {most:5.1f}"


def nearest(faces: Sequence[detector.Face], quad: Quad) -> NDArray[np.float64] | None:
    """The points of the face that belongs to the true square (a bystander may be found too)."""
    middle = np.mean(quad, axis=0)
    away = [float(np.linalg.norm(face.points.mean(axis=0) - middle)) for face in faces]
    if not away or min(away) > math.dist(quad[0], quad[3]) / 2:
        return None
    return faces[int(np.argmin(away))].points


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="FFHQ photographs, as cropped by FFHQ")
    parser.add_argument("--validate", type=int, default=100, help="the last so many are kept apart")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random = np.random.default_rng(options.seed)
    files = sorted(options.folder.glob("*.jpg")) + sorted(options.folder.glob("*.png"))
    seen: list[Sample | None] = []  # as `detect` gives the points
    once: list[Sample | None] = []  # before the second search
    framed: list[Sample | None] = []  # the photograph as it is, filled by its face
    for file in files:
        photo = images.read(file)
        page, quad = place(photo, random)
        searched = detector.search(page, [320, 640])
        frame = whole(photo.size).quad
        pages = ((detect(page), quad), (searched, quad), (detect(photo), frame))
        for samples, (faces, true) in zip((seen, once, framed), pages):
            points = nearest(faces, true)
            samples.append(None if points is None else (points, true))
    first = len(files) - options.validate
    training = [sample for sample in seen[:first] if sample]
    rule = fit(training)
    print(f"{len(files)} photographs, fitted on {first}; missed: {seen.count(None)}")
    print(f"fitted: {rule}\nin use: {FIVE_POINT_RULE}\nerrors in % of the side:")
    print(line("fitted photographs, fitted rule", error(rule, training)))
    for name, group in (("one look", once), ("second look", seen), ("frame filled", framed)):
        kept = [sample for sample in group[first:] if sample]
        for which, one in (("68", LANDMARK_RULE), ("fitted", rule), ("in use", FIVE_POINT_RULE)):
            print(line(f"validation, {name}, rule {which}", error(one, kept)))


if __name__ == "__main__":
    main()
