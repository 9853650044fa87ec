"""Ranger: the published trajectory, a slow loop over plain numbers, stopping and going on."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import weights as reference_weights
from wplus.errors import ConfigError
from wplus.training import Ranger, ranger

SHAPES: dict[str, tuple[int, ...]] = {"weight": (8, 6), "bias": (8,), "conv": (4, 3, 3, 3)}


def normal(name: str, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(reference_weights.normal(name, shape).copy())


def start() -> dict[str, nn.Parameter]:
    return {name: nn.Parameter(normal(f"ranger.{name}", shape)) for name, shape in SHAPES.items()}


def set_gradients(parameters: dict[str, nn.Parameter], step: int) -> None:
    for name, p in parameters.items():
        p.grad = normal(f"ranger.{name}.grad{step}", tuple(p.shape))


def walk(optimizer: Ranger, parameters: dict[str, nn.Parameter], steps: range) -> None:
    for step in steps:
        set_gradients(parameters, step)
        optimizer.step()


def slow_ranger(
    theta: np.ndarray, gradients: list[np.ndarray], **settings: Any
) -> list[np.ndarray]:
    """Number by number, in double precision, with RAdam's corrected moments written out."""
    lr, eps = settings.get("lr", 1e-2), settings.get("eps", 1e-5)
    beta1, beta2 = settings.get("betas", (0.95, 0.999))
    k, alpha = settings.get("k", 6), settings.get("alpha", 0.5)
    decay = settings.get("weight_decay", 0.0)
    values = theta.astype(float).ravel().tolist()
    slow, m, v = list(values), [0.0] * len(values), [0.0] * len(values)
    path = []
    for t, gradient in enumerate(gradients, start=1):
        g = gradient.astype(float).reshape(len(gradient), -1)
        if gradient.ndim >= 2:
            g = g - g.sum(1, keepdims=True) / g.shape[1]
        g = g.ravel().tolist()
        rho_inf = 2 / (1 - beta2) - 1
        rho = rho_inf - 2 * t * beta2**t / (1 - beta2**t)
        for i in range(len(values)):
            m[i] = beta1 * m[i] + (1 - beta1) * g[i]
            v[i] = beta2 * v[i] + (1 - beta2) * g[i] ** 2
            values[i] -= lr * decay * values[i]
            corrected = m[i] / (1 - beta1**t)
            if rho > 5:
                r = math.sqrt(
                    (rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)
                )
                adaptive = math.sqrt(1 - beta2**t) / (math.sqrt(v[i]) + eps)
                values[i] -= lr * r * corrected * adaptive
            else:
                values[i] -= lr * corrected
            if t % k == 0:
                slow[i] += alpha * (values[i] - slow[i])
                values[i] = slow[i]
        path.append(np.array(values).reshape(theta.shape))
    return path


def test_the_published_trajectory(cases: dict[str, np.ndarray]) -> None:
    parameters = start()
    optimizer = Ranger(parameters.values(), lr=1e-2)
    for step in range(14):
        walk(optimizer, parameters, range(step, step + 1))
        for name, p in parameters.items():
            expected = cases[f"ranger.{name}"][step]
            np.testing.assert_allclose(p.detach(), expected, rtol=0, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"weight_decay": 0.1, "lr": 3e-2},
        {"betas": (0.9, 0.99), "eps": 1e-3},
        {"k": 1, "alpha": 0.3},
        {"k": 4, "alpha": 1.0, "betas": (0.0, 0.5)},  # never adaptive
    ],
)
def test_equals_the_slow_loop(settings: dict[str, Any]) -> None:
    parameters = start()
    optimizer = Ranger(parameters.values(), **{"lr": 1e-2, **settings})
    expected = {
        name: slow_ranger(
            p.detach().numpy().copy(),
            [normal(f"ranger.{name}.grad{s}", SHAPES[name]).numpy() for s in range(20)],
            **settings,
        )
        for name, p in parameters.items()
    }
    for step in range(20):
        walk(optimizer, parameters, range(step, step + 1))
        for name, p in parameters.items():
            np.testing.assert_allclose(p.detach(), expected[name][step], rtol=0, atol=2e-6)


def test_the_first_steps_are_not_adaptive() -> None:
    """With β₂ = .999 the moving average is long enough from step 6 on."""
    assert [ranger._rectifier(t, 0.999) is not None for t in range(1, 8)] == [False] * 5 + [
        True
    ] * 2
    late = ranger._rectifier(10**9, 0.999)
    assert late == pytest.approx(1)


