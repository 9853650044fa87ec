"""The IR trunk against the published layout written out with plain functions."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from wplus.formats.facenets import trunk_table
from wplus.formats.strict import inverse, rename
from wplus.nn.irse import STAGES_50, STAGES_101, IRSETrunk

TINY = ((32, 2), (48, 3), (64, 1))


def published_forward(state: dict[str, Tensor], x: Tensor, strides: list[int]) -> list[Tensor]:
    """Every unit's output, computed from tensors under the published names, unit by unit."""

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        x = (x - mean.view(1, -1, 1, 1)) / (var.view(1, -1, 1, 1) + 1e-5).sqrt()
        return x * state[f"{name}.weight"].view(1, -1, 1, 1) + state[f"{name}.bias"].view(
            1, -1, 1, 1
        )

    def prelu(x: Tensor, name: str) -> Tensor:
        return torch.where(x > 0, x, x * state[f"{name}.weight"].view(1, -1, 1, 1))

    x = functional.conv2d(x, state["input_layer.0.weight"], padding=1)
    x = prelu(norm(x, "input_layer.1"), "input_layer.2")
    outputs = []
    for i, stride in enumerate(strides):
        name = f"body.{i}.res_layer"
        y = functional.conv2d(norm(x, f"{name}.0"), state[f"{name}.1.weight"], padding=1)
        y = functional.conv2d(prelu(y, f"{name}.2"), state[f"{name}.3.weight"], None, stride, 1)
        y = norm(y, f"{name}.4")
        if f"{name}.5.fc1.weight" in state:
            gate = functional.adaptive_avg_pool2d(y, 1)
            gate = functional.relu(functional.conv2d(gate, state[f"{name}.5.fc1.weight"]))
            y = y * torch.sigmoid(functional.conv2d(gate, state[f"{name}.5.fc2.weight"]))
        shortcut = f"body.{i}.shortcut_layer"
        if f"{shortcut}.0.weight" in state:
            x = functional.conv2d(x, state[f"{shortcut}.0.weight"], None, stride)
            x = norm(x, f"{shortcut}.1")
        else:
            x = functional.max_pool2d(x, 1, stride)
        x = x + y
        outputs.append(x)
    return outputs


def scrambled(module: IRSETrunk) -> IRSETrunk:
    """Every parameter and statistic away from its initial value."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                noise = torch.randn(tensor.shape, generator=generator)
                tensor += 0.2 * (noise.abs() if name.endswith("running_var") else noise)
    return module.eval()


@pytest.mark.parametrize("se", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(32, 32), (21, 30)])
def test_equals_the_published_layout(se: bool, channels: int, size: tuple[int, int]) -> None:
    trunk = scrambled(IRSETrunk(channels, TINY, se=se)).double()
    config = {"stages": TINY, "se": se}
    published = rename(trunk.state_dict(), inverse(trunk_table(config)), "the trunk")
    x = torch.randn(2, channels, *size, dtype=torch.float64)
    with torch.no_grad():
        expected = published_forward(published, x, [2, 1, 2, 1, 1, 2])
        outputs = trunk.features(x, taps=range(6))
        for ours, theirs in zip(outputs, expected, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-9)
        torch.testing.assert_close(trunk(x), outputs[-1])


def test_default_taps_end_the_last_three_stages() -> None:
    with torch.device("meta"):
        assert IRSETrunk(stages=STAGES_50).ends == (2, 6, 20, 23)
        assert IRSETrunk(stages=STAGES_101).ends == (2, 15, 45, 48)
        features = IRSETrunk().features(torch.empty(1, 3, 256, 256))
    shapes = [tuple(x.shape) for x in features]
    assert shapes == [(1, 128, 64, 64), (1, 256, 32, 32), (1, 512, 16, 16)]


def test_taps_come_in_the_order_asked_and_deeper_units_do_not_run() -> None:
    trunk = scrambled(IRSETrunk(3, TINY))
    x = torch.randn(1, 3, 32, 32)
    everything = trunk.features(x, range(6))
    trunk.units[5].forward = pytest.fail  # type: ignore[method-assign, assignment]
    deep, shallow = trunk.features(x, (4, 1))
    torch.testing.assert_close(deep, everything[4])
    torch.testing.assert_close(shallow, everything[1])


@pytest.mark.parametrize("taps", [(6,), (-1, 2), ()])
def test_taps_outside_the_trunk_are_refused(taps: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="units 0 to 5"):
        IRSETrunk(3, TINY).features(torch.zeros(1, 3, 32, 32), taps)


@pytest.mark.parametrize("stages", [(), ((0, 3),), ((32, 0),)])
def test_empty_trunks_are_refused(stages: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(ValueError, match="positive sizes"):
        IRSETrunk(3, stages)


def test_bfloat16_stays_near_float32_and_trains() -> None:
    trunk = IRSETrunk(3, TINY).eval()
    x = torch.randn(1, 3, 32, 32)
    expected = trunk(x)
    low = IRSETrunk(3, TINY).eval()
    low.load_state_dict(trunk.state_dict())
    actual = low.bfloat16()(x.bfloat16())
    assert actual.dtype == torch.bfloat16
    assert torch.cosine_similarity(actual.float().flatten(), expected.flatten(), 0) > 0.999
    trunk.train()(x).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trunk.parameters())
