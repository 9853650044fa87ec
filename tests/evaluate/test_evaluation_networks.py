"""Networks of metrics: any ONNX face network, and Inception with the input that it expects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from PIL import Image
from toy_evaluation import smooth, tensor, write_face_net

from wplus import images
from wplus.errors import FormatError
from wplus.evaluate import FaceNet
from wplus.evaluate.frechet import FeatureStatistics, frechet_distance
from wplus.evaluate.networks import InceptionFeatures, tensorflow_resize


def test_faces_are_cropped_and_averaged(face_net_file: Path) -> None:
    pictures = torch.cat([tensor(0), tensor(1), tensor(2)])
    found = FaceNet(face_net_file).embed(pictures).numpy()
    for row, picture in zip(found, pictures.numpy()):
        crop = picture[:, 35:223, 32:220]
        # 188 pixels to 112 cells: a cell is the mean of all pixels that it touches.
        edges = [(i * 188 // 112, -(-(i + 1) * 188 // 112)) for i in range(112)]
        rows = np.stack([crop[:, top:bottom].mean(axis=1) for top, bottom in edges], axis=1)
        face = np.stack([rows[:, :, left:right].mean(axis=2) for left, right in edges], axis=2)
        vector = face.reshape(3, 4, 28, 4, 28).mean(axis=(2, 4)).ravel()  # the toy net
        np.testing.assert_allclose(row, vector / np.linalg.norm(vector), rtol=1e-4, atol=1e-5)


def test_the_size_of_the_net_is_followed(tmp_path: Path) -> None:
    net = FaceNet(write_face_net(tmp_path / "large.onnx", size=160))
    assert (net.size, net.name) == (160, "large")
    assert net.embed(tensor(0)).shape == (1, 48)


def test_a_face_without_a_vector_is_not_a_number(face_net_file: Path) -> None:
    pictures = torch.cat([tensor(0), torch.zeros(1, 3, 256, 256), tensor(1)])
    assert torch.isfinite(FaceNet(face_net_file).embed(pictures)).all(dim=1).tolist() == [
        True,
        False,
        True,
    ]


def test_other_files_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"missing\.onnx: no such file"):
        FaceNet(tmp_path / "missing.onnx")
    text = tmp_path / "text.onnx"
    text.write_bytes(bytes(range(256)) * 4)
    with pytest.raises(FormatError, match=r"text\.onnx: ONNX Runtime cannot read it"):
        FaceNet(text)
    gray = write_face_net(tmp_path / "gray.onnx", channels=1)
    with pytest.raises(FormatError, match=r"gray\.onnx: is no face network: it must take"):
        FaceNet(gray)
    node = helper.make_node("Identity", ["x"], ["y"])
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 8, 8]) for name in "xy"]
    graph = helper.make_graph([node], "g", values[:1], values[1:])
    same = tmp_path / "same.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), same
    )
    with pytest.raises(FormatError, match=r"same\.onnx: is no face network: it must give"):
        FaceNet(same)


def slow_resize(channel: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """TensorFlow 1: source = index · scale, neighbors clamped at the border."""
    height, width = channel.shape
    out = np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            y, x = i * height / size, j * width / size
            top, left = int(y), int(x)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            dy, dx = y - top, x - left
            upper = channel[top, left] * (1 - dx) + channel[top, right] * dx
            lower = channel[bottom, left] * (1 - dx) + channel[bottom, right] * dx
            out[i, j] = upper * (1 - dy) + lower * dy
    return out


@pytest.mark.parametrize(("shape", "size"), [((20, 20), 29), ((31, 18), 24), ((9, 9), 9)])
def test_resizing_is_tensorflows(shape: tuple[int, int], size: int) -> None:
    picture = np.random.default_rng(0).normal(size=shape)
    found = tensorflow_resize(torch.from_numpy(picture)[None, None], size)[0, 0]
    np.testing.assert_allclose(found.numpy(), slow_resize(picture, size), atol=1e-12)


@pytest.mark.network
def test_edgeface_knows_people() -> None:
    skimage = pytest.importorskip("skimage.data")
    from wplus import faces

    [found] = faces.align(Image.fromarray(skimage.astronaut()))
    face = images.to_tensor(found.image)
    same = (face * 0.7 + 0.1).flip(3)  # mirrored and paler, but the same person
    net = FaceNet()
    assert net.name == "EdgeFace-S"
    one, other, clouds = net.embed(torch.cat([face, same, tensor(0)]))
    assert one.shape == (512,)
    assert float(one @ other) > 0.7
    assert float(one @ clouds) < 0.3


@pytest.mark.network
def test_inception() -> None:
    net = InceptionFeatures()
    pictures = torch.cat(
        [images.to_tensor(smooth(seed, 64 + 16 * seed).resize((256, 256))) for seed in range(4)]
    )
    found = net(pictures)
    assert found.shape == (4, 2048)
    assert found.min() >= 0  # they come from a ReLU and a mean, not from the classes
    torch.testing.assert_close(net(pictures[1:2]), found[1:2], rtol=1e-3, atol=1e-4)
    one = FeatureStatistics(2048)
    one.update(found)
    assert frechet_distance(one, one) < 1e-9


@pytest.mark.network
def test_inceptions_input_range(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first batch norm remembers what it was trained on: RGB in [-1, 1], not [0, 1] or BGR."""
    skimage = pytest.importorskip("skimage.data")
    net = InceptionFeatures()
    first = net._net.net.layers.conv
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(net, "_net", lambda x: seen.append(x) or torch.zeros(1, 2048))
    net(images.to_tensor(Image.fromarray(skimage.astronaut())))
    misfits = []
    for pixels in (seen[0], seen[0] / 2 + 0.5, seen[0].flip(1)):
        means = torch.conv2d(pixels, first.weight, None, 2).mean(dim=(0, 2, 3))
        misfits.append(float(((means - first.mean) / first.var.sqrt()).abs().mean()))
    right, unsigned, swapped = misfits  # 0.26, 0.56 and 0.48
    assert right < 0.35
    assert unsigned > 1.7 * right
    assert swapped > 1.5 * right
