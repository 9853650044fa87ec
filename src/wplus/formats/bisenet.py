"""The published face-parsing BiSeNet (`79999_iter.pth`), under our names and in our order."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wplus.errors import FormatError
from wplus.formats.strict import norm_names, rename, tensors_of
from wplus.formats.torch_files import read_torch

ASIDE = ("conv_out16.", "conv_out32.")
"""Heads that only served training."""

ORDER = (0, 1, 10, 6, 4, 5, 2, 3, 7, 8, 11, 12, 13, 17, 18, 9, 15, 14, 16)
"""Where the network keeps each class of CelebAMask-HQ's own order (`faces.labels.LABELS`): it was
trained on background, skin, l_brow, r_brow, l_eye, r_eye, glasses, l_ear, r_ear, earring, nose,
mouth, u_lip, l_lip, neck, necklace, cloth, hair, hat."""

_SCORES = "conv_out.conv_out.weight"
_STEM = "cp.resnet.conv1.weight"


def bisenet_table(blocks: tuple[int, ...] = (2, 2, 2, 2)) -> dict[str, str]:
    """Published name to our name, for these numbers of blocks per stage of the ResNet."""
    table = _pair("cp.resnet.conv1", "cp.resnet.bn1", "stem")
    for s, count in enumerate(blocks):
        for i in range(count):
            theirs, ours = f"cp.resnet.layer{s + 1}.{i}", f"stages.{s}.{i}"
            table |= _pair(f"{theirs}.conv1", f"{theirs}.bn1", f"{ours}.first")
            table |= _pair(f"{theirs}.conv2", f"{theirs}.bn2", f"{ours}.second")
            if s and not i:
                places = (f"{theirs}.downsample.0", f"{theirs}.downsample.1")
                table |= _pair(*places, f"{ours}.shortcut")
    for side in (16, 32):
        theirs, ours = f"cp.arm{side}", f"refine_{side}"
        table |= _pair(f"{theirs}.conv.conv", f"{theirs}.conv.bn", f"{ours}.features")
        table |= _pair(f"{theirs}.conv_atten", f"{theirs}.bn_atten", f"{ours}.attention")
        theirs = f"cp.conv_head{side}"
        table |= _pair(f"{theirs}.conv", f"{theirs}.bn", f"after_{side}")
    table |= _pair("cp.conv_avg.conv", "cp.conv_avg.bn", "whole")
    table |= _pair("ffm.convblk.conv", "ffm.convblk.bn", "fusion.features")
    table |= {
        "ffm.conv1.weight": "fusion.squeeze.weight",
        "ffm.conv2.weight": "fusion.excite.weight",
    }
    table |= _pair("conv_out.conv.conv", "conv_out.conv.bn", "head")
    return table | {_SCORES: "scores.weight"}


def is_bisenet(content: Mapping[Any, Any]) -> bool:
    """Whether a checkpoint has the layout of the published face parser."""
    return _STEM in content


def translate_bisenet(
    state: Mapping[str, Tensor], what: str = "the file"
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Config and tensors of our `BiSeNet`, its classes in CelebAMask-HQ's order.

    Raises:
        FormatError: a tensor is missing or unexpected, or the classes are not those 19.
    """
    kept = {name: value for name, value in state.items() if not name.startswith(ASIDE)}
    scores, stem = kept.get(_SCORES), kept.get(_STEM)
    if scores is None or stem is None or stem.ndim != 4 or scores.ndim != 4:
        raise FormatError(f"{what}: lacks {_SCORES} or the ResNet; it is not a face parser")
    if len(scores) != len(ORDER):
        raise FormatError(f"{what}: tells {len(scores)} classes apart, not the {len(ORDER)} needed")
    tensors = rename(kept, bisenet_table(), what)
    tensors["scores.weight"] = scores[torch.tensor(ORDER)]
    return {"classes": len(ORDER), "width": int(stem.shape[0])}, tensors


def read_bisenet(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read `79999_iter.pth`.

    Returns:
        The arguments of our `BiSeNet`, and its tensors.

    Raises:
        FormatError: the file is unsafe or damaged, or a tensor is missing or unexpected.
    """
    return translate_bisenet(tensors_of(read_torch(path), str(path)), str(path))


def _pair(conv: str, norm: str, ours: str) -> dict[str, str]:
    return {f"{conv}.weight": f"{ours}.conv.weight", **norm_names(norm, f"{ours}.norm")}
