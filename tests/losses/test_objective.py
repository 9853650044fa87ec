"""The objective: formulas by hand, what is computed and what is not, where gradients go."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from wplus import tasks
from wplus.cli.train import tables
from wplus.errors import ConfigError
from wplus.losses import LOSSES, LPIPS, IdentityLoss, Loss, NetworkLoader, SimilarityLoss
from wplus.losses.objective import LossInputs, Objective
from wplus.losses.registry import networks_for
from wplus.training.config import TrainConfig

MEAN = torch.linspace(-1, 1, 6 * 12).view(6, 12)


def pictures(seed: int, size: int = 256, count: int = 3) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, size, size, generator=rng) * 2 - 1


def offsets(seed: int = 9) -> Tensor:
    return torch.randn(3, 6, 12, generator=torch.Generator().manual_seed(seed))


def computed(objective: Objective, *inputs: Any, **more: Any) -> dict[str, Tensor]:
    return objective(LossInputs(*inputs, **more))  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def lpips() -> LPIPS:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LPIPS()


def telling(seed: int) -> nn.Module:
    """A net whose vectors differ from picture to picture, as those of tiny trained nets do not."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.AdaptiveAvgPool2d(6), nn.Flatten(), nn.Linear(108, 8, bias=False))


@pytest.fixture(scope="module")
def identity() -> IdentityLoss:
    return IdentityLoss(telling(1))


@pytest.fixture(scope="module")
def similarity() -> SimilarityLoss:
    return SimilarityLoss(telling(2))


def test_every_term_by_hand(lpips: LPIPS, identity: IdentityLoss) -> None:
    """Frontalization has them all but two."""
    weights = {**tasks.TASKS["frontalization"].weights, "code": 0.3}
    objective = Objective(weights, {"lpips": lpips, "identity": identity}, 0.25)
    source, target, output = pictures(1), pictures(2), pictures(3, 512)
    codes, true = MEAN + offsets(), MEAN + offsets(10)
    found = computed(objective, source, target, output, codes, MEAN, true)

    pooled = functional.avg_pool2d(output, 2)  # 512 to 256
    face = (slice(None), slice(None), slice(35, 223), slice(32, 220))

    def embed(x: Tensor) -> Tensor:
        vectors = identity.net(functional.adaptive_avg_pool2d(x[face], 112))
        return vectors / vectors.norm(dim=1, keepdim=True)

    same = (embed(pooled) * embed(target)).sum(1)
    before = (embed(source) * embed(target)).sum(1)
    lengths = [math.sqrt(sum(v * v for v in o.flatten().tolist())) for o in offsets()]
    expected = {
        "l2": (pooled - target).square().mean().item(),
        "lpips": lpips(pooled, target).mean().item(),
        "id": (1 - same).mean().item(),
        "id_gain": (same - before).mean().item(),
        "reg": sum(lengths) / 3,
        "crop_l2": (pooled[face] - target[face]).square().mean().item(),
        "crop_lpips": lpips(pooled[face], target[face]).mean().item(),
        "code": (offsets() - offsets(10)).square().mean().item() / 0.25,
    }
    expected["loss"] = (
        0.001 * expected["l2"]
        + 0.08 * expected["lpips"]
        + 1.0 * expected["id"]
        + 0.005 * expected["reg"]
        + 0.01 * expected["crop_l2"]
        + 0.8 * expected["crop_lpips"]
        + 0.3 * expected["code"]
    )
    assert {name: value.item() for name, value in found.items()} == pytest.approx(expected, 1e-5)
    assert tuple(found) == objective.names
    assert all(value.ndim == 0 for value in found.values())


def test_similarity_by_hand(similarity: SimilarityLoss) -> None:
    objective = Objective({"similarity": 0.5}, {"similarity": similarity})
    target, output = pictures(2), pictures(3)
    found = computed(objective, target, target, output, MEAN + offsets(), MEAN)
    near = functional.cosine_similarity(similarity.embed(output), similarity.embed(target))
    assert found["similarity"].item() == pytest.approx((1 - near).mean().item(), abs=1e-6)
    assert found["loss"].item() == pytest.approx(0.5 * found["similarity"].item())
    assert set(found) == {"similarity", "loss"}


