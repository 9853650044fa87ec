"""Small pictures, nets and features for the tests of evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from PIL import Image

from wplus import images


def smooth(seed: int, size: int = 256) -> Image.Image:
    """A picture of colored clouds."""
    cells = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(cells).resize((size, size), Image.Resampling.BICUBIC)


def write_pictures(folder: Path, count: int, first: int = 0) -> Path:
    folder.mkdir(exist_ok=True)
    for number in range(first, first + count):
        smooth(number).save(folder / f"{number:03d}.png")
    return folder


def write_face_net(path: Path, size: int = 112, channels: int = 3) -> Path:
    """A net that averages over a 4×4 grid: (1, 3, S, S) to (1, 48)."""
    step = size // 4
    nodes = [
        helper.make_node("AveragePool", ["x"], ["p"], kernel_shape=[step] * 2, strides=[step] * 2),
        helper.make_node("Flatten", ["p"], ["y"], axis=1),
    ]
    # As EdgeFace-S is: the graph promises any batch and gives one row.
    taken = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, channels, size, size])
    given = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, channels * 16])
    graph = helper.make_graph(nodes, "g", [taken], [given])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)
    return path


class Colors:
    """Five features of a picture, in place of Inception's 2,048."""

    dimension = 5

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        means = images.mean(dim=(2, 3))
        return torch.cat([means, images[:, :2].std(dim=(2, 3))], dim=1)


def tensor(seed: int) -> torch.Tensor:
    return images.to_tensor(smooth(seed))
