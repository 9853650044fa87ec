"""One step after the other: the published loop, parts of a batch, clipping, what is not finite."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import plain_loop
import pytest
import torch
from torch import Tensor
from toy import neighbor, tiny

import wplus
from published_files import picture, published_checkpoint
from wplus import models
from wplus.errors import ConfigError
from wplus.generators import StyleGAN2
from wplus.losses import LPIPS, IdentityLoss
from wplus.losses.objective import Objective
from wplus.psp import PSP
from wplus.training import Ranger
from wplus.training.step import EncoderLosses, Step, StepResult

plain_generators = neighbor("generators/plain.py")

PAPER = {"l2": 1.0, "regularization": 0.005}


def prepared(model: PSP) -> PSP:
    """Ready to be trained as the published loop does, without noise."""
    assert isinstance(model.generator, StyleGAN2)
    assert model.encoder is not None
    with torch.no_grad():
        for name, parameter in model.generator.named_parameters():
            if name.endswith("noise_strength"):
                parameter.zero_()
    model.encoder.train().requires_grad_(True)
    return model


def make_step(model: PSP, weights: dict[str, float] = PAPER, lr: float = 1e-4, **more: Any) -> Step:
    assert model.encoder is not None
    losses = EncoderLosses(model, Objective(weights))
    return Step(model.encoder, losses, Ranger(model.encoder.parameters(), lr=lr), **more)


def batches(count: int, size: int = 2, dtype: torch.dtype = torch.float32) -> list[dict[str, Any]]:
    made = []
    for i in range(count):
        both = [picture(f"loop.{i}.{kind}", (size, 3, 256, 256)).to(dtype) for kind in "xy"]
        made.append({"source": both[0], "target": both[1]})
    return made


def plain(model: PSP, kind: str, data: list[dict[str, Any]], lr: float) -> tuple[Any, Any]:
    """The same run by the independent loop: losses, and the encoder's state at the end."""
    assert model.encoder is not None
    state = {k: v.detach().clone() for k, v in model.encoder.state_dict().items()}
    generator = dict(model.generator.state_dict())
    size = model.encoder.input_size
    encode: Callable[..., Tensor] = getattr(plain_loop, kind)
    stages = dict(model.config.encoder.options).get("stages") or wplus.nn.irse.STAGES_50  # type: ignore[union-attr]
    run = plain_loop.losses(
        lambda state, x: encode(
            state, torch.nn.functional.avg_pool2d(x, 256 // size), stages, model.num_styles
        ),
        partial(plain_generators.stylegan2, generator),
        state,
        model.mean_codes,
        [(each["source"], each["target"]) for each in data],
        lr,
    )
    return run, state


@pytest.mark.parametrize("kind", ["single_w", "naive_wplus"])
def test_the_published_loop_small_and_in_double_precision(kind: str) -> None:
    """14 steps: rectification begins at the sixth, lookahead at the sixth and the twelfth."""
    model = prepared(tiny.model("stylegan2", kind).double())
    data = batches(14, dtype=torch.float64)
    expected, state = plain(model, kind, data, lr=1e-2)
    step = make_step(model, lr=1e-2)
    for batch, terms in zip(data, expected):
        found = step(batch).terms
        assert {name: found[name] for name in terms} == pytest.approx(terms, rel=1e-6)
    assert expected[-1]["reg"] != pytest.approx(expected[0]["reg"], rel=0.05)  # it did learn
    assert model.encoder is not None
    for name, value in model.encoder.state_dict().items():
        if not name.endswith("tracked"):
            torch.testing.assert_close(value, state[name], rtol=1e-7, atol=1e-9, msg=name)


@pytest.mark.slow
def test_the_published_loop_on_the_reference_weights(tmp_path: Path) -> None:
    """8 steps of the published size: IR-SE-50, single W, 64² generator, float32."""
    path = tmp_path / "psp.pt"
    published_checkpoint(
        "single_w_64",
        path,
        num_styles=1,
        encoder_type="BackboneEncoderUsingLastLayerIntoW",
        output_size=64,
        learn_in_w=True,
    )
    model = prepared(wplus.load(path))
    data = batches(8)
    expected, _ = plain(model, "single_w", data, lr=1e-4)
    step = make_step(model)
    for batch, terms in zip(data, expected):
        found = step(batch).terms
        assert {name: found[name] for name in terms} == pytest.approx(terms, rel=1e-5)


def encoder_of(step: Step) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in step.network.state_dict().items()}


