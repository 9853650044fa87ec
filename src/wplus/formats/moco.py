"""MoCo v2's published ResNet-50, under our names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from wplus.errors import FormatError
from wplus.formats.strict import norm_names, rename
from wplus.formats.torch_files import read_torch
from wplus.formats.wrappers import unwrap

QUERY = "encoder_q."  # in files behind DataParallel's `module.`
"""The trained encoder; its twin `encoder_k` and the queue of negatives only served training."""
ASIDE = ("encoder_k.", "queue", f"{QUERY}fc.")
"""Names that may be there and are not read: the above, and the projection after the features."""


def moco_table(blocks: Sequence[int]) -> dict[str, str]:
    """Published name (without `QUERY`) to our name, for these numbers of blocks per stage."""
    table = _conv_norm("conv1", "bn1", "stem")
    for s, count in enumerate(blocks):
        for i in range(count):
            theirs, ours = f"layer{s + 1}.{i}", f"stages.{s}.{i}"
            for k, name in enumerate(("reduce", "spread", "expand"), start=1):
                table |= _conv_norm(f"{theirs}.conv{k}", f"{theirs}.bn{k}", f"{ours}.{name}")
            if i == 0:
                places = (f"{theirs}.downsample.0", f"{theirs}.downsample.1")
                table |= _conv_norm(*places, f"{ours}.shortcut")
    return table


def translate_moco(
    state: Mapping[str, Tensor], what: str = "the file"
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Config and tensors of our `ResNet` from the published `state_dict`.

    Raises:
        FormatError: a tensor is missing or unexpected.
    """
    kept = {name: value for name, value in state.items() if not name.startswith(ASIDE)}
    encoder = {name.removeprefix(QUERY): value for name, value in kept.items()}
    blocks: list[int] = []
    while f"layer{len(blocks) + 1}.0.conv1.weight" in encoder:
        stage, count = f"layer{len(blocks) + 1}", 1
        while f"{stage}.{count}.conv1.weight" in encoder:
            count += 1
        blocks.append(count)
    stem = encoder.get("conv1.weight")
    if not blocks or stem is None or stem.ndim != 4:
        raise FormatError(f"{what}: lacks {QUERY}conv1.weight; it is not a MoCo ResNet")
    config = {
        "blocks": tuple(blocks),
        "width": int(stem.shape[0]),
        "input_channels": int(stem.shape[1]),
    }
    table = {QUERY + theirs: ours for theirs, ours in moco_table(blocks).items()}
    return config, rename(kept, table, what)


def read_moco(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read `moco_v2_800ep_pretrain.pth.tar`.

    Returns:
        The arguments of our `ResNet`, and its tensors.

    Raises:
        FormatError: the file is unsafe or damaged, or a tensor is missing or unexpected.
    """
    return translate_moco(unwrap(read_torch(path), str(path)).state, str(path))


def _conv_norm(conv: str, norm: str, ours: str) -> dict[str, str]:
    return {f"{conv}.weight": f"{ours}.conv.weight", **norm_names(norm, f"{ours}.norm")}
