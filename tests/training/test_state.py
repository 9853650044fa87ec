"""States: written whole, read strictly, put back exactly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from toy import tiny

from wplus.errors import ConfigError, FormatError
from wplus.psp import PSP
from wplus.training import Ranger, state
from wplus.training.state import State


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PReLU(4))


def learn(net: nn.Module, optimizer: torch.optim.Optimizer, seeds: range) -> None:
    for seed in seeds:
        x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
        optimizer.zero_grad()
        net(x).square().mean().backward()
        optimizer.step()


def optimizer_of(kind: str, net: nn.Module) -> torch.optim.Optimizer:
    groups = [{"params": list(net.parameters())[:1], "share": 0.5},
              {"params": list(net.parameters())[1:], "share": 1.0}]  # fmt: skip
    if kind == "ranger":
        return Ranger(groups, lr=1e-2)
    return torch.optim.AdamW(groups, lr=1e-2, weight_decay=0.1)


@pytest.mark.parametrize("kind", ["ranger", "adamw", "muon"])
def test_going_on_is_exact(tmp_path: Path, kind: str) -> None:
    never, average = network(0), network(1)
    optimizer = optimizer_of(kind, never)
    learn(never, optimizer, range(8))
    now = State(step=8, means={"loss": [0.1 + 0.2, 3.0]}, best={"step": 6, "loss": 1 / 3})
    state.save(tmp_path, now, never, average, optimizer, keep=2)
    learn(never, optimizer, range(8, 16))

    saved = state.latest(tmp_path)
    assert saved is not None
    assert saved.state == now  # every bit of the floats
    resumed, other = network(5), network(6)
    again = optimizer_of(kind, resumed)
    saved.restore(resumed, other, again)
    for name, value in average.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)
    learn(resumed, again, range(8, 16))
    for name, value in never.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def fill(run: Path, *steps: int, keep: int = 99) -> None:
    net = network(0)
    for step in steps:
        state.save(run, State(step=step), net, None, optimizer_of("ranger", net), keep)


def names(run: Path) -> list[str]:
    return [path.name for path in state.states(run)]


def test_the_newest_are_kept(tmp_path: Path) -> None:
    fill(tmp_path, 5, 10, 15, 20, keep=2)
    assert names(tmp_path) == ["00000015.safetensors", "00000020.safetensors"]
    assert state.latest(tmp_path).state.step == 20  # type: ignore[union-attr]


def test_no_state_is_none(tmp_path: Path) -> None:
    assert state.latest(tmp_path) is None
    assert state.latest(tmp_path / "nowhere") is None


def test_a_damaged_state_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As a full disk or a power cut can leave it."""
    fill(tmp_path, 5, 10)
    newest = state.states(tmp_path)[-1]
    newest.write_bytes(newest.read_bytes()[:-100])
    saved = state.latest(tmp_path)
    assert saved is not None
    assert saved.state.step == 5
    assert str(newest) in caplog.text
    for path in state.states(tmp_path):
        path.write_bytes(b"")
    with pytest.raises(FormatError, match="none of its 2 states can be read"):
        state.latest(tmp_path)


def test_nothing_is_lost_when_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, 5)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="No space"):
        fill(tmp_path, 10, keep=1)
    assert names(tmp_path) == ["00000005.safetensors"]
    assert not list(tmp_path.rglob(".*"))


def test_a_state_of_something_else_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, 5)
    saved = state.latest(tmp_path)
    assert saved is not None
    wide = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.PReLU(8))
    with pytest.raises(FormatError, match="wrong shape"):
        saved.restore(wide, None, optimizer_of("ranger", wide))
    with pytest.raises(FormatError, match="lacks"):  # it has no average
        saved.restore(network(0), network(0), optimizer_of("ranger", network(0)))
    net = network(0)
    with pytest.raises(ConfigError, match="is of another optimizer, Ranger and not AdamW"):
        saved.restore(net, None, optimizer_of("adamw", net))
    fewer = Ranger([{"params": list(net.parameters()), "share": 1.0}])
    with pytest.raises(ConfigError, match="is of other parameters"):
        saved.restore(net, None, fewer)


def test_other_files_are_no_states(tmp_path: Path) -> None:
    folder = tmp_path / "states"
    folder.mkdir()
    path = folder / "00000001.safetensors"
    save_file({"x": torch.ones(2)}, path)
    with pytest.raises(FormatError, match="is no state of a training run"):
        state.read(path)
    for about in ("[]", "{", '{"version": 9}', '{"version": 1}'):
        save_file({"x": torch.ones(2)}, path, metadata={state.KEY: about})
        with pytest.raises(FormatError, match=r"00000001\.safetensors"):
            state.read(path)
    good = {"version": 1, "state": {"step": 3, "more": 1}, "optimizer": {}}
    save_file({"x": torch.ones(2)}, path, metadata={state.KEY: json.dumps(good)})
    with pytest.raises(FormatError, match="is no state of a training run"):
        state.read(path)


def test_a_state_is_not_mistaken_for_a_model(tmp_path: Path) -> None:
    from wplus import models

    fill(tmp_path, 5)
    with pytest.raises(FormatError, match="holds no network of a known layout"):
        models.load_network(state.states(tmp_path)[0])


def test_what_was_trained_comes_back(tmp_path: Path) -> None:
    model: PSP = tiny.model("mobilestylegan", "compact")
    from dataclasses import asdict

    assert model.encoder is not None
    now = State(step=1, model=asdict(model.config))
    optimizer = Ranger([{"params": list(model.encoder.parameters()), "share": 1.0}])
    state.save(tmp_path, now, model.encoder, None, optimizer, keep=1)
    saved = state.latest(tmp_path)
    assert saved is not None
    assert saved.state.model_config == model.config
