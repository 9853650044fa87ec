"""Small models of every kind."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from wplus import models
from wplus.config import ModelConfig, Part
from wplus.encoders import Encoder
from wplus.generators import Generator
from wplus.models.registry import CORRECTORS
from wplus.psp import PSP

STAGES = ((4, 1), (6, 1), (8, 1), (12, 1))
FACE_STAGES = ((4, 4, 1), (6, 4, 0), (8, 6, 1))

GENERATORS = {
    "stylegan2": Part(
        "stylegan2",
        {
            "resolution": 16,
            "style_dim": 12,
            "mapping_layers": 2,
            "channel_base": 64,
            "channel_max": 6,
            "clamp": 256.0,
        },
    ),
    "mobilestylegan": Part(
        "mobilestylegan",
        {"style_dim": 12, "mapping_layers": 2, "stem_channels": 8, "channels": (8, 4)},
    ),
}
STYLES = {"stylegan2": 6, "mobilestylegan": 8}


def encoders(num_styles: int) -> dict[str, Part]:
    common = {"num_styles": num_styles, "style_dim": 12, "stages": STAGES, "input_size": 64}
    kinds = (
        *("pyramid", "all_from_largest", "all_from_smallest", "single_w", "naive_wplus"),
        *("progressive", "progressive_from_smallest", "iterative"),
    )
    parts = {kind: Part(kind, common) for kind in kinds}
    parts["compact"] = Part(
        "compact",
        {
            "style_resolutions": (4, 4, 8, 16, 32, 64, 64, 128)[:num_styles],
            "style_dim": 12,
            "width": 6,
            "narrow": 2,
            "input_size": 64,
            "stem": 4,
            "stages": FACE_STAGES,
        },
    )
    return parts


FROZEN = {
    "arcface": Part(
        "arcface",
        {"trunk": {"stages": ((4, 1), (6, 1)), "se": False}, "embedding": 8, "size": 16},
    ),
    "mobilefacenet": Part(
        "mobilefacenet",
        {
            "input_channels": 3,
            "stem": 4,
            "stages": FACE_STAGES,
            "head": 6,
            "squeeze": 4,
            "embedding": 8,
            "size": 32,
        },
    ),
    "resnet": Part("resnet", {"blocks": (1, 1), "width": 4}),
    "bisenet": Part("bisenet", {"classes": 5, "width": 4}),
    "lpips": Part("lpips", {"net": "alexnet"}),
}


def unusual(network: nn.Module, seed: int = 0) -> nn.Module:
    """Every tensor at a value that nothing would start with; in evaluation mode, frozen."""
    rng = torch.Generator().manual_seed(seed)
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            change = 0.1 * torch.randn(value.shape, generator=rng)
            value.add_(change.abs() if name.endswith("running_var") else change)
        else:
            value.fill_(7)
    return network.eval().requires_grad_(False)


def model(generator: str = "stylegan2", encoder: str | None = "pyramid", **settings: Any) -> PSP:
    """A PSP of small parts."""
    part = encoders(STYLES[generator])[encoder] if encoder else None
    config = ModelConfig(GENERATORS[generator], part, **settings)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = models.build(config.generator)
        reader = models.build(part) if part else None
    assert isinstance(made, Generator)
    assert reader is None or isinstance(reader, Encoder)
    network = unusual(PSP(reader, made, config))
    assert isinstance(network, PSP)
    return network


CORRECTOR = Part(
    "features",
    {"resolution": 8, "channels": (8, 4), "widths": (16, 8), "depths": (2, 1), "kernels": (3, 3)},
)


def corrected_model() -> PSP:
    """A frozen model with a corrector in which nothing is at zero."""
    plain = model("mobilestylegan", "compact")
    corrector = models.build(CORRECTOR, CORRECTORS)
    torch.manual_seed(5)
    for parameter in corrector.parameters():
        nn.init.normal_(parameter, std=0.2)
    config = replace(plain.config, corrector=CORRECTOR)
    return PSP(plain.encoder, plain.generator, config, corrector).eval().requires_grad_(False)
