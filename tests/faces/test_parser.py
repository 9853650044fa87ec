"""The parser around its network: sizes, order of steps, folding of norms, the published file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from wplus import images
from wplus.errors import ImageError
from wplus.faces.labels import LABELS
from wplus.faces.parser import FaceParser, folded, load_parser
from wplus.nn.bisenet import BiSeNet

PORTRAIT = Path(__file__).parents[2] / "examples" / "portrait.jpg"


class Thirds(nn.Module):
    """Scores three classes by brightness, and remembers what it saw."""

    def forward(self, x: Tensor) -> Tensor:
        self.size = x.shape[2:]
        middle = x.mean(1)
        return torch.stack([-middle, 0.2 - middle.abs(), middle], dim=1)


def test_labels_have_the_size_of_the_pictures() -> None:
    network = Thirds()
    parser = FaceParser(network, size=64)
    steps = torch.tensor([-0.9, 0.0, 0.9]).repeat_interleave(8)
    for side, scale in ((24, 1), (96, 4)):
        pictures = steps.repeat_interleave(scale).expand(2, 3, side, side)
        labels = parser.parse(pictures)
        assert (labels.shape, labels.dtype) == ((2, side, side), torch.int64)
        assert network.size == (64, 64)
        columns = labels[:, :, 4 * scale :: 8 * scale]  # the middle of every step
        assert torch.equal(columns, torch.tensor([0, 1, 2]).expand(2, side, 3))


@pytest.mark.parametrize(
    "wrong", [torch.zeros(3, 8, 8), torch.zeros(1, 1, 8, 8), torch.zeros(1, 3, 8, 8).int()]
)
def test_what_is_no_batch_of_pictures(wrong: Tensor) -> None:
    with pytest.raises(ImageError, match=r"\(N, 3, H, W\)"):
        FaceParser(Thirds()).parse(wrong)


def test_folded_norms_change_nothing() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = BiSeNet(19, width=4)
        network.train()(torch.randn(4, 3, 96, 96))
    x = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        before = network.eval()(x)
        after = folded(network)(x)
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.network
def test_the_published_parser_knows_a_face() -> None:
    picture = images.to_tensor(images.read(PORTRAIT).resize((256, 256)))
    labels = load_parser().parse(picture)[0]

    def center(name: str) -> tuple[float, float]:
        rows, columns = torch.where(labels == LABELS.index(name))
        assert len(rows) > 20, name
        return float(columns.float().mean()), float(rows.float().mean())

    nose, mouth = center("nose"), center("u_lip")
    left, right = center("l_eye"), center("r_eye")
    assert right[0] < nose[0] < left[0]  # sides are the person's own
    assert left[1] < nose[1] < mouth[1] < center("l_lip")[1]
    assert center("l_brow")[1] < left[1] and center("r_brow")[1] < right[1]
    assert center("hair")[1] < nose[1] < center("neck")[1]
    assert int(labels[128, 128]) in {LABELS.index(name) for name in ("skin", "nose")}
