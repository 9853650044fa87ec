"""LPIPS against loops, the published implementation's case, and its limits."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

import weights as reference_weights
from wplus.formats.lpips import publish_lpips, translate_lpips
from wplus.formats.strict import load_strict
from wplus.losses.perceptual import LPIPS, load_lpips

REFERENCE = Path(reference_weights.__file__).parent


def random_net(net: str) -> LPIPS:
    torch.manual_seed(0)
    model = LPIPS(net)
    with torch.no_grad():
        for head in model.heads:
            head.uniform_(0, 1)
        for conv in model.convs:
            conv.weight *= 3  # so that the deepest features still differ
    return model


def alexnet_stack(state: dict[str, torch.Tensor], x: torch.Tensor) -> list[torch.Tensor]:
    def conv(x: torch.Tensor, i: int, stride: int, padding: int) -> torch.Tensor:
        x = functional.conv2d(x, state[f"features.{i}.weight"], None, stride, padding)
        return functional.relu(x + state[f"features.{i}.bias"].view(1, -1, 1, 1))

    one = conv(x, 0, 4, 2)
    two = conv(functional.max_pool2d(one, 3, 2), 3, 1, 2)
    three = conv(functional.max_pool2d(two, 3, 2), 6, 1, 1)
    four = conv(three, 8, 1, 1)
    return [one, two, three, four, conv(four, 10, 1, 1)]


def vgg16_stack(state: dict[str, torch.Tensor], x: torch.Tensor) -> list[torch.Tensor]:
    places = [[0, 2], [5, 7], [10, 12, 14], [17, 19, 21], [24, 26, 28]]
    taps = []
    for stage in places:
        if taps:
            x = functional.max_pool2d(x, 2)
        for i in stage:
            x = functional.conv2d(
                x, state[f"features.{i}.weight"], state[f"features.{i}.bias"], 1, 1
            )
            x = functional.relu(x)
        taps.append(x)
    return taps


def lpips_by_loops(state: dict[str, torch.Tensor], a: list, b: list) -> np.ndarray:
    """Zhang et al., Eq. 1, over pixels and channels one by one."""
    total = np.zeros(len(a[0]))
    for k, (layer_a, layer_b) in enumerate(zip(a, b, strict=True)):
        head = state[f"lin{k}.model.1.weight"].flatten().double().numpy()
        x, y = layer_a.double().numpy(), layer_b.double().numpy()
        n, _, height, width = x.shape
        for i in range(n):
            layer = 0.0
            for row in range(height):
                for column in range(width):
                    u, v = x[i, :, row, column], y[i, :, row, column]
                    u, v = u / (np.sqrt((u**2).sum()) + 1e-10), v / (np.sqrt((v**2).sum()) + 1e-10)
                    layer += float((head * (u - v) ** 2).sum())
            total[i] += layer / (height * width)
    return total


@pytest.mark.parametrize(("net", "stack"), [("alexnet", alexnet_stack), ("vgg16", vgg16_stack)])
def test_equals_loops(net: str, stack) -> None:
    model = random_net(net)
    a, b = (torch.rand(2, 3, 45, 38) * 2 - 1 for _ in range(2))
    state = publish_lpips(net, model.state_dict())
    shift = torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1)
    scale = torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1)
    with torch.no_grad():
        expected = lpips_by_loops(
            state, stack(state, (a - shift) / scale), stack(state, (b - shift) / scale)
        )
        actual = model(a, b)
    assert expected.min() > 1e-2
    np.testing.assert_allclose(actual, expected, rtol=1e-4)


def test_equals_the_published_case() -> None:
    shapes = json.loads((REFERENCE / "keys.json").read_text())["lpips_alex"]
    state = {
        name: torch.from_numpy(np.asarray(reference_weights.weight(name, tuple(shape))))
        for name, shape in shapes.items()
    }
    net, ours = translate_lpips(state)
    model = LPIPS(net)
    load_strict(model, ours, "the case")
    a, b = (
        torch.from_numpy(reference_weights.picture(f"arcface.{x}", (2, 3, 256, 256))) for x in "ab"
    )
    expected = np.load(REFERENCE / "cases.npz")["lpips.distance"]
    np.testing.assert_allclose(model(a, b), expected, atol=1e-5)


def test_is_a_distance_of_each_pair() -> None:
    model = random_net("alexnet")
    a, b = (torch.rand(3, 3, 32, 40) * 2 - 1 for _ in range(2))
    distances = model(a, b)
    assert distances.shape == (3,)
    assert (distances > 0).all()
    torch.testing.assert_close(model(b, a), distances)
    torch.testing.assert_close(model(a, a), torch.zeros(3))
    one_by_one = torch.cat([model(x[None], y[None]) for x, y in zip(a, b)])
    torch.testing.assert_close(one_by_one, distances)


def test_target_features_are_reused_and_broadcast() -> None:
    model = random_net("alexnet")
    a, target = torch.rand(3, 3, 32, 32) * 2 - 1, torch.rand(1, 3, 32, 32) * 2 - 1
    kept = model.features(target)
    reused = model.distance(model.features(a), kept)
    torch.testing.assert_close(reused, model(a, target.expand(3, -1, -1, -1)))
    for feature in kept:
        torch.testing.assert_close(feature.norm(dim=1), torch.ones_like(feature[:, 0]))


def test_gradients_reach_the_picture_alone() -> None:
    model = random_net("alexnet").train()
    a = (torch.rand(1, 3, 32, 32) * 2 - 1).requires_grad_()
    b = torch.rand(1, 3, 32, 32) * 2 - 1
    model(a, b).sum().backward()
    assert a.grad is not None
    assert a.grad.abs().sum() > 0
    assert all(p.grad is None and not p.requires_grad for p in model.parameters())
    step = 1e-3 * torch.randn(a.shape, generator=torch.Generator().manual_seed(1)).double()
    double = random_net("alexnet").double()
    up, down = double(a.double() + step, b.double()), double(a.double() - step, b.double())
    torch.testing.assert_close(
        (up - down).item() / 2, (a.grad * step).sum().item(), rtol=1e-2, atol=1e-6
    )


def test_dead_features_give_no_nan() -> None:
    model = random_net("alexnet")
    with torch.no_grad():
        for conv in list(model.convs)[2:]:
            conv.bias.fill_(-1e3)  # every feature of the last layers is zero everywhere
    a = (torch.rand(1, 3, 32, 32) * 2 - 1).requires_grad_()
    distance = model(a, -a.detach())
    distance.sum().backward()
    assert distance.isfinite().all()
    assert a.grad is not None
    assert a.grad.isfinite().all()


@pytest.mark.parametrize(("net", "minimum"), [("alexnet", 31), ("vgg16", 16)])
def test_pictures_that_leave_no_pixel_are_refused(net: str, minimum: int) -> None:
    model = random_net(net)
    assert model.minimum == minimum
    smallest = torch.zeros(1, 3, minimum, minimum)
    assert model(smallest, smallest).item() == 0
    for shape in ((1, 3, minimum - 1, 64), (1, 3, 64, minimum - 1), (1, 1, 64, 64), (3, 64, 64)):
        with pytest.raises(ValueError, match=f"at least {minimum}x{minimum}"):
            model(torch.zeros(shape), torch.zeros(shape))


def test_bfloat16_is_near_float32() -> None:
    model = random_net("alexnet")
    a, b = (torch.rand(2, 3, 64, 64) * 2 - 1 for _ in range(2))
    expected = model(a, b)
    actual = random_net("alexnet").bfloat16()(a.bfloat16(), b.bfloat16())
    torch.testing.assert_close(actual.float(), expected, rtol=0.03, atol=0)


def test_unknown_nets_are_refused() -> None:
    with pytest.raises(ValueError, match="alexnet or vgg16, not squeeze"):
        LPIPS("squeeze")


@pytest.mark.network
def test_published_weights() -> None:
    """Noise against noise at 100x100: TorchMetrics documents 0.3493 for VGG16 (other noise)."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(8, 3, 100, 100, generator=generator) * 2 - 1 for _ in range(2))
    with torch.no_grad():
        assert load_lpips("vgg16")(a, b).mean().item() == pytest.approx(0.3493, abs=0.01)
    alexnet = load_lpips("alexnet")
    assert all(head.min() >= 0 for head in alexnet.heads)
    slight = (a + 0.1 * b).clamp(-1, 1)
    with torch.no_grad():
        assert (alexnet(a, slight) < alexnet(a, b)).all()
