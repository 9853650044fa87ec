"""Published pSp checkpoints, and those of its successors e4e and ReStyle -> our names.

All are `{"state_dict", "opts", "latent_avg"}`, and their encoders have the same tensors under the
same names; what differs is how a code is computed from them (`encoders/progressive.py`). Only the
options say which it is, so a file without them is refused where it matters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from wplus.errors import FormatError
from wplus.formats import rosinality
from wplus.formats.facenets import TRUNK_ROOTS, translate_trunk, trunk_config
from wplus.formats.opening import shown
from wplus.formats.strict import norm_names, rename
from wplus.formats.torch_files import read_torch
from wplus.formats.wrappers import Checkpoint, unwrap

FEEDBACK = 3  # channels of the output that ReStyle's encoders see beside the image
ITERATIONS = 5  # of ReStyle, where its options do not say


class Family(NamedTuple):
    """A published class of encoders.

    Attributes:
        kind: our row of encoders; "iterative" where the file's encoder takes feedback.
        progressive: whether styles are deltas from the first.
        levels: of its pyramid; empty if it has none.
    """

    kind: str
    progressive: bool = False
    levels: str = ""


FAMILIES = {
    "GradualStyleEncoder": Family("pyramid", levels="coarse_to_fine"),
    "BackboneEncoderUsingLastLayerIntoW": Family("single_w"),
    "BackboneEncoderUsingLastLayerIntoWPlus": Family("naive_wplus"),
    "Encoder4Editing": Family("progressive", True, "coarse_to_fine"),
    "BackboneEncoder": Family("all_from_smallest", False, "smallest"),
    "ProgressiveBackboneEncoder": Family("progressive_from_smallest", True, "smallest"),
}
"""`encoder_type` in the options."""

PSP_OPTIONS = {"label_nc", "input_nc", "learn_in_w", "resize_factors"}
E4E_OPTIONS = {"stylegan_size", "progressive_steps", "w_discriminator_lambda", "delta_norm"}
"""Options that only one of the two has: older files do not name their encoder."""

# `dataset_type` in the options says what the encoder does and what it reads: (task, source).
DATASETS = {
    "ffhq_encode": ("inversion", "photo"),
    "ffhq_frontalize": ("frontalization", "photo"),
    "celebs_sketch_to_face": ("sketch", "sketch"),
    "celebs_seg_to_face": ("labels", "labels"),
    "celebs_super_resolution": ("super_resolution", "low_resolution"),
    "toonify": ("toonify", "photo"),
}


def read(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read a checkpoint.

    Returns:
        The configuration (`encoder`, `generator`: kind and options each; `task`, `source`,
        `start_from_mean`, for label maps `label_resampling`) and the tensors under `encoder.`,
        `generator.` and `mean_codes`, which is left out where the file has no mean code.

    Raises:
        FormatError: the file is unsafe or damaged, or a tensor is missing or unexpected.
    """
    return translate(unwrap(read_torch(path), str(path)), str(path))


