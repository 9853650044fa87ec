"""A tiny model, metrics whose networks need not be fetched, and images with something in them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from toy_evaluation import Colors, write_face_net, write_pictures

from wplus import models
from wplus.config import ModelConfig, Part
from wplus.encoders import CompactEncoder
from wplus.evaluate import FaceNet, Measure, Scorer
from wplus.evaluate.frechet import FeatureStatistics, frechet_distance
from wplus.evaluate.metrics import METRICS, LoadOptions
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
def lpips() -> LPIPS:
    torch.manual_seed(1)
    lpips = LPIPS("alexnet")
    for head in lpips.heads:
        head.data.uniform_(0, 1)
    return lpips


@pytest.fixture
def face_net(face_net_file: Path) -> FaceNet:
    return FaceNet(face_net_file)


@pytest.fixture
def scorer(lpips: LPIPS, face_net: FaceNet) -> Scorer:
    """Every kind of metric, with networks that need no file to be fetched."""
    colors = Colors()
    measures = {
        "lpips_alexnet": Measure(lpips.distance, lpips.features),
        **{name: METRICS[name].load(LoadOptions()) for name in ("mse", "psnr")},
        "identity": Measure(
            lambda a, b: (a * b).sum(1), lambda x: face_net.embed(x), network=face_net.name
        ),
        "fid": Measure(
            lambda a, b: frechet_distance(b, a), colors, lambda: FeatureStatistics(colors.dimension)
        ),
    }
    return Scorer(measures)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "photos", 5)
