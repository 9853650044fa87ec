"""Identity and similarity: formulas by hand, what is cropped, where gradients go."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from wplus.losses.facenets import ArcFace
from wplus.losses.identity import IdentityLoss
from wplus.losses.similarity import SimilarityLoss
from wplus.nn.irse import IRSETrunk
from wplus.nn.mobilefacenet import MobileFaceNet, MobileFaceTrunk
from wplus.nn.resnet import ResNet


def arcface() -> ArcFace:
    torch.manual_seed(0)
    return ArcFace(IRSETrunk(3, ((8, 1), (8, 1), (8, 1), (8, 1))), 6)


def pictures(*names: int) -> list[Tensor]:
    return [
        torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(n)) * 2 - 1
        for n in names
    ]


class Spy(nn.Module):
    """Returns what it is given, as one vector."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x)
        return x.flatten(1)


def test_the_inner_face_is_pooled_to_112() -> None:
    spy = Spy()
    (x,) = pictures(0)
    IdentityLoss(spy).embed(x)
    (seen,) = spy.seen
    assert seen.shape == (2, 3, 112, 112)
    # Row r of the output is the mean of rows floor(r * 188 / 112) to ceil((r + 1) * 188 / 112) - 1.
    crop = x[:, :, 35:223, 32:220]
    for r, c in ((0, 0), (1, 50), (60, 3), (111, 111)):
        rows = slice(r * 188 // 112, -(-(r + 1) * 188 // 112))
        columns = slice(c * 188 // 112, -(-(c + 1) * 188 // 112))
        torch.testing.assert_close(seen[:, :, r, c], crop[:, :, rows, columns].mean((2, 3)))


def test_the_nearest_pixels_of_224_are_judged_off_faces() -> None:
    spy = Spy()
    (x,) = pictures(0)
    SimilarityLoss(spy).embed(x)
    (seen,) = spy.seen
    rows = torch.arange(224) * 256 // 224
    torch.testing.assert_close(seen, x[:, :, rows][:, :, :, rows])
    SimilarityLoss(spy).embed(torch.rand(1, 3, 64, 100))
    assert spy.seen[1].shape == (1, 3, 224, 224)


@pytest.mark.parametrize("kind", [IdentityLoss, SimilarityLoss])
def test_terms_equal_the_formula(kind: type[IdentityLoss] | type[SimilarityLoss]) -> None:
    net = arcface() if kind is IdentityLoss else ResNet((1,), width=4)
    loss = kind(net)
    output, target, source = pictures(1, 2, 3)
    terms = loss(output, target, source)
    wanted, gain = 0.0, 0.0
    with torch.no_grad():
        for i in range(2):
            u, v, w = (net(loss.prepare(x[i : i + 1]))[0] for x in (output, target, source))
            near = functional.cosine_similarity(u, v, 0).item()
            wanted += (1 - near) / 2
            gain += (near - functional.cosine_similarity(v, w, 0).item()) / 2
    name = "id" if kind is IdentityLoss else "similarity"
    assert terms.keys() == {name, f"{name}_gain"}
    assert terms[name].item() == pytest.approx(wanted, abs=1e-6)
    assert terms[f"{name}_gain"].item() == pytest.approx(gain, abs=1e-6)
    assert loss(output, target).keys() == {name}
    assert loss(output, target)[name].item() == pytest.approx(wanted, abs=1e-6)


def test_a_source_that_is_the_target_gains_what_the_loss_lacks() -> None:
    loss = IdentityLoss(arcface())
    output, target = pictures(1, 2)
    terms = loss(output, target, target)
    assert terms["id_gain"].item() == pytest.approx(-terms["id"].item(), abs=1e-6)
    copied = loss(output, target, target.clone())
    assert copied["id_gain"].item() == pytest.approx(terms["id_gain"].item(), abs=1e-6)
    assert loss(target, target)["id"].item() == pytest.approx(0, abs=1e-6)


def test_embeddings_of_a_fixed_target_are_reused() -> None:
    loss = IdentityLoss(arcface())
    output, target, source = pictures(1, 2, 3)
    kept, before = loss.embed(target), loss.embed(source)
    torch.testing.assert_close(kept.norm(dim=1), torch.ones(2))
    assert loss.compare(loss.embed(output), kept, before) == pytest.approx(
        {k: v.item() for k, v in loss(output, target, source).items()}, abs=1e-6
    )


def test_gradients_reach_the_output_alone() -> None:
    loss = IdentityLoss(arcface())
    output, target, source = (x.requires_grad_() for x in pictures(1, 2, 3))
    terms = loss(output, target, source)
    assert not terms["id_gain"].requires_grad
    terms["id"].backward()
    assert output.grad is not None
    assert output.grad[:, :, 35:223, 32:220].abs().sum() > 0
    assert output.grad[:, :, :35].abs().sum() == 0
    assert target.grad is None
    assert source.grad is None
    output.grad = None
    loss.compare(loss.embed(output), loss.embed(target), loss.embed(source))["id"].backward()
    assert output.grad is not None
    assert target.grad is None
    assert all(p.grad is None for p in loss.parameters())


def test_the_net_never_changes() -> None:
    net = arcface().train()
    loss = IdentityLoss(net)
    outer = nn.Sequential(loss).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert outer.training
    assert not any(module.training for module in loss.modules())
    loss(*pictures(1, 2))
    for name, value in net.state_dict().items():
        torch.testing.assert_close(value, before[name])
    assert not any(p.requires_grad for p in net.parameters())


@pytest.mark.parametrize("shape", [(1, 3, 255, 256), (1, 1, 256, 256), (3, 256, 256)])
def test_pictures_that_are_not_aligned_ones_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"identity is compared on \(N, 3, 256, 256\)"):
        IdentityLoss(arcface()).embed(torch.zeros(shape))


def test_nets_of_other_sizes_and_bfloat16() -> None:
    trunk = MobileFaceTrunk(3, 8, ((8, 8, 1), (8, 8, 0), (8, 8, 0)))
    loss = IdentityLoss(MobileFaceNet(trunk, 8, 4, 6, size=32).bfloat16(), name="face")
    (output,) = (x.bfloat16() for x in pictures(1))
    assert loss.prepare(output).shape == (2, 3, 32, 32)
    embedding = loss.embed(output)
    assert embedding.dtype == torch.float32
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(2))
    assert loss(output, output)["face"].item() == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="multiple of 16, not 40"):
        ArcFace(IRSETrunk(3, ((8, 1), (8, 1), (8, 1), (8, 1))), size=40)
    with pytest.raises(ValueError, match="112x112, not 96x112"):
        arcface()(torch.zeros(1, 3, 96, 112))
