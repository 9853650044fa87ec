"""The face detector network: SCRFD 500M (Guo et al., "Sample and Computation Redistribution for
Efficient Face Detection", ICLR 2022), run by ONNX Runtime on the CPU.

At strides 8, 16 and 32 two anchors stand on every grid point. Each gives a score, the distances to
the four sides of a box and the offsets of five points (eyes, nose, mouth corners; the image's
left one first), in units of the stride.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from wplus import weights

if TYPE_CHECKING:
    import onnxruntime

ASSET = "scrfd-500m.onnx"
STRIDES = (8, 16, 32)
ANCHORS = 2
MULTIPLE = 32  # sides of an input are multiples of the largest stride
# It was trained on (level - 127.5) / 128; images in [-1, 1] are (level - 127.5) / 127.5.
_INPUT_GAIN = 255 / 256

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Detections:
    """K faces: boxes (K, 4) as left, top, right, bottom; scores (K,) in 0..1; points (K, 5, 2)."""

    boxes: Floats
    scores: Floats
    points: Floats

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, chosen: NDArray[np.intp] | NDArray[np.bool_]) -> Detections:
        return Detections(self.boxes[chosen], self.scores[chosen], self.points[chosen])


def run(images: torch.Tensor, threshold: float = 0.5) -> list[Detections]:
    """The faces in each of the images, before non-maximum suppression.

    Args:
        images: (N, 3, H, W) in [-1, 1], H and W multiples of 32.
        threshold: lowest score of a face.

    Returns:
        N detections in pixels of the images.

    Raises:
        WeightsError: the network cannot be fetched.
    """
    height, width = images.shape[2:]
    assert (height % MULTIPLE, width % MULTIPLE) == (0, 0), "the grids would not line up"
    session = _session()
    feed = {session.get_inputs()[0].name: (images * _INPUT_GAIN).numpy()}
    kinds = [f"{kind}_{stride}" for kind in ("score", "bbox", "kps") for stride in STRIDES]
    outputs = session.run(kinds, feed)
    return [
        decode([output[n] for output in outputs], height, width, threshold)
        for n in range(len(images))
    ]


def decode(outputs: Sequence[Floats], height: int, width: int, threshold: float) -> Detections:
    """Faces of one image from the nine outputs: scores, boxes and points, each at three strides."""
    boxes, scores, points = [], [], []
    for level, stride in enumerate(STRIDES):
        y, x = np.mgrid[: height // stride, : width // stride]
        grid = np.stack([x, y], axis=-1).reshape(-1, 2).repeat(ANCHORS, axis=0)
        score = outputs[level].reshape(-1)
        chosen = score >= threshold
        origin = (grid[chosen] * stride).astype(np.float32)
        sides = outputs[level + 3].reshape(-1, 4)[chosen] * stride
        offsets = outputs[level + 6].reshape(-1, 5, 2)[chosen] * stride
        boxes.append(np.concatenate([origin - sides[:, :2], origin + sides[:, 2:]], axis=1))
        points.append(origin[:, None] + offsets)
        scores.append(score[chosen])
    return Detections(np.concatenate(boxes), np.concatenate(scores), np.concatenate(points))


def suppress(found: Detections, overlap: float = 0.4) -> Detections:
    """Non-maximum suppression: the best of overlapping boxes, by intersection over union."""
    order = np.argsort(-found.scores, kind="stable")
    left, top, right, bottom = found.boxes.T
    areas = (right - left) * (bottom - top)
    kept = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(best)
        across = np.minimum(right[best], right[rest]) - np.maximum(left[best], left[rest])
        down = np.minimum(bottom[best], bottom[rest]) - np.maximum(top[best], top[rest])
        shared = np.clip(across, 0, None) * np.clip(down, 0, None)
        order = rest[shared <= overlap * (areas[best] + areas[rest] - shared)]
    return found[np.array(kept, np.intp)]


_session_lock = threading.Lock()
_sessions: list[onnxruntime.InferenceSession] = []


def _session() -> onnxruntime.InferenceSession:
    """The one session of this process (its `run` may be called from several threads)."""
    with _session_lock:
        if not _sessions:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.log_severity_level = 3  # errors only
            # The network is too small for more threads.
            options.intra_op_num_threads = min(4, os.cpu_count() or 1)
            options.inter_op_num_threads = 1
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            path = str(weights.path(ASSET))
            _sessions.append(
                onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            )
        return _sessions[0]