def compact(seed: int = 0) -> PSP:
    """A model without batch norms: parts of a batch do not see each other."""
    return prepared(tiny.model("stylegan2", "compact").double())


def test_parts_of_a_batch_add_up_to_the_batch() -> None:
    whole, parts = make_step(compact(), lr=1e-2), make_step(compact(), lr=1e-2, accumulate=3)
    for batch in batches(7, size=6, dtype=torch.float64):
        first, second = whole(batch), parts(batch)
        assert second.terms == pytest.approx(first.terms, rel=1e-6)
    for name, value in encoder_of(whole).items():
        torch.testing.assert_close(parts.network.state_dict()[name], value, rtol=1e-8, atol=1e-10)


def test_parts_with_other_shares_of_known_codes_add_up_too() -> None:
    weights = {"l2": 1.0, "code": 0.5}
    runs = [make_step(compact(), weights, lr=1e-2, accumulate=n) for n in (1, 2, 3)]
    codes = torch.randn(6, 6, 12, dtype=torch.float64)
    known = torch.tensor([False, False, True, True, True, False])
    for batch in batches(7, size=6, dtype=torch.float64):
        whole, *others = [step({**batch, "codes": codes, "has_code": known}).terms for step in runs]
        for terms in others:
            assert terms == pytest.approx(whole, rel=1e-6)
    for name, value in encoder_of(runs[0]).items():
        for step in runs[1:]:
            other = step.network.state_dict()[name]
            torch.testing.assert_close(other, value, rtol=1e-8, atol=1e-10)
    (batch,) = batches(1, size=6, dtype=torch.float64)
    for step in runs:
        assert "code" not in step(batch).terms
        nobody = torch.zeros(6, dtype=torch.bool)
        assert "code" not in step({**batch, "codes": codes, "has_code": nobody}).terms


def test_a_batch_that_does_not_divide_is_refused() -> None:
    (batch,) = batches(1, size=4, dtype=torch.float64)
    with pytest.raises(ConfigError, match="batch of 4 cannot be cut into 3 equal parts"):
        make_step(compact(), accumulate=3)(batch)


def test_the_gradient_is_clipped_to_its_length() -> None:
    (batch,) = batches(1, dtype=torch.float64)
    free, clipped = make_step(compact()), make_step(compact(), clip=1e-3)
    outcome = free(batch)
    grads = [p.grad for p in free.parameters if p.grad is not None]
    length = math.sqrt(sum(float(g.square().sum()) for g in grads))
    assert outcome.terms["gradient"] == pytest.approx(length, rel=1e-6)
    assert length > 1e-3
    assert clipped(batch).terms["gradient"] == pytest.approx(length, rel=1e-6)  # before clipping
    for p, q in zip(free.parameters, clipped.parameters):
        assert p.grad is not None
        assert q.grad is not None
        torch.testing.assert_close(q.grad, p.grad * (1e-3 / length))


@pytest.mark.parametrize("poison", ["source", "target"])
def test_a_loss_that_is_no_number_moves_nothing(poison: str) -> None:
    model = prepared(tiny.model("stylegan2", "naive_wplus"))  # with running statistics
    step = make_step(model)
    good, bad = batches(2)
    bad[poison][0, 0, 0, 0] = math.nan if poison == "source" else math.inf
    step(good)
    before, moments = encoder_of(step), step.optimizer.state_dict()["state"][0]["exp_avg"].clone()
    outcome = step(bad)
    assert outcome.skipped
    assert not math.isfinite(outcome.terms["loss"])
    for name, value in encoder_of(step).items():
        assert torch.equal(value, before[name]), name
    assert torch.equal(step.optimizer.state_dict()["state"][0]["exp_avg"], moments)
    assert not step(good).skipped
    assert not torch.equal(encoder_of(step)["linear.weight"], before["linear.weight"])