def test_any_batches_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """One parameter at a time is the plain loop; none of the values may differ from it."""
    results = []
    for room in (1, 60, 1 << 24):
        monkeypatch.setattr(ranger, "BATCH", {"cpu": room, "cuda": room})
        parameters = start()
        optimizer = Ranger(parameters.values(), lr=1e-2, weight_decay=0.01)
        batches = [len(b) for _, b in optimizer._batches(list(parameters.values()))]
        optimizer = Ranger(parameters.values(), lr=1e-2, weight_decay=0.01)
        walk(optimizer, parameters, range(14))
        results.append((batches, [p.detach().clone() for p in parameters.values()]))
    assert [batches for batches, _ in results] == [[1, 1, 1], [2, 1], [3]]
    for _, values in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(values, results[0][1]))


def test_gradients_are_left_alone() -> None:
    parameters = start()
    set_gradients(parameters, 0)
    Ranger(parameters.values()).step()
    for name, p in parameters.items():
        assert p.grad is not None
        assert torch.equal(p.grad, normal(f"ranger.{name}.grad0", SHAPES[name]))


def test_memory_layouts_do_not_matter() -> None:
    plain, turned = start(), start()
    turned["conv"] = nn.Parameter(turned["conv"].detach().to(memory_format=torch.channels_last))
    for parameters in (plain, turned):
        walk(Ranger(parameters.values(), lr=1e-2), parameters, range(8))
    torch.testing.assert_close(turned["conv"], plain["conv"], rtol=0, atol=1e-7)


def test_stopping_and_going_on_changes_nothing(tmp_path: Path) -> None:
    """Step 9 is between two moves of the slow weights, so these have to be in the file."""
    never_stopped = start()
    walk(Ranger(never_stopped.values(), lr=1e-2), never_stopped, range(20))

    parameters = start()
    optimizer = Ranger(parameters.values(), lr=1e-2)
    walk(optimizer, parameters, range(9))
    torch.save({"weights": parameters, "optimizer": optimizer.state_dict()}, tmp_path / "state.pt")

    content = torch.load(tmp_path / "state.pt", weights_only=True)
    resumed = {name: nn.Parameter(value.detach()) for name, value in content["weights"].items()}
    other = Ranger(resumed.values(), lr=0.5, k=3)  # the saved settings win
    other.load_state_dict(content["optimizer"])
    assert (other.param_groups[0]["lr"], other.param_groups[0]["k"]) == (1e-2, 6)
    walk(other, resumed, range(9, 20))
    for name in SHAPES:
        assert torch.equal(resumed[name], never_stopped[name])


def test_parameters_without_gradient_wait() -> None:
    parameters = start()
    alone = start()["bias"]
    optimizer = Ranger(parameters.values(), lr=1e-2)
    before = parameters["bias"].detach().clone()
    for step in range(5):
        set_gradients(parameters, step)
        parameters["bias"].grad = None
        optimizer.step()
    assert torch.equal(parameters["bias"], before)
    assert parameters["bias"] not in optimizer.state

    fresh = Ranger([alone], lr=1e-2)
    for step in range(5, 15):  # now it moves, as if it were alone
        set_gradients(parameters, step)
        optimizer.step()
        set_gradients({"bias": alone}, step)
        fresh.step()
    assert torch.equal(parameters["bias"], alone)
    assert optimizer.state[parameters["weight"]]["step"] == 15

    again = Ranger(start().values())  # saved while one waited
    waiting = Ranger([nn.Parameter(p.detach().clone()) for p in parameters.values()])
    again.load_state_dict(waiting.state_dict())


def test_parameters_added_late_start_afresh() -> None:
    parameters = start()
    optimizer = Ranger([parameters["weight"]], lr=1e-2)
    walk(optimizer, {"weight": parameters["weight"]}, range(4))
    optimizer.add_param_group({"params": parameters["conv"], "lr": 1e-3})
    optimizer.add_param_group({"params": (parameters[name] for name in ("bias",))})
    walk(optimizer, parameters, range(4, 12))
    together = {name: p.detach().clone() for name, p in parameters.items()}

    for name, first, lr in (("weight", 0, 1e-2), ("conv", 4, 1e-3), ("bias", 4, 1e-2)):
        alone = {name: start()[name]}
        walk(Ranger(alone.values(), lr=lr), alone, range(first, 12))
        assert torch.equal(alone[name], together[name])


