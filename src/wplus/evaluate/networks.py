"""Networks of metrics: a face network that no loss uses, and the Inception features of FID."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from wplus import weights
from wplus.errors import FormatError, WeightsError
from wplus.formats.opening import line, opened
from wplus.losses.identity import COLUMNS, ROWS, SIZE

FACE_NET = "edgeface-s.onnx"
INCEPTION = "inception-fid.pt"
INCEPTION_SIZE = 299
_INCEPTION_GAIN, _INCEPTION_SHIFT = 255 / 256, -1 / 256  # trained on (level − 128) / 128


class FaceNet:
    """A face-recognition network in an ONNX file, run by ONNX Runtime on the CPU.

    Faces are cropped from 256² FFHQ-aligned images by the fixed crop of the identity loss, without
    a detector, which would skip reconstructions without a face: the worst results of a model.

    Args:
        path: takes (1, 3, S, S), RGB in [-1, 1], and gives (1, D). None fetches EdgeFace-S, which
            no loss of this library uses.

    Raises:
        FormatError: the file is missing, damaged, or no face network.
        WeightsError: EdgeFace-S cannot be fetched.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        import onnxruntime

        self.name = "EdgeFace-S" if path is None else Path(path).stem
        file = weights.path(FACE_NET) if path is None else Path(path)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # errors are raised, too
        options.intra_op_num_threads = min(4, os.cpu_count() or 1)
        options.inter_op_num_threads = 1
        with opened(file) as found:
            try:
                self._session = onnxruntime.InferenceSession(
                    found.stream.read(), options, providers=["CPUExecutionProvider"]
                )
            except Exception as error:  # of ONNX Runtime's own kinds
                raise FormatError(f"ONNX Runtime cannot read it ({line(error)})") from error
            inputs = self._session.get_inputs()
            shape = inputs[0].shape if inputs else []
            if len(inputs) != 1 or len(shape) != 4 or shape[1] != 3:
                raise FormatError(f"is no face network: it must take (1, 3, S, S), not {shape}")
            self._input = inputs[0].name
            self.size = next((side for side in shape[2:] if isinstance(side, int)), 112)
            probe = self._run(np.zeros((1, 3, self.size, self.size), np.float32))
            if probe.ndim != 2 or len(probe) != 1:
                raise FormatError(f"is no face network: it must give (1, D), not {probe.shape}")

    def embed(self, images: Tensor) -> Tensor:
        """Unit vectors (N, D) float32 on the CPU, of images (N, 3, 256, 256) in [-1, 1].

        A row is NaN where the network's vector is zero or not finite.
        """
        if images.ndim != 4 or images.shape[1:] != (3, SIZE, SIZE):
            raise ValueError(f"faces are embedded from (N, 3, {SIZE}, {SIZE}), not {images.shape}")
        faces = F.adaptive_avg_pool2d(images[:, :, ROWS, COLUMNS], self.size)
        pixels = faces.detach().cpu().float().numpy()
        # One by one: EdgeFace-S and other exported networks have a batch of 1 in their graphs.
        rows = [self._run(pixels[i : i + 1]) for i in range(len(pixels))]
        vectors = torch.from_numpy(np.concatenate(rows))
        length = vectors.norm(dim=1, keepdim=True)
        known = torch.isfinite(length) & (length > 0)
        return torch.where(known, vectors / length, torch.nan)

    def _run(self, pixels: np.ndarray) -> np.ndarray:
        try:
            return np.asarray(self._session.run(None, {self._input: pixels})[0], np.float32)
        except Exception as error:
            raise FormatError(
                f"the face network {self.name} does not run: {line(error)}"
            ) from error


class InceptionFeatures:
    """The 2,048 features of the network that FID is defined by.

    The file is TorchScript, so loading it runs a program. That is acceptable for this file only:
    its sha256 is checked before it is loaded, its code was reviewed (convolutions and pooling), and
    TorchScript contains no Python.

    Args:
        device: where it runs.

    Raises:
        WeightsError: the file cannot be fetched or loaded.
    """

    dimension = 2048

    def __init__(self, device: torch.device | str = "cpu") -> None:
        file = weights.path(INCEPTION)
        self.device = torch.device(device)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit as a whole
                net = torch.jit.load(str(file), map_location=self.device)  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            raise WeightsError(f"{file}: cannot be loaded ({line(error)})") from error
        self._net = net.eval()

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Features (N, 2048) float32 of images (N, 3, H, W) in [-1, 1]."""
        pixels = tensorflow_resize(images.to(self.device, torch.float32), INCEPTION_SIZE)
        features: Tensor = self._net(pixels * _INCEPTION_GAIN + _INCEPTION_SHIFT)
        if features.shape != (len(images), self.dimension):
            raise WeightsError(f"Inception gave {tuple(features.shape)}, not (N, 2048)")
        return features


def tensorflow_resize(images: Tensor, size: int) -> Tensor:
    """Bilinear (N, C, H, W) -> (N, C, size, size) as in TensorFlow 1, for FID.

    Pixel i of the result lies at i·H/size of the image: corners, not centers of pixels, are
    aligned, and nothing is smoothed. Published FIDs are computed this way.
    """
    rows = _bilinear(images.shape[2], size).to(images)
    columns = _bilinear(images.shape[3], size).to(images)
    return rows @ images @ columns.T


def _bilinear(length: int, size: int) -> Tensor:
    """(size, length): weights of the pixels in each pixel of the result."""
    at = torch.arange(size, dtype=torch.float64) * (length / size)
    left = at.floor().long().clamp(max=length - 1)
    right = (left + 1).clamp(max=length - 1)
    share = (at - left).clamp(max=1.0)
    matrix = torch.zeros(size, length, dtype=torch.float64)
    row = torch.arange(size)
    matrix.index_put_((row, left), 1 - share, accumulate=True)
    matrix.index_put_((row, right), share, accumulate=True)
    return matrix