def test_codes_alone_need_no_generator() -> None:
    model = compact()

    def unwanted(codes: Tensor) -> Tensor:
        raise AssertionError("the generator was run")

    assert model.encoder is not None
    losses = EncoderLosses(model, Objective({"code": 1.0}), unwanted)
    step = Step(model.encoder, losses, torch.optim.Adam(model.encoder.parameters(), lr=1e-2))
    (batch,) = batches(1, size=4, dtype=torch.float64)
    codes = torch.randn(4, 6, 12, dtype=torch.float64)
    known = torch.tensor([True, True, False, True])
    first = step({**batch, "codes": codes, "has_code": known}).terms["code"]
    for _ in range(30):
        last = step({**batch, "codes": codes, "has_code": known}).terms["code"]
    assert last < 0.7 * first


def test_the_generator_gets_no_gradients() -> None:
    model = compact()
    (batch,) = batches(1, dtype=torch.float64)
    before = {name: value.clone() for name, value in model.generator.state_dict().items()}
    make_step(model)(batch)
    assert all(p.grad is None for p in model.generator.parameters())
    assert all(torch.equal(v, before[k]) for k, v in model.generator.state_dict().items())


@pytest.mark.parametrize("generator", ["stylegan2", "mobilestylegan"])
def test_bfloat16_is_near_float32(generator: str) -> None:
    losses = []
    for lower in (False, True):
        model = tiny.model(generator, "compact")
        assert model.encoder is not None
        model.encoder.train().requires_grad_(True)
        if lower:
            model.generator = model.generator.at_precision(torch.bfloat16)
        compare = EncoderLosses(model, Objective(PAPER), bfloat16=lower)
        step = Step(model.encoder, compare, Ranger(model.encoder.parameters(), lr=1e-3))
        losses.append([step(batch).terms["loss"] for batch in batches(4)])
        assert all(p.dtype == torch.float32 for p in model.encoder.parameters())
    assert losses[1] == pytest.approx(losses[0], rel=0.03)
    assert losses[1] != losses[0]


@pytest.mark.slow
def test_compiled_and_in_bfloat16_with_the_networks_of_the_losses() -> None:
    """What a GPU is meant for, on a CPU: it must run, and stay near."""
    torch.manual_seed(0)
    lpips, face = LPIPS(), models.build(tiny.FROZEN["mobilefacenet"])
    weights = {"l2": 1.0, "lpips": 0.8, "identity": 0.1}
    losses = []
    for fast in (False, True):
        model = tiny.model("stylegan2", "pyramid")
        assert model.encoder is not None
        model.encoder.train().requires_grad_(True)
        decoder = model.generator
        if fast:
            decoder = decoder.at_precision(torch.bfloat16)
            for network in (decoder, model.encoder):
                network.compile(backend="aot_eager")  # inductor takes minutes
        objective = Objective(weights, {"lpips": lpips, "identity": IdentityLoss(face)})
        compare = EncoderLosses(model, objective, decoder, fast)
        step = Step(model.encoder, compare, Ranger(model.encoder.parameters(), lr=1e-4))
        losses.append([step(batch).terms["loss"] for batch in batches(2)])
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
    assert losses[1] != losses[0]


def test_the_result_says_if_anybody_asked_to_stop() -> None:
    (batch,) = batches(1, dtype=torch.float64)
    step = make_step(compact())
    assert not step(batch).stop
    outcome: StepResult = step(batch, stop=True)
    assert outcome.stop
    assert not outcome.skipped