def translate(found: Checkpoint, what: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The same for an unwrapped checkpoint."""
    state, options = found.state, found.options
    strangers = [name for name in state if not name.startswith(("encoder.", "decoder."))]
    if strangers:
        raise FormatError(f"{what}: unexpected tensor {strangers[0]} ({len(strangers)} in all)")
    if not any(name.startswith("decoder.") for name in state):
        raise FormatError(f"{what}: has an encoder.* but no generator (decoder.*)")
    generator, ours = rosinality.translate(state, "decoder.", what)
    tensors = {f"generator.{name}": value for name, value in ours.items()}
    num_styles = 2 * int(generator["resolution"]).bit_length() - 4
    family = _family(state, options, what)
    encoder, ours = _encoder(state, family, num_styles, options, what)
    tensors |= {f"encoder.{name}": value for name, value in ours.items()}

    style_dim = int(generator["style_dim"])
    if found.mean is not None:
        try:
            mean = found.mean.float().reshape(-1, style_dim).expand(num_styles, style_dim)
        except RuntimeError:
            raise FormatError(
                f"{what}: latent_avg of shape {tuple(found.mean.shape)} fits no {num_styles} styles"
            ) from None
        tensors["mean_codes"] = mean.contiguous()
        tensors["generator.mean_w"] = mean[0].clone()

    dataset = str(options.get("dataset_type", ""))
    task, source = DATASETS.get(dataset) or _guess(encoder["options"]["input_channels"])
    start = options.get("start_from_latent_avg", True)
    config = {
        "encoder": encoder,
        "generator": {"kind": "stylegan2", "options": generator},
        "task": task,
        "source": source,
        # ReStyle starts from the mean whatever its options say; text is a safetensors file's.
        "start_from_mean": encoder["kind"] == "iterative" or str(start) not in ("False", "0"),
    }
    if source == "labels":
        config["label_resampling"] = "bilinear"  # of the published transforms, by default
    return config, tensors


def _family(state: Mapping[str, Tensor], options: Mapping[str, Any], what: str) -> Family:
    name = options.get("encoder_type")
    if name is None:
        name = _name_by_tensors(state, options, what)
    family = FAMILIES.get(str(name))
    if family is None and str(name).startswith("ResNet"):
        raise FormatError(f"{what}: its encoder stands on a ResNet-34, which is not supported")
    if family is None:
        raise FormatError(f"{what}: encoder_type {shown(str(name))!r} is unknown")
    return family


def _name_by_tensors(state: Mapping[str, Tensor], options: Mapping[str, Any], what: str) -> str:
    """The name of an encoder whose options do not say it."""
    if "encoder.styles.0.linear.weight" not in state:
        wide = "encoder.output_layer_2.0.weight" in state
        return f"BackboneEncoderUsingLastLayerIntoW{'Plus' if wide else ''}"
    pyramid = any(re.match(r"encoder\.(latlayer|styles\.\d+\.convs\.8\.)", name) for name in state)
    names = ("GradualStyleEncoder", "Encoder4Editing")
    if not pyramid and "encoder.styles.3.linear.weight" in state:
        names = ("BackboneEncoder", "ProgressiveBackboneEncoder")
    elif E4E_OPTIONS & set(options):
        return names[1]
    elif PSP_OPTIONS & set(options):
        return names[0]
    raise FormatError(
        f"{what}: may be of {names[0]} or of {names[1]}, whose tensors have the same names; save it"
        f" with opts={{'encoder_type': …}}, one of the two"
    )


def _guess(channels: int) -> tuple[str, str]:
    """Task and source of an encoder that was trained on somebody's own data."""
    return {1: ("sketch", "sketch"), 3: ("inversion", "photo")}.get(channels, ("labels", "labels"))


def _encoder(
    state: Mapping[str, Tensor],
    family: Family,
    num_styles: int,
    options: Mapping[str, Any],
    what: str,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Kind and arguments of our encoder, and its tensors."""
    prefix = "encoder."
    roots = tuple(prefix + root for root in TRUNK_ROOTS)
    trunk = trunk_config(state, prefix, what)
    ours = {f"trunk.{name}": value for name, value in translate_trunk(state, prefix, what).items()}
    rest = {
        name: value
        for name, value in state.items()
        if name.startswith(prefix) and not name.startswith(roots)
    }
    ours |= rename(rest, head_table(family, num_styles, prefix), what)
    arguments = {
        "num_styles": num_styles,
        "input_channels": trunk["input_channels"],
        "style_dim": trunk["stages"][-1][0],
        "stages": trunk["stages"],
    }
    if not family.levels or not _takes_feedback(trunk["input_channels"], family, options, what):
        return {"kind": family.kind, "options": arguments}, ours
    iterations = str(options.get("n_iters_per_batch", ITERATIONS))
    if not iterations.isdecimal() or not 1 <= int(iterations[:4]) <= 100:
        raise FormatError(f"{what}: n_iters_per_batch {shown(iterations)} is no count up to 100")
    arguments |= {
        "input_channels": trunk["input_channels"] - FEEDBACK,
        "levels": family.levels,
        "progressive": family.progressive,
        "iterations": int(iterations),
    }
    return {"kind": "iterative", "options": arguments}, ours


def _takes_feedback(channels: int, family: Family, options: Mapping[str, Any], what: str) -> bool:
    """Whether an encoder is ReStyle's, which sees its last output beside the image."""
    marked = "n_iters_per_batch" in options or family.levels == "smallest"
    if channels != 2 * FEEDBACK:
        if marked and channels != FEEDBACK:
            raise FormatError(f"{what}: is a ReStyle encoder of {channels} channels; 6 are known")
        return False
    labels = str(options.get("label_nc", 0)) == "6" or "seg" in str(options.get("dataset_type", ""))
    if marked == labels:
        raise FormatError(
            f"{what}: its encoder has 6 channels, of label maps or of ReStyle; save it with opts:"
            " n_iters_per_batch for ReStyle, label_nc=6 for labels"
        )
    return marked


def head_table(family: Family, num_styles: int, prefix: str = "encoder.") -> dict[str, str]:
    """Their name to ours, for what stands on the trunk of an encoder for 256² images."""
    norms: dict[str, str] = {}
    if family.kind == "single_w":
        pairs = [("linear", "linear")]
    elif family.kind == "naive_wplus":
        pairs = [("linear", "linear"), ("output_layer_2.3", "hidden")]
        norms = norm_names(f"{prefix}output_layer_2.0", "norm")
    else:
        levels = _levels(num_styles) if family.levels == "coarse_to_fine" else 0
        pairs = [("latlayer1", "laterals.0"), ("latlayer2", "laterals.1")][:levels]
        for style in range(num_styles):
            convs = 4 + min(levels, int(style >= 3) + int(style >= 7))
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
