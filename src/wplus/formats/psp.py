"""Published pSp checkpoints, `{"state_dict", "opts", "latent_avg"}`, of all tasks -> our names."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from wplus.errors import FormatError
from wplus.formats import rosinality
from wplus.formats.facenets import TRUNK_ROOTS, translate_trunk, trunk_config
from wplus.formats.strict import norm_names, rename, tensors_of
from wplus.formats.torch_files import read_torch

ENCODERS = {
    "GradualStyleEncoder": "pyramid",
    "BackboneEncoderUsingLastLayerIntoW": "single_w",
    "BackboneEncoderUsingLastLayerIntoWPlus": "naive_wplus",
}

# `dataset_type` in the options says what the encoder does and what it reads: (task, source).
DATASETS = {
    "ffhq_encode": ("inversion", "photo"),
    "ffhq_frontalize": ("frontalization", "photo"),
    "celebs_sketch_to_face": ("sketch", "sketch"),
    "celebs_seg_to_face": ("labels", "labels"),
    "celebs_super_resolution": ("super_resolution", "low_resolution"),
    "toonify": ("toonify", "photo"),
}


def is_psp(content: object) -> bool:
    """Whether an unpickled object looks like a published pSp checkpoint."""
    if not isinstance(content, Mapping) or not isinstance(content.get("state_dict"), Mapping):
        return False
    return any(str(name).startswith("encoder.") for name in content["state_dict"])


def read(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read a checkpoint.

    Returns:
        The configuration (`encoder`, `generator`: kind and options each; `task`, `source`,
        `start_from_mean`, for label maps `label_resampling`) and the tensors under `encoder.`,
        `generator.` and `mean_codes`, which is left out where the file has no mean code.

    Raises:
        FormatError: the file is unsafe or damaged, or a tensor is missing or unexpected.
    """
    return translate(read_torch(path), str(path))


def translate(content: object, what: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The same for the unpickled checkpoint."""
    if not isinstance(content, Mapping) or not is_psp(content):
        raise FormatError(f"{what}: has no 'state_dict' with an encoder; it is no pSp checkpoint")
    state = tensors_of(content["state_dict"], what)
    options = _options(content.get("opts"), what)
    strangers = [name for name in state if not name.startswith(("encoder.", "decoder."))]
    if strangers:
        raise FormatError(f"{what}: unexpected tensor {strangers[0]} ({len(strangers)} in all)")

    generator, ours = rosinality.translate(state, "decoder.", what)
    tensors = {f"generator.{name}": value for name, value in ours.items()}
    num_styles = 2 * int(generator["resolution"]).bit_length() - 4
    kind = ENCODERS.get(str(options.get("encoder_type", "GradualStyleEncoder")))
    if kind is None:
        raise FormatError(f"{what}: encoder_type {options['encoder_type']!r} is unknown")
    encoder, ours = _encoder(state, kind, num_styles, what)
    tensors |= {f"encoder.{name}": value for name, value in ours.items()}

    style_dim = int(generator["style_dim"])
    mean = content.get("latent_avg")
    if isinstance(mean, Tensor):
        try:
            mean = mean.float().reshape(-1, style_dim).expand(num_styles, style_dim)
        except RuntimeError:
            raise FormatError(
                f"{what}: latent_avg of shape {tuple(mean.shape)} fits no {num_styles} styles"
            ) from None
        tensors["mean_codes"] = mean.contiguous()
        tensors["generator.mean_w"] = mean[0].clone()

    dataset = str(options.get("dataset_type", ""))
    task, source = DATASETS.get(dataset) or _guess(encoder["input_channels"])
    config = {
        "encoder": {"kind": kind, "options": encoder},
        "generator": {"kind": "stylegan2", "options": generator},
        "task": task,
        "source": source,
        "start_from_mean": bool(options.get("start_from_latent_avg", True)),
    }
    if source == "labels":
        config["label_resampling"] = "bilinear"  # of the published transforms, by default
    return config, tensors


def _options(options: object, what: str) -> dict[str, Any]:
    """The options as a table; the training code saved them as one, users as a namespace too."""
    if options is None:
        return {}
    if isinstance(options, Mapping):
        return dict(options)
    if isinstance(options, Namespace):
        return dict(vars(options))
    raise FormatError(f"{what}: its 'opts' are a {type(options).__name__}, not a table")


def _guess(channels: int) -> tuple[str, str]:
    """Task and source of an encoder that was trained on somebody's own data."""
    return {1: ("sketch", "sketch"), 3: ("inversion", "photo")}.get(channels, ("labels", "labels"))


def _encoder(
    state: Mapping[str, Tensor], kind: str, num_styles: int, what: str
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    prefix = "encoder."
    roots = tuple(prefix + root for root in TRUNK_ROOTS)
    trunk = trunk_config(state, prefix, what)
    ours = {f"trunk.{name}": value for name, value in translate_trunk(state, prefix, what).items()}
    rest = {
        name: value
        for name, value in state.items()
        if name.startswith(prefix) and not name.startswith(roots)
    }
    ours |= rename(rest, head_table(kind, num_styles, prefix), what)
    options = {
        "num_styles": num_styles,
        "input_channels": trunk["input_channels"],
        "style_dim": trunk["stages"][-1][0],
        "stages": trunk["stages"],
    }
    return options, ours


def head_table(kind: str, num_styles: int, prefix: str = "encoder.") -> dict[str, str]:
    """Their name to ours, for what stands on the trunk of an encoder for 256² images."""
    if kind == "single_w":
        pairs = [("linear", "linear")]
        norms: dict[str, str] = {}
    elif kind == "naive_wplus":
        pairs = [("linear", "linear"), ("output_layer_2.3", "hidden")]
        norms = norm_names(f"{prefix}output_layer_2.0", "norm")
    else:
        pairs = [("latlayer1", "laterals.0"), ("latlayer2", "laterals.1")][: _levels(num_styles)]
        norms = {}
        for style in range(num_styles):
            convs = 4 + int(style >= 3) + int(style >= 7)
            for i in range(convs):
                pairs.append((f"styles.{style}.convs.{2 * i}", f"styles.{style}.convs.{i}"))
            pairs.append((f"styles.{style}.linear", f"styles.{style}.linear"))
    table = {
        f"{prefix}{theirs}.{leaf}": f"{ours}.{leaf}"
        for theirs, ours in pairs
        for leaf in ("weight", "bias")
    }
    return table | norms


def _levels(num_styles: int) -> int:
    return int(num_styles > 3) + int(num_styles > 7)
