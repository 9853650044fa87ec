"""Checkpoints of e4e and ReStyle, against their papers' formulas written out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import published
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import wplus
from wplus import models
from wplus.encoders import PyramidEncoder
from wplus.errors import FormatError

DIM, RESOLUTION, STYLES = published.STYLE_DIM, 32, 8


def checkpoint(levels: str, channels: int, **options: Any) -> dict[str, Any]:
    made: Any = PyramidEncoder(STYLES, channels, DIM, published.STAGES, levels=levels)  # type: ignore[arg-type]
    encoder = published.unusual(made, seed=1)
    content = published.checkpoint(encoder, published.generator(RESOLUTION), "pyramid")  # type: ignore[arg-type]
    content["opts"] = {"start_from_latent_avg": True, "dataset_type": "ffhq_encode", **options}
    return content


def load(folder: Path, content: object) -> wplus.PSP:
    torch.save(content, folder / "a.pt")
    return wplus.load(folder / "a.pt")


def heads(state: dict[str, Tensor], trunk: nn.Module, x: Tensor, pyramid: bool) -> list[Tensor]:
    """map2style of every style, from the published tensors."""
    c1, c2, c3 = trunk.features(x)  # type: ignore[operator]
    maps = [c3] * STYLES
    if pyramid:
        for start, name, feature in ((3, "latlayer1", c2), (7, "latlayer2", c1)):
            weight, bias = state[f"encoder.{name}.weight"], state[f"encoder.{name}.bias"]
            size = feature.shape[2:]
            larger = F.interpolate(maps[-1], size=size, mode="bilinear", align_corners=True)
            maps[start:] = [larger + F.conv2d(feature, weight, bias)] * (STYLES - start)
    codes = []
    for i, y in enumerate(maps):
        k = 0
        while (name := f"encoder.styles.{i}.convs.{2 * k}") + ".weight" in state:
            y = F.conv2d(y, state[f"{name}.weight"], state[f"{name}.bias"], stride=2, padding=1)
            y, k = torch.where(y > 0, y, 0.01 * y), k + 1
        y = y.reshape(-1, DIM) / DIM**0.5
        codes.append(
            y @ state[f"encoder.styles.{i}.linear.weight"].T
            + state[f"encoder.styles.{i}.linear.bias"]
        )
    return codes


def deltas(codes: list[Tensor]) -> list[Tensor]:
    return [codes[0], *(codes[0] + delta for delta in codes[1:])]


@pytest.mark.parametrize("named", [True, False])
def test_e4e(tmp_path: Path, named: bool) -> None:
    options = {"encoder_type": "Encoder4Editing"} if named else {"stylegan_size": RESOLUTION}
    content = checkpoint("coarse_to_fine", 3, **options)
    model = load(tmp_path, content)
    x = torch.rand(2, 3, 256, 256) * 2 - 1
    assert model.encoder is not None
    codes = deltas(heads(content["state_dict"], model.encoder.trunk, x, pyramid=True))  # type: ignore[arg-type]
    expected = torch.stack(codes, 1) + content["latent_avg"]
    torch.testing.assert_close(model.encode(x), expected, atol=1e-4, rtol=1e-4)
    plain = torch.stack([codes[0], *(c - codes[0] for c in codes[1:])], 1) + content["latent_avg"]
    assert (plain - expected).abs().max() > 0.01
    models.convert(tmp_path / "a.pt", tmp_path / "a.safetensors")
    assert torch.equal(wplus.load(tmp_path / "a.safetensors").encode(x), model.encode(x))


@pytest.mark.parametrize("count", [None, 2])
@pytest.mark.parametrize(
    ("name", "levels", "progressive"),
    [
        ("BackboneEncoder", "smallest", False),
        ("ProgressiveBackboneEncoder", "smallest", True),
        ("GradualStyleEncoder", "coarse_to_fine", False),
    ],
)
def test_restyle(
    tmp_path: Path, name: str, levels: str, progressive: bool, count: int | None
) -> None:
    options = {"encoder_type": name, "input_nc": 6}
    if count or levels == "coarse_to_fine":
        options["n_iters_per_batch"] = count or 5
    content = checkpoint(levels, 6, **options)
    model = load(tmp_path, content)
    x = torch.rand(2, 3, 256, 256) * 2 - 1
    codes = content["latent_avg"].expand(2, STYLES, DIM)
    assert model.encoder is not None
    for _ in range(count or 5):
        shown = F.adaptive_avg_pool2d(model.generator.synthesize(codes), 256)
        found = heads(
            content["state_dict"],
            model.encoder.trunk,  # type: ignore[arg-type]
            torch.cat([x, shown], 1),
            pyramid=levels != "smallest",
        )
        codes = codes + torch.stack(deltas(found) if progressive else found, 1)
    scale = codes.abs().max()
    torch.testing.assert_close(model.encode(x) / scale, codes / scale, atol=1e-4, rtol=1e-4)
    assert (model.config.task, model.config.source) == ("inversion", "photo")
    models.convert(tmp_path / "a.pt", tmp_path / "a.safetensors")
    assert torch.equal(wplus.load(tmp_path / "a.safetensors").encode(x), model.encode(x))


@pytest.mark.parametrize(
    ("levels", "channels", "options", "reason"),
    [
        ("smallest", 6, {}, "may be of BackboneEncoder or of ProgressiveBackboneEncoder"),
        ("coarse_to_fine", 3, {}, "may be of GradualStyleEncoder or of Encoder4Editing"),
        ("coarse_to_fine", 6, {"encoder_type": "GradualStyleEncoder"}, "label maps or of ReStyle"),
        ("smallest", 9, {"encoder_type": "BackboneEncoder"}, "ReStyle encoder of 9 channels"),
        ("smallest", 6, {"encoder_type": "ResNetBackboneEncoder"}, "on a ResNet-34"),
        (
            "smallest",
            6,
            {"encoder_type": "BackboneEncoder", "n_iters_per_batch": 10**9},
            "n_iters_per_batch",
        ),
    ],
)
def test_what_cannot_be_told_apart(
    tmp_path: Path, levels: str, channels: int, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(FormatError, match=reason):
        load(tmp_path, checkpoint(levels, channels, **options))


def test_six_classes_of_labels(tmp_path: Path) -> None:
    options = {"encoder_type": "GradualStyleEncoder", "dataset_type": "mine", "label_nc": 6}
    model = load(tmp_path, checkpoint("coarse_to_fine", 6, **options))
    assert model.config.source == "labels"
    assert model.encoder is not None
    assert model.encoder.input_channels == 6
