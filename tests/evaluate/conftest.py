"""A tiny model, a judge that needs no file to be fetched, and pictures with something in them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from toy_evaluation import Colors, write_face_net, write_pictures

from wplus import models
from wplus.config import ModelConfig, Part
from wplus.encoders import CompactEncoder
from wplus.evaluate import FaceNet, Judge
from wplus.generators import MobileStyleGAN
from wplus.losses import LPIPS
from wplus.psp import PSP

GENERATOR = {"style_dim": 16, "mapping_layers": 2, "stem_channels": 16, "channels": (8,) * 6}


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 512² with an encoder, in our format."""
    torch.manual_seed(0)
    generator = MobileStyleGAN(**GENERATOR)
    generator.mean_w = generator.estimate_mean_w(200)
    options = {
        "style_resolutions": generator.style_resolutions,
        "style_dim": 16,
        "width": 8,
        "narrow": 2,
        "stem": 8,
        "stages": ((8, 8, 1), (8, 8, 1), (8, 8, 1)),
    }
    config = ModelConfig(Part("mobilestylegan", GENERATOR), Part("compact", options))
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    models.save(PSP(CompactEncoder(**options), generator, config), path)
    return path


@pytest.fixture(scope="session")
def model(model_file: Path) -> PSP:
    loaded = models.load_network(model_file)
    assert isinstance(loaded, PSP)
    return loaded


@pytest.fixture(scope="session")
def face_net_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_face_net(tmp_path_factory.mktemp("nets") / "grid.onnx")


@pytest.fixture(scope="session")
def judge(face_net_file: Path) -> Judge:
    """Every metric, with nets that need no file to be fetched."""
    torch.manual_seed(1)
    lpips = LPIPS("alexnet")
    for head in lpips.heads:
        head.data.uniform_(0, 1)
    return Judge({"alexnet": lpips}, FaceNet(face_net_file), Colors())


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "photos", 5)
