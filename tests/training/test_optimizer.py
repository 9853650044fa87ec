"""Learning rates, groups of parameters, the average of the weights, ways to leave."""

from __future__ import annotations

import math
import os
import signal
import time

import pytest
import torch
from toy import tiny

from wplus.training import Ranger
from wplus.training.config import OptimizerSettings
from wplus.training.muon import Muon
from wplus.training.optimizer import Average, make_optimizer, rate_at, set_rate
from wplus.training.stopping import Stopping


def test_the_rate_is_constant_by_default() -> None:
    assert {rate_at(OptimizerSettings(), step) for step in (0, 5, 299_999)} == {1e-4}


def test_the_rate_rises_and_falls() -> None:
    settings = OptimizerSettings(steps=110, warm_up=10, schedule="cosine", learning_rate=2.0)
    rates = [rate_at(settings, step) for step in range(110)]
    assert rates[:10] == pytest.approx([0.2 * (i + 1) for i in range(10)])
    assert rates[10] == 2.0
    assert rates[60] == pytest.approx(1.0)  # half-way down
    assert rates[35] == pytest.approx(1 + math.cos(math.pi / 4))
    assert 0 < rates[-1] < 0.001
    assert rates[9:] == sorted(rates[9:], reverse=True)
    slow_start = OptimizerSettings(warm_up=4, learning_rate=1.0)
    assert [rate_at(slow_start, i) for i in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]


@pytest.mark.parametrize("kind", ["ranger", "adamw", "muon"])
def test_the_trunk_can_go_slower(kind: str) -> None:
    encoder = tiny.model("stylegan2", "compact").encoder
    settings = OptimizerSettings(
        optimizer=kind,  # type: ignore[arg-type]
        learning_rate=1e-2,
        trunk_rate=0.0,
        weight_decay=0.25,
    )
    optimizer = make_optimizer(encoder, settings)
    kinds = {"ranger": Ranger, "adamw": torch.optim.AdamW, "muon": Muon}
    assert isinstance(optimizer, kinds[kind])
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.25}
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    encoder.requires_grad_(True)
    assert set_rate(optimizer, settings, 0) == 1e-2
    encoder(torch.rand(2, 3, 64, 64)).square().sum().backward()
    optimizer.step()
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith("trunk."), name


def test_every_parameter_is_in_one_group() -> None:
    encoder = tiny.model("stylegan2", "pyramid").encoder
    groups = make_optimizer(encoder, OptimizerSettings(trunk_rate=0.5)).param_groups
    assert sum(len(group["params"]) for group in groups) == len(list(encoder.parameters()))
    assert [group["share"] for group in groups] == [0.5, 1.0]


def test_the_average_by_hand() -> None:
    encoder = tiny.model("stylegan2", "naive_wplus").encoder
    average = Average(encoder, 0.5)
    expected = {name: value.double() for name, value in encoder.state_dict().items()}
    for step in range(1, 8):
        with torch.no_grad():
            for value in encoder.state_dict().values():
                value.add_(step)
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        for name, value in encoder.state_dict().items():
            learned = name in dict(encoder.named_parameters())
            mean = decay * expected[name] + (1 - decay) * value
            expected[name] = mean if learned else value.double()
    for name, value in average.network.state_dict().items():
        torch.testing.assert_close(value.double(), expected[name], rtol=1e-5, atol=1e-5, msg=name)
    assert not average.network.training
    assert not any(p.requires_grad for p in average.network.parameters())


def test_no_average_is_the_encoder() -> None:
    encoder = tiny.model("stylegan2", "compact").encoder
    average = Average(encoder, 0.0)
    average.update(1)
    assert average.network is encoder


def test_the_first_signal_is_noted_and_the_second_acts() -> None:
    with Stopping() as stopping:
        assert not stopping.requested
        os.kill(os.getpid(), signal.SIGINT)
        assert stopping.requested
        assert stopping.reason == "stopped by SIGINT"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_time_runs_out() -> None:
    with Stopping(minutes=0.01 / 60) as stopping:
        time.sleep(0.02)
        assert stopping.requested
        assert stopping.reason == "the time is up"
        assert stopping.signal is None
