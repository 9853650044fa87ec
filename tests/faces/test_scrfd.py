"""Decoding of the detector's outputs and suppression of doubles, against loops."""

import numpy as np
import pytest
import torch

from wplus.faces import scrfd


def outputs(height: int, width: int, count: int = 1, seed: int = 0) -> list[np.ndarray]:
    """Made-up outputs in the network's order: scores, boxes, points, each at strides 8, 16, 32."""
    random = np.random.default_rng(seed)
    made = []
    for channels in (1, 4, 10):
        for stride in scrfd.STRIDES:
            anchors = (height // stride) * (width // stride) * 2
            made.append(random.random((count, anchors, channels), dtype=np.float32))
    return made


def slow_decode(made, height, width, threshold):
    found = []
    for level, stride in enumerate((8, 16, 32)):
        anchor = 0
        for row in range(height // stride):
            for column in range(width // stride):
                for _ in range(2):
                    x, y = column * stride, row * stride
                    score = made[level][anchor, 0]
                    if score >= threshold:
                        left, top, right, bottom = made[level + 3][anchor] * stride
                        box = [x - left, y - top, x + right, y + bottom]
                        offsets = made[level + 6][anchor] * stride
                        points = [[x + offsets[2 * k], y + offsets[2 * k + 1]] for k in range(5)]
                        found.append((score, box, points))
                    anchor += 1
    return found


@pytest.mark.parametrize(("height", "width"), [(64, 96), (32, 32), (128, 64)])
def test_decode(height, width):
    made = [output[0] for output in outputs(height, width)]
    slow = slow_decode(made, height, width, 0.7)
    found = scrfd.decode(made, height, width, 0.7)
    assert len(found) == len(slow) > 0
    np.testing.assert_allclose(found.scores, [score for score, _, _ in slow])
    np.testing.assert_allclose(found.boxes, [box for _, box, _ in slow], rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(found.points, [points for _, _, points in slow], rtol=1e-5)


def test_decode_of_nothing():
    found = scrfd.decode([output[0] for output in outputs(64, 64)], 64, 64, threshold=2)
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)
    assert found.points.shape == (0, 5, 2)
    assert len(scrfd.suppress(found)) == 0


class Session:
    """In place of ONNX Runtime: keeps what it is fed, answers with made-up numbers."""

    def get_inputs(self):
        return [type("Input", (), {"name": "input"})]

    def run(self, names, feed):
        self.fed = feed["input"]
        count, _, height, width = self.fed.shape
        self.names = names
        return outputs(height, width, count)


def test_run_feeds_the_levels_that_the_network_expects(monkeypatch):
    session = Session()
    monkeypatch.setattr(scrfd, "_session", lambda: session)
    levels = torch.randint(0, 256, (2, 3, 64, 32))
    found = scrfd.run(levels / 127.5 - 1, threshold=0.9)
    expected = (levels.numpy() - 127.5) / 128
    np.testing.assert_allclose(session.fed, expected, atol=1e-6)
    assert session.fed.dtype == np.float32
    assert session.names[0] == "score_8"
    assert session.names[5] == "bbox_32"
    assert session.names[7] == "kps_16"
    assert len(found) == 2
    made = outputs(64, 32, 2)
    for n in range(2):
        slow = slow_decode([output[n] for output in made], 64, 32, 0.9)
        np.testing.assert_allclose(
            found[n].boxes, [box for _, box, _ in slow], rtol=1e-5, atol=1e-4
        )


def intersection_over_union(a, b) -> float:
    across = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    down = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return across * down / (areas - across * down)


@pytest.mark.parametrize("seed", range(4))
def test_suppress(seed):
    random = np.random.default_rng(seed)
    corner, size = random.uniform(0, 60, (40, 2)), random.uniform(5, 40, (40, 2))
    boxes = np.concatenate([corner, corner + size], axis=1).astype(np.float32)
    scores = random.random(40, dtype=np.float32)
    points = random.random((40, 5, 2), dtype=np.float32)
    kept: list[int] = []
    for index in sorted(range(40), key=lambda i: -scores[i]):
        if all(intersection_over_union(boxes[index], boxes[k]) <= 0.4 for k in kept):
            kept.append(index)
    found = scrfd.suppress(scrfd.Detections(boxes, scores, points), overlap=0.4)
    assert 1 < len(kept) < 40
    np.testing.assert_array_equal(found.scores, scores[kept])
    np.testing.assert_array_equal(found.boxes, boxes[kept])
    np.testing.assert_array_equal(found.points, points[kept])
