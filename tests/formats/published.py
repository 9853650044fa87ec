"""Small networks of ours under the names, and in the shapes, of the published files.

Written by hand and not from the tables of `wplus.formats`, which these files are to test. That the
names are the published ones is what the reference cases show.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn

from wplus.encoders import Encoder, NaiveWPlusEncoder, PyramidEncoder, SingleWEncoder
from wplus.generators import StyleGAN2

TAPS = torch.tensor([1.0, 3.0, 3.0, 1.0])
STYLE_DIM = 24
STAGES = ((6, 1), (8, 2), (12, 1), (STYLE_DIM, 1))


def unusual(network: nn.Module, seed: int = 0) -> nn.Module:
    """Every tensor at a value that nothing would start with; in evaluation mode, frozen."""
    rng = torch.Generator().manual_seed(seed)
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            change = 0.1 * torch.randn(value.shape, generator=rng)
            value.add_(change.abs() if name.endswith("running_var") else change)
    return network.eval().requires_grad_(False)


def generator(resolution: int = 16) -> StyleGAN2:
    made = StyleGAN2(resolution, STYLE_DIM, 3, channel_base=8 * resolution, channel_max=20)
    unusual(made).mean_w.zero_()  # type: ignore[operator, union-attr]
    return made


def port(generator: StyleGAN2, prefix: str = "") -> dict[str, Tensor]:
    """Rosinality's layout."""
    ours = generator.state_dict()
    theirs = {"input.input": ours["constant"]}
    for i in range(len(generator.mapping.layers)):  # a pixel norm comes first
        for leaf in ("weight", "bias"):
            theirs[f"style.{i + 1}.{leaf}"] = ours[f"mapping.layers.{i}.{leaf}"]

    def modulated(name: str, our: str) -> None:
        theirs[f"{name}.conv.weight"] = ours[f"{our}.weight"][None]
        for leaf in ("weight", "bias"):
            theirs[f"{name}.conv.modulation.{leaf}"] = ours[f"{our}.affine.{leaf}"]

    def styled(name: str, our: str) -> None:
        modulated(name, our)
        theirs[f"{name}.noise.weight"] = ours[f"{our}.noise_strength"][None]
        theirs[f"{name}.activate.bias"] = ours[f"{our}.bias"]
        count = sum(key.startswith("noises.") for key in theirs)
        theirs[f"noises.noise_{count}"] = ours[f"{our}.noise"]

    def colored(name: str, our: str) -> None:
        modulated(name, our)
        theirs[f"{name}.bias"] = ours[f"{our}.bias"].view(1, 3, 1, 1)

    styled("conv1", "stem")
    colored("to_rgb1", "stem_rgb")
    for i in range(len(generator.blocks)):
        styled(f"convs.{2 * i}", f"blocks.{i}.up")
        theirs[f"convs.{2 * i}.conv.blur.kernel"] = TAPS[:, None] * TAPS / 16
        styled(f"convs.{2 * i + 1}", f"blocks.{i}.conv")
        colored(f"to_rgbs.{i}", f"blocks.{i}.to_rgb")
        theirs[f"to_rgbs.{i}.upsample.kernel"] = TAPS[:, None] * TAPS / 16
    return {prefix + name: value.clone() for name, value in theirs.items()}


ENCODER_NAMES = [
    (r"^trunk\.stem\.conv\.", "input_layer.0."),
    (r"^trunk\.stem\.norm\.", "input_layer.1."),
    (r"^trunk\.stem\.act\.", "input_layer.2."),
    (r"^trunk\.units\.(\d+)\.", r"body.\1."),
    (r"\.norm_in\.", ".res_layer.0."),
    (r"\.conv1\.", ".res_layer.1."),
    (r"(body\.\d+)\.act\.", r"\1.res_layer.2."),
    (r"\.conv2\.", ".res_layer.3."),
    (r"\.norm_out\.", ".res_layer.4."),
    (r"\.excite\.squeeze\.", ".res_layer.5.fc1."),
    (r"\.excite\.expand\.", ".res_layer.5.fc2."),
    (r"\.shortcut\.conv\.", ".shortcut_layer.0."),
    (r"\.shortcut\.norm\.", ".shortcut_layer.1."),
    (r"^laterals\.0\.", "latlayer1."),
    (r"^laterals\.1\.", "latlayer2."),
    (r"^norm\.", "output_layer_2.0."),
    (r"^hidden\.", "output_layer_2.3."),
]


def encoder_state(encoder: Encoder, prefix: str = "encoder.") -> dict[str, Tensor]:
    """The published names; an activation stands between the convolutions of a style."""
    theirs = {}
    for name, value in encoder.state_dict().items():
        for pattern, replacement in ENCODER_NAMES:
            name = re.sub(pattern, replacement, name)
        if found := re.match(r"(styles\.\d+\.convs)\.(\d+)(.*)", name):
            name = f"{found[1]}.{2 * int(found[2])}{found[3]}"
        theirs[prefix + name] = value.clone()
    return theirs


KINDS: dict[str, tuple[str, type[Encoder]]] = {
    "pyramid": ("GradualStyleEncoder", PyramidEncoder),
    "single_w": ("BackboneEncoderUsingLastLayerIntoW", SingleWEncoder),
    "naive_wplus": ("BackboneEncoderUsingLastLayerIntoWPlus", NaiveWPlusEncoder),
}


def encoder(kind: str, num_styles: int, channels: int = 3) -> Encoder:
    made = KINDS[kind][1](num_styles, channels, STYLE_DIM, STAGES)  # type: ignore[call-arg]
    return unusual(made, seed=1)  # type: ignore[return-value]


def checkpoint(encoder: Encoder, generator: StyleGAN2, kind: str, **options: Any) -> dict[str, Any]:
    """What the published training code saves."""
    return {
        "state_dict": encoder_state(encoder) | port(generator, "decoder."),
        "latent_avg": torch.randn(generator.num_styles, STYLE_DIM),
        "opts": {
            "encoder_type": KINDS[kind][0],
            "dataset_type": "ffhq_encode",
            "start_from_latent_avg": True,
            "learn_in_w": kind == "single_w",
            "output_size": generator.resolution,
            "input_nc": encoder.input_channels,
            "label_nc": 0,
            "exp_dir": "/somewhere",
            "lpips_lambda": 0.8,
            **options,
        },
    }
