"""The rule behind the reference cases: weights and inputs are functions of a name and a shape.

Nothing large has to be stored, so these few files can stand in the project's own tests.
`keys.json` lists, per case, the tensor names and shapes of a checkpoint in the published format;
`cases.npz` holds what the published implementation gave for them (float32, CPU, eval mode,
stored noise maps). Images are kept at every fourth row and column.
"""

from __future__ import annotations

import math
import zlib

import numpy as np


def normal(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal float32 numbers that belong to `name`."""
    return np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape, dtype=np.float32)


def picture(name: str, shape: tuple[int, int, int, int]) -> np.ndarray:
    """(N, C, H, W) in [-1, 1]: a 16x16 mosaic of clipped normal numbers. H and W are multiples of 16."""
    n, c, h, w = shape
    mosaic = np.clip(normal(name, (n, c, 16, 16)), -1, 1)
    return mosaic.repeat(h // 16, axis=2).repeat(w // 16, axis=3)


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The array of a checkpoint's tensor `name`."""
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if (
        leaf == "kernel"
    ):  # FIR buffers that upsample: outer product of [1, 3, 3, 1], normalized, times 4
        taps = np.array([1.0, 3.0, 3.0, 1.0], np.float32)
        return np.outer(taps, taps) / 64.0 * 4.0
    x = normal(name, shape)
    if leaf == "running_var":
        return 1 + 0.1 * np.abs(x)
    if leaf == "running_mean":
        return 0.1 * x
    if name.startswith("decoder."):
        return _decoder_weight(name, leaf, x)
    if name.startswith("lin"):  # LPIPS heads are not negative
        return 0.1 * np.abs(x)
    if name.endswith(("input_layer.2.weight", "res_layer.2.weight")):  # PReLU slopes
        return 0.25 + 0.05 * x
    if leaf == "weight" and x.ndim == 4:
        return x * np.float32(math.sqrt(1.0 / np.prod(shape[1:])))
    if leaf == "weight" and x.ndim == 2:
        equalized = ".linear." in f".{name}"  # scaled by 1/sqrt(fan_in) at run time
        return x if equalized else x * np.float32(1.0 / math.sqrt(shape[1]))
    if leaf == "weight":  # batch-norm gain
        return 1 + 0.1 * x
    return 0.1 * x


def _decoder_weight(name: str, leaf: str, x: np.ndarray) -> np.ndarray:
    if ".style." in name:  # mapping network, lr_mul = 0.01
        return x * 100 if leaf == "weight" else x * 10
    if name.endswith("modulation.bias"):
        return 1 + 0.1 * x
    if name.endswith("noise.weight") or leaf == "bias":
        return 0.1 * x
    return x
