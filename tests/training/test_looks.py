"""Encoders of two looks: what the second is shown, and which look a step trains."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

import tiny
from wplus import images, models
from wplus.config import ModelConfig, Part
from wplus.encoders import CompactEncoder
from wplus.losses.objective import Objective
from wplus.psp import PSP
from wplus.training import Forward


def model() -> PSP:
    part = tiny.encoders(8)["compact"]
    part = Part(part.kind, {**part.options, "looks": 2})
    config = ModelConfig(tiny.GENERATORS["mobilestylegan"], part)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder, generator = models.build(part), models.build(config.generator)
    made = PSP(encoder, generator, config)  # type: ignore[arg-type]
    tiny.unusual(made)
    return made


def pictures() -> Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1


def forward(psp: PSP, once: float) -> Forward:
    return Forward(
        psp.generator,
        Objective({"regularization": 1.0}),
        psp.mean_codes,
        64,
        again=psp.generator,
        looks=2,
        once=once,
    )


@torch.no_grad()
def test_the_second_look_sees_what_the_first_made() -> None:
    psp, x = model(), pictures()
    encoder = psp.encoder
    assert isinstance(encoder, CompactEncoder)
    first = encoder(x) + psp.mean_codes
    shown = images.resize(psp.decode(first), 64)
    expected = first + encoder(x, shown)
    assert (expected - first).abs().max() > 1e-3
    torch.testing.assert_close(psp.encode(x), expected)
    larger = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(psp.encode(larger), expected)
    torch.testing.assert_close(forward(psp, 0.5).encode(encoder, x), expected)


def test_a_step_trains_one_look() -> None:
    psp, x = model(), pictures()
    encoder = psp.encoder
    assert isinstance(encoder, CompactEncoder)
    encoder.train().requires_grad_(True)
    for once, trained, left in ((1.0, "styles", "corrections"), (0.0, "corrections", "styles")):
        encoder.zero_grad()
        codes = forward(psp, once).encode(encoder, x)
        (codes - psp.mean_codes).square().sum().backward()
        assert all(p.grad is not None for p in encoder.get_submodule(trained).parameters())
        assert all(p.grad is None for p in encoder.get_submodule(left).parameters())
        assert all(p.grad is not None for p in encoder.trunk.parameters())


def test_the_look_is_drawn_from_the_seed() -> None:
    psp, x = model(), pictures()
    encoder = psp.encoder
    assert isinstance(encoder, CompactEncoder)
    encoder.train()
    half = replace(forward(psp, 0.5), once=0.5)
    found = []
    for seed in (*range(12), *range(12)):
        torch.manual_seed(seed)
        with torch.no_grad():
            found.append(half.encode(encoder, x))
    for first, second in zip(found[:12], found[12:]):
        assert torch.equal(first, second)
    assert len({float(codes.sum()) for codes in found}) == 2
