"""A face stylizer of MediaPipe as a function on tensors: a photograph of a face to its drawing.

The network (BlazeStyleGAN, 256²) stands in a `.task` file, which is an archive of TensorFlow Lite
graphs. MediaPipe's own runtime finds the face and crops it again, which moves it. Samples of the
generator are aligned already; so the graph is read here and run as it stands, which needs only the
package `tflite` (the file format).
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

MEMBER = "face_stylizer.tflite"
DTYPES = {0: np.float32, 1: np.float16, 2: np.int32, 4: np.int64, 6: np.bool_}
SKIPPED = ("CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE")
"""The running means of batch norms: the graph was exported with the statistics of its input."""


class Stylizer:
    """The graph, ready to run.

    Args:
        task: path of the `.task` file.
        seed: of the noise in the drawing. It is the same for every picture, so that a drawing
            follows from its photograph and a generator can learn it.
    """

    def __init__(self, task: Path, seed: int = 0, dtype: torch.dtype = torch.float32) -> None:
        import tflite

        with zipfile.ZipFile(task) as archive:
            model = tflite.Model.GetRootAsModel(archive.read(MEMBER), 0)
        graph = model.Subgraphs(0)
        names = {v: k for k, v in vars(tflite.BuiltinOperator).items() if isinstance(v, int)}
        self.constants: dict[int, Tensor] = {}
        for i in range(graph.TensorsLength()):
            tensor = graph.Tensors(i)
            data = model.Buffers(tensor.Buffer())
            if data.DataLength():
                shape = tensor.ShapeAsNumpy() if tensor.ShapeLength() else ()
                values = data.DataAsNumpy().view(DTYPES[tensor.Type()]).reshape(shape)
                self.constants[i] = torch.from_numpy(values.copy())
        self.steps: list[tuple[str, list[int], list[int], Any]] = []
        for i in range(graph.OperatorsLength()):
            step = graph.Operators(i)
            code = model.OperatorCodes(step.OpcodeIndex())
            name = names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
            if name == "CUSTOM":
                name = code.CustomCode().decode()
            if name not in SKIPPED:
                taken = [int(k) for k in step.InputsAsNumpy()] if step.InputsLength() else []
                made = [int(k) for k in step.OutputsAsNumpy()]
                self.steps.append((name, taken, made, _options(tflite, name, step)))
        self.first, self.last = int(graph.InputsAsNumpy()[0]), int(graph.OutputsAsNumpy()[0])
        for i, value in self.constants.items():
            self.constants[i] = value.to(dtype) if value.is_floating_point() else value
        self.seed, self.dtype = seed, dtype

    @torch.no_grad()
    def __call__(self, photographs: Tensor) -> Tensor:
        """(N, 3, 256, 256) in [-1, 1] to drawings of the same shape and range."""
        return torch.cat([self._one(picture[None]) for picture in photographs])

    def _one(self, picture: Tensor) -> Tensor:
        rng = torch.Generator().manual_seed(self.seed)
        values = dict(self.constants)
        values[self.first] = picture.permute(0, 2, 3, 1).to(self.dtype)
        for name, taken, made, options in self.steps:
            inputs = [values[k] for k in taken if k in values]
            if name == "RANDOM_STANDARD_NORMAL":
                values[made[0]] = torch.randn(inputs[0].tolist(), generator=rng).to(self.dtype)
            else:
                values[made[0]] = RUN[name](options, *inputs)
        drawing = values[self.last].permute(0, 3, 1, 2).float()
        return (2 * drawing - 1).clamp(-1, 1).contiguous()


def _options(tflite: Any, name: str, step: Any) -> Any:
    """The settings of an operator, of the class that goes with it."""
    kind = {
        "CONV_2D": "Conv2DOptions",
        "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
        "FULLY_CONNECTED": "FullyConnectedOptions",
        "LEAKY_RELU": "LeakyReluOptions",
        "ADD": "AddOptions",
        "MUL": "MulOptions",
        "STRIDED_SLICE": "StridedSliceOptions",
        "RESIZE_BILINEAR": "ResizeBilinearOptions",
        "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighborOptions",
        "PACK": "PackOptions",
        "CONCATENATION": "ConcatenationOptions",
    }.get(name)
    table = step.BuiltinOptions()
    if kind is None or table is None:
        return None
    options = getattr(tflite, kind)()
    options.Init(table.Bytes, table.Pos)
    return options


def _activate(options: Any, x: Tensor) -> Tensor:
    kind = options.FusedActivationFunction()
    if kind not in (0, 1, 3):
        raise NotImplementedError(f"activation {kind}")
    return (x, x.relu(), x, x.clamp(0, 6))[kind]


def _convolve(options: Any, x: Tensor, weight: Tensor, bias: Tensor, groups: int) -> Tensor:
    """Pictures (N, H, W, C) with a weight (out, in / groups, kh, kw)."""
    stride = (options.StrideH(), options.StrideW())
    dilation = (options.DilationHFactor(), options.DilationWFactor())
    x = x.permute(0, 3, 1, 2)
    if options.Padding() == 0:  # SAME: what is left over goes below and to the right
        pads: list[int] = []
        for size, kernel, step, spread in zip(x.shape[2:], weight.shape[2:], stride, dilation):
            reach = spread * (kernel - 1) + 1
            total = max((-(-size // step) - 1) * step + reach - size, 0)
            pads = [total // 2, total - total // 2, *pads]
        x = F.pad(x, pads)
    x = F.conv2d(x, weight, bias, stride, 0, dilation, groups)
    return _activate(options, x.permute(0, 2, 3, 1))


def _conv(options: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return _convolve(options, x, weight.permute(0, 3, 1, 2), bias, x.shape[3] // weight.shape[3])


def _depthwise(options: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return _convolve(options, x, weight.permute(3, 0, 1, 2), bias, x.shape[3])


def _resize(mode: str) -> Callable[..., Tensor]:
    def run(options: Any, x: Tensor, size: Tensor) -> Tensor:
        x = x.permute(0, 3, 1, 2)
        if mode == "nearest":
            x = F.interpolate(x, tuple(size.tolist()), mode=mode)
        elif options.HalfPixelCenters():
            x = F.interpolate(x, tuple(size.tolist()), mode=mode, align_corners=False)
        else:
            raise NotImplementedError("bilinear resizing without half-pixel centers")
        return x.permute(0, 2, 3, 1)

    return run


def _norm(_: Any, x: Tensor, scale: Tensor, offset: Tensor, *__: Tensor) -> Tensor:
    variance, mean = torch.var_mean(x.float(), (0, 1, 2), unbiased=False)
    factor = scale * torch.rsqrt(variance + 1e-3)
    return (x * factor + (offset - mean * factor)).to(x.dtype)


def _strided_slice(options: Any, x: Tensor, begin: Tensor, end: Tensor, stride: Tensor) -> Tensor:
    place: list[Any] = []
    for axis, (first, last, step) in enumerate(zip(begin.tolist(), end.tolist(), stride.tolist())):
        bit = 1 << axis
        if options.ShrinkAxisMask() & bit:
            place.append(first)
            continue
        low = None if options.BeginMask() & bit else first
        high = None if options.EndMask() & bit else last
        place.append(slice(low, high, step))
    return x[tuple(place)]


def _slice(_: Any, x: Tensor, begin: Tensor, size: Tensor) -> Tensor:
    ends = [low + n if n >= 0 else None for low, n in zip(begin.tolist(), size.tolist())]
    return x[tuple(slice(low, high) for low, high in zip(begin.tolist(), ends))]


def _pad(_: Any, x: Tensor, amount: Tensor) -> Tensor:
    return F.pad(x, [int(n) for pair in amount.flip(0).tolist() for n in pair])


def _space_to_batch(_: Any, x: Tensor, block: Tensor, pads: Tensor) -> Tensor:
    (top, bottom), (left, right) = pads.tolist()
    x = F.pad(x, (0, 0, left, right, top, bottom))
    n, height, width, channels = x.shape
    a, b = block.tolist()
    x = x.reshape(n, height // a, a, width // b, b, channels).permute(2, 4, 0, 1, 3, 5)
    return x.reshape(n * a * b, height // a, width // b, channels)


def _batch_to_space(_: Any, x: Tensor, block: Tensor, crops: Tensor) -> Tensor:
    a, b = block.tolist()
    n, height, width, channels = x.shape
    x = x.reshape(a, b, n // (a * b), height, width, channels).permute(2, 3, 0, 4, 1, 5)
    x = x.reshape(n // (a * b), height * a, width * b, channels)
    (top, bottom), (left, right) = crops.tolist()
    return x[:, top : height * a - bottom, left : width * b - right]


RUN: dict[str, Callable[..., Tensor]] = {
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": lambda o, x, w, b: _activate(o, F.linear(x, w, b)),
    "FusedBatchNormV3": _norm,
    "LEAKY_RELU": lambda o, x: F.leaky_relu(x, o.Alpha()),
    "RELU6": lambda _, x: x.clamp(0, 6),
    "TANH": lambda _, x: x.tanh(),
    "ADD": lambda o, x, y: _activate(o, x + y),
    "MUL": lambda o, x, y: _activate(o, x * y),
    "RESHAPE": lambda _, x, shape: x.reshape(shape.tolist()),
    "SHAPE": lambda _, x: torch.tensor(x.shape),
    "PACK": lambda o, *xs: torch.stack([x.long() for x in xs], o.Axis()),
    "TILE": lambda _, x, times: x.repeat(times.tolist()),
    "TRANSPOSE": lambda _, x, order: x.permute(order.tolist()),
    "CONCATENATION": lambda o, *xs: torch.cat(xs, o.Axis()),
    "RESIZE_BILINEAR": _resize("bilinear"),
    "RESIZE_NEAREST_NEIGHBOR": _resize("nearest"),
    "STRIDED_SLICE": _strided_slice,
    "SLICE": _slice,
    "PAD": _pad,
    "SPACE_TO_BATCH_ND": _space_to_batch,
    "BATCH_TO_SPACE_ND": _batch_to_space,
}
