"""The labels of CelebAMask-HQ, and the correction of left and right.

The published parser finds eyes, brows and ears well but confuses their sides in about a quarter of
faces (of 31 photographs: 17 of 54 eyes, 14 of 57 brows, 5 of 29 ears). In an upright face the
position determines the side: l_eye of CelebAMask-HQ is the person's own left eye, which is on the
right of the image.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

LABELS = (
    "background", "skin", "nose", "glasses", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear",
    "mouth", "u_lip", "l_lip", "hair", "hat", "earring", "necklace", "neck", "cloth",
)  # fmt: skip
"""A label is an index into it."""

ORDERS: dict[str, tuple[str, ...]] = {
    "celebamask": LABELS,
    "bisenet": (
        "background", "skin", "l_brow", "r_brow", "l_eye", "r_eye", "glasses", "l_ear", "r_ear",
        "earring", "nose", "mouth", "u_lip", "l_lip", "neck", "necklace", "cloth", "hair", "hat",
    ),
    "lapa": (
        "background", "skin", "l_brow", "r_brow", "l_eye", "r_eye", "nose", "u_lip", "mouth",
        "l_lip", "hair",
    ),
}  # fmt: skip
"""What the numbers of label maps mean, by the data set or parser that they come from. LaPa's order
is Helen's too."""

# What stands above what in an upright face, from the top.
_FROM_THE_TOP = (("brow",), ("eye",), ("nose",), ("mouth", "u_lip", "l_lip"), ("neck",))
_PAIRED = ("eye", "brow", "ear")
_LEAST = 0.1  # least share of a pair's pixels on either side of the gap between the two


def by_place(labels: Tensor) -> Tensor:
    """The label map (H, W) of one upright face, with corrected sides of eyes, brows and ears.

    A pair is separated at the widest gap between its columns; for a single part, the nose decides
    (or the middle of the image, if there is no nose).
    """
    nose = torch.where(labels == LABELS.index("nose"))[1]
    middle = float(nose.float().mean()) if len(nose) else (labels.shape[1] - 1) / 2
    labels = labels.clone()
    for part in _PAIRED:
        left, right = LABELS.index(f"l_{part}"), LABELS.index(f"r_{part}")
        found = (labels == left) | (labels == right)
        columns = torch.where(found)[1]
        if len(columns):
            border = middle if part == "ear" else _gap(columns, middle)
            place = torch.arange(labels.shape[1], device=labels.device)
            sides = torch.where(place > border, left, right)
            labels = torch.where(found, sides, labels)
    return labels


def _gap(columns: Tensor, middle: float) -> float:
    """The middle of the widest gap between columns with pixels; `middle` if there is none."""
    counts = torch.bincount(columns)
    taken = torch.where(counts > 0)[0]
    before = counts[taken].cumsum(0)[:-1] / len(columns)
    parts = (before >= _LEAST) & (before <= 1 - _LEAST)
    widths = (taken[1:] - taken[:-1]) * parts
    if not len(widths) or int(widths.max()) < 3:
        return middle
    at = int(widths.argmax())
    return float(taken[at] + taken[at + 1]) / 2


def impossible(labels: Tensor) -> str:
    """What no upright face can show in a label map (H, W) in the order of `LABELS`; empty if none.

    A map in another order is in range and looks like one of ours, but has its nose above the eyes.
    """
    rows: list[tuple[str, float]] = []
    for parts in _FROM_THE_TOP:
        indices = [i for i, label in enumerate(LABELS) if label in parts or label[2:] in parts]
        found = torch.where(torch.isin(labels, torch.tensor(indices)))[0]
        if len(found):
            rows.append((parts[0], float(found.float().mean())))
    for (upper, above), (lower, below) in pairwise(rows):
        if above > below + 0.02 * len(labels):
            return f"its {lower} stands above its {upper}"
    return ""