@pytest.mark.parametrize("side", [64, 256, 1024])
def test_the_output_is_pooled_as_published_whatever_its_size(side: int) -> None:
    """Adaptive average pooling: a smaller picture is replicated, never interpolated."""
    output, target = pictures(4, side, 1), pictures(5, 256, 1)
    if side < 256:
        pooled = output.repeat_interleave(256 // side, 2).repeat_interleave(256 // side, 3)
    else:
        pooled = functional.avg_pool2d(output, side // 256)
    found = computed(Objective({"l2": 1.0}), target, target, output, MEAN[None], MEAN)
    assert found["l2"].item() == pytest.approx((pooled - target).square().mean().item(), rel=1e-5)


def test_a_small_photograph_is_compared_at_its_own_size() -> None:
    """The output goes the way of the target: shrunk, then enlarged."""
    objective = Objective({"l2": 1.0})
    output = pictures(3)
    small = functional.adaptive_avg_pool2d(output, 128)
    enlarged = functional.interpolate(small, size=256, mode="bilinear", align_corners=False)
    target = torch.stack([enlarged[0], output[1], output[2]])
    codes = MEAN + offsets()
    found = computed(
        objective, target, target, output, codes, MEAN, native_size=torch.tensor([128, 0, 256])
    )
    assert found["loss"] < 1e-12
    plain = computed(objective, target, target, output, codes, MEAN)
    torch.testing.assert_close(plain["l2"], (output - target).square().mean())
    assert plain["l2"] > 0.01


def counted(monkeypatch: pytest.MonkeyPatch, thing: Any, method: str) -> list[bool]:
    """Whether gradients were on, at every call of a method."""
    calls: list[bool] = []
    plain = getattr(type(thing), method)

    def wrapped(self: Any, *arguments: Any) -> Any:
        calls.append(torch.is_grad_enabled())
        return plain(self, *arguments)

    monkeypatch.setattr(type(thing), method, wrapped)
    return calls


def test_targets_are_seen_once_and_without_gradients(
    lpips: LPIPS, identity: IdentityLoss, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = Objective({"lpips": 0.8, "identity": 0.1}, {"lpips": lpips, "identity": identity})
    features = counted(monkeypatch, lpips, "features")
    embeddings = counted(monkeypatch, identity, "embed")
    target, output = pictures(2), pictures(3).requires_grad_()
    found = computed(
        objective, target.clone(), target, output, MEAN[None], MEAN
    )  # inversion: an equal source
    assert sorted(features) == sorted(embeddings) == [False, True]
    assert found["id_gain"].item() == pytest.approx(-found["id"].item())
    computed(objective, pictures(1), target, output, MEAN[None], MEAN)
    assert sorted(embeddings[2:]) == [False, False, True]  # another source has to be looked at


def test_gradients_reach_output_and_codes_and_nothing_else(
    lpips: LPIPS, identity: IdentityLoss
) -> None:
    weights = dict.fromkeys(LOSSES, 1.0) | {"similarity": 0.0}
    objective = Objective(weights, {"lpips": lpips, "identity": identity})
    tensors = [pictures(1), pictures(2), pictures(3), MEAN + offsets(), MEAN.clone()]
    tensors = [each.clone().requires_grad_() for each in tensors]
    computed(objective, *tensors, true_codes=MEAN + offsets(3))["loss"].backward()
    _, _, output, codes, _ = tensors
    assert output.grad is not None
    assert output.grad.abs().sum() > 0
    assert codes.grad is not None
    assert codes.grad.abs().sum() > 0
    assert all(p.grad is None and not p.requires_grad for p in objective.parameters())


def test_networks_never_train(lpips: LPIPS, identity: IdentityLoss) -> None:
    objective = Objective({"lpips": 1.0, "identity": 1.0}, {"lpips": lpips, "identity": identity})
    objective.train()
    assert not any(m.training for m in objective.networks["identity"].modules())


def test_only_what_has_a_weight_is_computed(lpips: LPIPS, identity: IdentityLoss) -> None:
    objective = Objective({"l2": 1.0}, {"lpips": lpips, "identity": identity})
    assert not objective.networks
    found = computed(objective, pictures(1), pictures(2), pictures(3), MEAN[None], MEAN)
    assert set(found) == {"l2", "loss"}


def test_codes_alone_need_no_image() -> None:
    objective = Objective({"code": 1.0, "regularization": 0.1})
    assert not objective.needs_image
    assert Objective({"code": 1.0, "crop_l2": 0.1}).needs_image
    found = computed(
        objective, pictures(1), pictures(2), None, MEAN + offsets(), MEAN, MEAN + offsets(3)
    )
    assert set(found) == {"code", "reg", "loss"}
    with pytest.raises(ConfigError, match="need an output"):
        computed(Objective({"l2": 1.0}), pictures(1), pictures(2), None, MEAN[None], MEAN)


def test_only_known_codes_count() -> None:
    objective = Objective({"code": 2.0, "l2": 1.0})
    x, codes, true = pictures(1), MEAN + offsets(), MEAN + offsets(3)
    known = torch.tensor([True, False, True])
    true[1] = math.nan
    found = computed(objective, x, x, x, codes.requires_grad_(), MEAN, true, known)
    expected = (offsets() - offsets(3)).square()[known].mean()
    assert found["code"].item() == pytest.approx(expected.item(), rel=1e-5)
    found["loss"].backward()
    assert codes.grad is not None
    assert torch.isfinite(codes.grad).all()
    assert not codes.grad[1].any()

    nobody = computed(objective, x, x, x, codes, MEAN, true, torch.zeros(3, dtype=torch.bool))
    assert set(nobody) == {"l2", "loss"}
    assert set(computed(objective, x, x, x, codes, MEAN)) == {"l2", "loss"}
    with pytest.raises(ConfigError, match="no example has a known code"):
        computed(Objective({"code": 1.0}), x, x, None, codes, MEAN)


def test_an_encoder_that_starts_at_the_mean_has_finite_gradients() -> None:
    codes = MEAN[None].repeat(2, 1, 1).requires_grad_()
    x = pictures(1, count=2)
    found = computed(Objective({"regularization": 1.0}), x, x, None, codes, MEAN)
    found["loss"].backward()
    assert found["reg"].item() == 0
    assert codes.grad is not None
    assert torch.isfinite(codes.grad).all()


def test_sketches_and_other_sizes_have_no_gain(identity: IdentityLoss) -> None:
    objective = Objective({"identity": 1.0}, {"identity": identity})
    target, output = pictures(2), pictures(3)
    for source in (target[:, :1], target[:, :, ::2, ::2]):
        assert "id_gain" not in computed(objective, source, target, output, MEAN[None], MEAN)


def test_half_precision_pictures_are_compared_in_float32() -> None:
    x, y = pictures(1), pictures(2)
    found = computed(Objective({"l2": 1.0}), x, y, x.bfloat16(), MEAN[None], MEAN)
    assert found["l2"].dtype == torch.float32
    assert found["l2"].item() == pytest.approx((x - y).square().mean().item(), rel=1e-3)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"l3": 1.0}, "no loss 'l3'; there are: l2, lpips"),
        ({"l2": -1.0}, "l2 must be 0 or more"),
        ({"l2": math.nan}, "l2 must be 0 or more"),
        ({"l2": 0.0}, "every loss has weight 0"),
        ({"identity": 0.1, "similarity": 0.5}, "exclude each other"),
        ({"lpips": 0.8}, "lpips is above 0, but its network is missing"),
        ({"crop_lpips": 0.8}, "lpips is above 0, but its network is missing"),
        ({"identity": 0.1}, "identity is above 0, but its network is missing"),
        ({"similarity": 0.1}, "similarity is above 0, but its network is missing"),
    ],
)
def test_wrong_weights_are_refused(weights: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Objective(weights)


def test_a_target_of_another_size_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"targets must be \(N, 3, 256, 256\)"):
        computed(
            Objective({"l2": 1.0}), pictures(1), pictures(2, 128), pictures(3), MEAN[None], MEAN
        )


