"""The face parser's file: strictly and safely read, classes brought into CelebAMask-HQ's order."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from published_parser import published_parser

from wplus.errors import FormatError
from wplus.faces.labels import LABELS
from wplus.formats.bisenet import ORDER, read_bisenet

# The order in which its training data was painted.
THEIRS = [
    *("background", "skin", "l_brow", "r_brow", "l_eye", "r_eye", "glasses", "l_ear", "r_ear"),
    *("earring", "nose", "mouth", "u_lip", "l_lip", "neck", "necklace", "cloth", "hair", "hat"),
]


def save(state: object, path: Path) -> Path:
    torch.save(state, path)
    return path


def test_the_order_of_classes() -> None:
    assert [THEIRS[place] for place in ORDER] == list(LABELS)


def test_classes_change_places_and_nothing_else_does(tmp_path: Path) -> None:
    state = published_parser()
    config, ours = read_bisenet(save(state, tmp_path / "net.pth"))
    assert config == {"classes": 19, "width": 4}
    for label, name in enumerate(LABELS):
        expected = state["conv_out.conv_out.weight"][THEIRS.index(name)]
        assert torch.equal(ours["scores.weight"][label], expected)
    assert torch.equal(ours["head.conv.weight"], state["conv_out.conv.conv.weight"])


def test_faults_are_named(tmp_path: Path) -> None:
    file = tmp_path / "net.pth"
    for name in ("cp.arm16.bn_atten.bias", "cp.resnet.layer3.0.downsample.0.weight"):
        state = published_parser()
        del state[name]
        with pytest.raises(FormatError, match=rf"net\.pth: lacks {name}$"):
            read_bisenet(save(state, file))
    with pytest.raises(FormatError, match=r"has unexpected sp\.conv1\.weight$"):
        read_bisenet(save(published_parser() | {"sp.conv1.weight": torch.ones(1)}, file))
    few = published_parser() | {"conv_out.conv_out.weight": torch.ones(11, 8, 1, 1)}
    with pytest.raises(FormatError, match="tells 11 classes apart"):
        read_bisenet(save(few, file))
    with pytest.raises(FormatError, match="not a face parser"):
        read_bisenet(save({"x": torch.ones(1)}, file))