def test_the_closure_computes_gradients() -> None:
    p = nn.Parameter(torch.tensor([3.0, -2.0]))
    optimizer = Ranger([p], lr=0.05)

    def closure() -> float:
        optimizer.zero_grad()
        loss = p.square().sum()
        loss.backward()
        return loss.item()

    losses = [optimizer.step(closure) for _ in range(200)]
    assert losses[0] == 13
    assert losses[-1] < 4  # rectification and lookahead make it slow at first
    assert optimizer.step() is None


def test_a_scheduler_drives_it() -> None:
    parameters = start()
    optimizer = Ranger(parameters.values(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: float(step > 2))
    before = parameters["weight"].detach().clone()
    for step in range(4):
        walk(optimizer, parameters, range(step, step + 1))
        schedule.step()
        if step == 1:
            assert torch.equal(parameters["weight"], before)
    assert not torch.equal(parameters["weight"], before)


def test_scalars_and_empty_tensors() -> None:
    scalar, empty = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.zeros(3, 0))
    scalar.grad, empty.grad = torch.tensor(2.0), torch.zeros(3, 0)
    Ranger([scalar, empty], lr=0.1).step()
    assert scalar.item() == pytest.approx(0.8)


WRONG = [
    ("lr", -1e-4),
    ("lr", math.nan),
    ("lr", math.inf),
    ("betas", (1.0, 0.999)),
    ("betas", (0.9, -0.1)),
    ("eps", 0.0),
    ("weight_decay", -1.0),
    ("k", 0),
    ("k", 2.5),
    ("alpha", 0.0),
    ("alpha", 1.5),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_settings_out_of_range_are_refused(name: str, value: Any) -> None:
    p = nn.Parameter(torch.zeros(2))
    with pytest.raises(ConfigError, match=rf"Ranger's {name} must .*, not "):
        Ranger([p], **{name: value})
    optimizer = Ranger([p])
    with pytest.raises(ConfigError, match=name):
        optimizer.add_param_group({"params": nn.Parameter(torch.zeros(2)), name: value})
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_coarse_weights_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(ConfigError, match=r"train float32 ones, under torch\.autocast"):
        Ranger([nn.Parameter(torch.zeros(2, dtype=dtype))])


def test_double_precision_stays_double() -> None:
    p = nn.Parameter(normal("ranger.weight", (8, 6)).double())
    optimizer = Ranger([p], lr=1e-2)
    grads = [normal(f"ranger.weight.grad{s}", (8, 6)).double() for s in range(12)]
    expected = slow_ranger(p.detach().numpy().copy(), [g.numpy() for g in grads])[-1]
    for p.grad in grads:
        optimizer.step()
    np.testing.assert_allclose(p.detach(), expected, rtol=0, atol=1e-12)


def test_sparse_gradients_are_refused_before_anything_moves() -> None:
    dense = nn.Parameter(torch.ones(2))
    table = nn.Embedding(4, 2, sparse=True)
    optimizer = Ranger([dense, table.weight])
    dense.grad = torch.ones(2)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(ConfigError, match="no sparse gradients"):
        optimizer.step()
    assert torch.equal(dense, torch.ones(2))
    assert dense not in optimizer.state


def test_the_state_of_another_optimizer_is_refused() -> None:
    parameters = start()
    set_gradients(parameters, 0)
    adam = torch.optim.Adam(parameters.values())
    adam.step()
    optimizer = Ranger(parameters.values())
    with pytest.raises(ConfigError, match="another optimizer"):
        optimizer.load_state_dict(adam.state_dict())

    optimizer.step()
    state = optimizer.state_dict()
    del state["state"][1]["slow"]
    with pytest.raises(ConfigError, match="another optimizer"):
        Ranger(start().values()).load_state_dict(state)


def test_the_state_of_another_model_is_refused() -> None:
    parameters = start()
    optimizer = Ranger(parameters.values())
    walk(optimizer, parameters, range(1))
    larger = [nn.Parameter(torch.zeros(8, 7)), *list(start().values())[1:]]
    with pytest.raises(ConfigError, match=r"\(8, 6\) stands where the model has \(8, 7\)"):
        Ranger(larger).load_state_dict(optimizer.state_dict())
    with pytest.raises(ValueError, match="group"):
        Ranger(list(start().values())[:2]).load_state_dict(optimizer.state_dict())
