"""Left and right by place."""

from __future__ import annotations

import torch
from torch import Tensor

from wplus.faces.labels import LABELS, by_place


def face(*parts: tuple[str, int, int]) -> Tensor:
    """(20, 60) skin with parts from a column to another."""
    labels = torch.full((20, 60), LABELS.index("skin"))
    for name, first, last in parts:
        labels[5:9, first:last] = LABELS.index(name)
    return labels


def test_two_are_parted_between_them_whatever_they_were_called() -> None:
    expected = face(("nose", 25, 35), ("r_eye", 10, 20), ("l_eye", 40, 50))
    for first in ("l_eye", "r_eye"):
        for second in ("l_eye", "r_eye"):
            called = face(("nose", 25, 35), (first, 10, 20), (second, 40, 50))
            assert torch.equal(by_place(called), expected)
    # A head that is turned: both eyes are on the same side of the nose.
    turned = face(("nose", 50, 58), ("l_eye", 10, 20), ("l_eye", 40, 48))
    found = by_place(turned)
    assert torch.equal(found, face(("nose", 50, 58), ("r_eye", 10, 20), ("l_eye", 40, 48)))


def test_a_single_one_is_on_its_side_of_the_nose() -> None:
    assert torch.equal(
        by_place(face(("nose", 40, 50), ("l_eye", 20, 30))),
        face(("nose", 40, 50), ("r_eye", 20, 30)),
    )
    assert torch.equal(by_place(face(("r_ear", 50, 55))), face(("l_ear", 50, 55)))
    mono = by_place(face(("nose", 28, 32), ("l_brow", 10, 30), ("r_brow", 30, 50)))
    assert (mono[6, 10:30] == LABELS.index("r_brow")).all()
    assert (mono[6, 30:50] == LABELS.index("l_brow")).all()


def test_crumbs_part_nothing_and_the_rest_stays() -> None:
    crumbs = face(("nose", 40, 50), ("r_eye", 10, 30), ("l_eye", 58, 59))
    found = by_place(crumbs)
    assert (found[6, 10:30] == LABELS.index("r_eye")).all()
    assert (found[6, 58] == LABELS.index("l_eye")).all()
    plain = torch.arange(20 * 60).view(20, 60) % 19
    other = torch.ones(19, dtype=torch.bool)
    for name in ("l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear"):
        other[LABELS.index(name)] = False
    kept = other[plain]
    assert torch.equal(by_place(plain)[kept], plain[kept])
    assert torch.equal(by_place(face()), face())
