"""Masks for pasting results back into photographs: the face, the head, or the whole crop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from wplus import faces, images
from wplus.errors import ConfigError
from wplus.faces.labels import LABELS
from wplus.faces.parser import FaceParser, load_parser
from wplus.faces.paste import ellipse

FACE = ("skin", "nose", "glasses", "l_eye", "r_eye", "l_brow", "r_brow", "mouth", "u_lip", "l_lip")
HEAD = (*FACE, "l_ear", "r_ear", "hair", "hat", "earring")
REGIONS = ("face", "head", "ellipse", "square")
_SIDE = 256  # of the crop that is parsed and of the masks


def region(labels: Tensor, parts: Sequence[str] = FACE) -> Tensor:
    """Where label maps (…, H, W) show any of these parts: bool, of the same shape.

    Raises:
        ConfigError: there is no such part.
    """
    unknown = sorted(set(parts) - set(LABELS))
    if unknown:
        raise ConfigError(f"no parts {', '.join(unknown)}; there are: {', '.join(LABELS)}")
    return torch.isin(labels, torch.tensor([LABELS.index(p) for p in parts], device=labels.device))


def paste_mask(
    kind: str,
    original: Image.Image,
    result: Image.Image,
    geometry: faces.CropGeometry,
    parser: FaceParser | None = None,
) -> NDArray[Any]:
    """The mask for `faces.paste.paste`.

    Args:
        kind: one of `REGIONS`. "face" and "head" are parsed from both the photograph and the
            result, so that no part of the old face remains visible beside the new one.
        original: the photograph.
        result: the image to be pasted into it.
        geometry: of the crop.
        parser: None loads one where it is needed.

    Returns:
        (256, 256) bool. The ellipse, if the parser finds no face.

    Raises:
        ConfigError: there is no such region.
        FaceError: the geometry is of another photograph.
        WeightsError: the parser cannot be fetched.
    """
    if kind not in REGIONS:
        raise ConfigError(f"no region {kind!r}; there are: {', '.join(REGIONS)}")
    if kind == "square":
        return np.ones((_SIDE, _SIDE), np.bool_)
    inside: NDArray[Any] = np.asarray(ellipse(_SIDE)) > 127
    if kind == "ellipse":
        return inside
    before = faces.crop(original, replace(geometry, output_size=_SIDE), transform_size=4 * _SIDE)
    after = result.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS, reducing_gap=3)
    both = torch.cat([images.to_tensor(before), images.to_tensor(after)])
    parser = load_parser() if parser is None else parser
    parsed = region(parser.parse(both), FACE if kind == "face" else HEAD).any(0).cpu().numpy()
    # One face only: a second face beside it, or a hand parsed as skin, is left unchanged.
    mask = connected(parsed, inside)
    return mask if mask.any() else inside


def connected(mask: NDArray[np.bool_], core: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The part of a mask that is 4-connected to `core` within the mask; both (H, W)."""
    reached = mask & core
    while True:
        grown = reached.copy()
        grown[1:] |= reached[:-1]
        grown[:-1] |= reached[1:]
        grown[:, 1:] |= grown[:, :-1]
        grown[:, :-1] |= grown[:, 1:]
        grown &= mask
        if (grown == reached).all():
            return reached
        reached = grown