@pytest.mark.parametrize("task", tasks.TASKS)
def test_every_task_has_an_objective(
    task: str, lpips: LPIPS, identity: IdentityLoss, similarity: SimilarityLoss
) -> None:
    weights = tasks.TASKS[task].weights
    objective = Objective(weights, {"lpips": lpips, "identity": identity, "similarity": similarity})
    terms = {LOSSES[name].terms[0] for name, weight in weights.items() if weight}
    assert terms == set(objective.names) - {"id_gain", "loss"}


@pytest.fixture
def toy() -> Iterator[Loss]:
    """A loss of one's own: the mean brightness, weighed against a network's."""

    def brightness(inputs: LossInputs, network: nn.Module | None) -> dict[str, Tensor]:
        assert network is not None
        return {"toy": network(inputs.image).mean(), "toy_max": inputs.image.max()}

    mean = NetworkLoader("half", lambda variant: nn.LeakyReLU(0.5))
    row = Loss("toy", "Brightness.", brightness, terms=("toy", "toy_max"), network=mean)
    yield LOSSES.register(row)
    LOSSES.unregister("toy")


def test_a_registered_loss_is_weighed_by_tasks_settings_and_flags(toy: Loss) -> None:
    made = TrainConfig.parse({"losses": {"toy": 0.5}})
    assert made.weights["toy"] == 0.5
    assert TrainConfig.parse(json.loads(made.to_json())).weights == made.weights
    assert tables({"loss": ("toy=0.5",)})["losses"] == {"toy": 0.5}
    [loader] = networks_for(["toy"])
    objective = Objective({"l2": 1.0, "toy": 0.5}, {loader.name: loader.load(None)})
    target, output = pictures(2), pictures(3)
    found = computed(objective, target, target, output, MEAN[None], MEAN)
    bright = functional.leaky_relu(output, 0.5).mean()
    expected = (output - target).square().mean() + 0.5 * bright
    torch.testing.assert_close(found["loss"], expected)
    assert objective.names == ("l2", "toy", "toy_max", "loss")
    assert found["toy_max"] == output.max()


def test_listing_losses_needs_no_torch() -> None:
    code = (
        "import sys, wplus.tasks; from wplus.losses import LOSSES; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
