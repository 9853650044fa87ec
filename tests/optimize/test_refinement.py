"""Refinement: never worse than the start, alone as in a batch, and it does find the picture."""

from __future__ import annotations

import pytest
import torch

from wplus.config import ModelConfig, Part
from wplus.errors import ConfigError
from wplus.generators import MobileStyleGAN
from wplus.losses import LPIPS, LossNetworks
from wplus.optimize import Constraint, Refinement, grid_energy
from wplus.optimize import refine as refine_in_phases
from wplus.optimize.loop import learning_rate
from wplus.psp import PSP
from wplus.schedules import Phase, Schedule

L2_ONLY = {"l2": 1.0}


def refine(
    model: PSP,
    constraint: Constraint | torch.Tensor,
    start: torch.Tensor | None = None,
    *,
    weights: dict[str, float],
    schedule: Schedule | None = None,
    lpips: LPIPS | None = None,
    precision: torch.dtype | None = None,
) -> Refinement:
    """One phase."""
    networks = LossNetworks(lpips=lpips)
    phases = [Phase(schedule or Schedule(), weights)]
    return refine_in_phases(
        model, constraint, start, phases=phases, networks=networks, precision=precision
    )


@pytest.fixture(scope="module")
def model() -> PSP:
    torch.manual_seed(0)
    generator = MobileStyleGAN(16, 2, 16, (16, 16)).eval()
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.mul_(1.5)
    generator.mean_w = generator.estimate_mean_w(500)
    config = ModelConfig(Part("mobilestylegan"))
    return PSP(None, generator, config).eval().requires_grad_(False)


def targets(model: PSP, count: int, seed: int = 1) -> torch.Tensor:
    return model.decode(model.sample(count, seed=seed))


def test_it_finds_a_picture_of_the_generator(model: PSP) -> None:
    result = refine(model, targets(model, 1), weights=L2_ONLY, schedule=Schedule(80, 0.1))
    first, last = result.history[0]["loss"], result.losses
    assert float(last) < 0.1 * float(first)


def test_losses_and_codes_belong_together_and_are_never_worse_than_the_start(model: PSP) -> None:
    # A rate far too high makes the optimization diverge; the start must survive it.
    wild = Schedule(steps=8, learning_rate=500.0, ramp_up=0, ramp_down=0, patience=0)
    pictures = targets(model, 3)
    start = model.sample(3, seed=1) + 1e-3
    result = refine(model, pictures, start, weights=L2_ONLY, schedule=wild)
    assert len(result.history) == 9
    assert (result.losses <= result.history[0]["loss"]).all()
    again = refine(model, pictures, result.codes, weights=L2_ONLY, schedule=Schedule(steps=0))
    torch.testing.assert_close(again.losses, result.losses)
    assert max(float(h["loss"].max()) for h in result.history) > float(result.losses.max())


def test_a_batch_changes_nothing(model: PSP) -> None:
    pictures = targets(model, 2)
    together = refine(model, pictures, weights=L2_ONLY, schedule=Schedule(5))
    for i in range(2):
        alone = refine(model, pictures[i : i + 1], weights=L2_ONLY, schedule=Schedule(5))
        torch.testing.assert_close(together.codes[i : i + 1], alone.codes, rtol=1e-4, atol=1e-5)


def test_lower_precision_on_the_way_is_judged_in_full(model: PSP) -> None:
    pictures = targets(model, 2)
    settings = {"weights": L2_ONLY, "schedule": Schedule(10)}
    result = refine(model, pictures, precision=torch.bfloat16, **settings)
    again = refine(model, pictures, result.codes, weights=L2_ONLY, schedule=Schedule(steps=0))
    torch.testing.assert_close(result.losses, again.losses)
    assert (result.losses < refine(model, pictures, **settings).history[0]["loss"]).all()
    assert next(model.generator.parameters()).dtype == torch.float32
    # From the answer itself, rounding can only lead away: the start must come back.
    start = model.sample(2, seed=1)
    kept = refine(model, pictures, start, precision=torch.bfloat16, **settings)
    assert torch.equal(kept.codes, start)


def test_zero_steps_return_the_start(model: PSP) -> None:
    start = model.sample(2, seed=5)
    result = refine(model, targets(model, 2), start, weights=L2_ONLY, schedule=Schedule(steps=0))
    assert torch.equal(result.codes, start)
    assert result.steps == 0
    assert len(result.history) == 1


def test_early_stop(model: PSP) -> None:
    start = model.sample(1, seed=1)  # already the answer
    result = refine(
        model,
        targets(model, 1),
        start,
        weights=L2_ONLY,
        schedule=Schedule(steps=50, patience=3),
    )
    assert result.steps == 3


def test_a_target_of_another_size_is_brought_to_256(model: PSP) -> None:
    picture = torch.rand(1, 3, 512, 512) * 2 - 1
    small = torch.nn.functional.adaptive_avg_pool2d(picture, 256)
    results = [refine(model, x, weights=L2_ONLY, schedule=Schedule(2)) for x in (picture, small)]
    torch.testing.assert_close(results[0].codes, results[1].codes)


def test_terms_are_weighted_and_named(model: PSP) -> None:
    torch.manual_seed(0)
    weights = {"l2": 2.0, "lpips": 0.5, "distance": 3.0, "prior": 0.0, "grid": 10.0}
    start = model.sample(1, seed=2)
    result = refine(
        model,
        targets(model, 1),
        start,
        lpips=LPIPS("alexnet"),
        weights=weights,
        schedule=Schedule(steps=2),
    )
    last = result.history[-1]
    assert set(last) == {"l2", "lpips", "distance", "loss"}
    torch.testing.assert_close(
        last["loss"], 2.0 * last["l2"] + 0.5 * last["lpips"] + 3.0 * last["distance"]
    )
    assert float(result.history[0]["distance"]) == 0.0
    assert float(last["distance"]) > 0.0


def test_the_prior_is_in_units_of_w(model: PSP) -> None:
    """Codes drawn from W have a mean squared whitened offset of 1, whatever the generator."""
    codes = model.sample(400, seed=9)
    schedule = Schedule(steps=0)
    weights = {"l2": 1.0, "prior": 0.5}
    pictures = targets(model, 1).expand(400, -1, -1, -1)
    result = refine(model, pictures, codes, weights=weights, schedule=schedule)
    terms = result.history[0]
    assert float(terms["prior"].mean()) == pytest.approx(1.0, abs=0.1)
    torch.testing.assert_close(terms["loss"], terms["l2"] + 0.5 * terms["prior"])
    far = model.mean_codes + 3 * (codes[:1] - model.mean_codes)
    again = refine(model, pictures[:1], far, weights=weights, schedule=schedule)
    torch.testing.assert_close(again.history[0]["prior"], 9 * terms["prior"][:1])


def test_the_prior_keeps_codes_near_w(model: PSP) -> None:
    pictures = torch.rand(1, 3, 64, 64) * 2 - 1  # nothing that the generator can make
    distances = []
    for prior in (0.0, 0.1):
        weights = {"l2": 1.0, "prior": prior}
        found = refine(model, pictures, weights=weights, schedule=Schedule(30)).codes
        distances.append(float((found - model.mean_codes).square().mean()))
    assert distances[1] < 0.5 * distances[0]


def test_spread_is_the_distance_from_w(model: PSP) -> None:
    on_w = model.sample(3, seed=9)
    apart = on_w.clone()
    apart[:, ::2] += 0.5 * (model.sample(3, seed=10)[:, ::2] - model.mean_codes[::2])
    weights = {"l2": 1.0, "spread": 0.5}
    found = []
    for codes in (on_w, apart):
        pictures = targets(model, 3)
        result = refine(model, pictures, codes, weights=weights, schedule=Schedule(steps=0))
        terms = result.history[0]
        torch.testing.assert_close(terms["loss"], terms["l2"] + 0.5 * terms["spread"])
        found.append(terms["spread"])
    assert float(found[0].max()) < 1e-9
    assert float(found[1].min()) > 0.01
    # On standard normal styles, each drawn for itself, it is (L - 1) / L in the mean.
    drawn = torch.stack([model.sample(200, seed=seed)[:, 0] for seed in range(model.num_styles)], 1)
    many = targets(model, 1).expand(200, -1, -1, -1)
    terms = refine(model, many, drawn, weights=weights, schedule=Schedule(steps=0)).history[0]
    expected = (model.num_styles - 1) / model.num_styles
    assert float(terms["spread"].mean()) == pytest.approx(expected, abs=0.1)


def halve(pictures: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.avg_pool2d(pictures, 4)


def test_degraded_images_are_compared(model: PSP) -> None:
    pictures = targets(model, 2)
    small = halve(pictures)
    start = model.sample(2, seed=5)
    known = Constraint(small, halve)
    first = refine(model, known, start, weights=L2_ONLY, schedule=Schedule(steps=0))
    slow = (halve(model.decode(start)) - small).square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(first.losses, slow)
    result = refine(model, known, weights=L2_ONLY, schedule=Schedule(80, 0.1))
    assert (result.losses < 0.3 * result.history[0]["loss"]).all()
    with pytest.raises(ConfigError, match="degraded outputs are"):
        refine(model, Constraint(pictures, halve), weights=L2_ONLY, schedule=Schedule(2))


def test_degraded_images_are_enlarged_for_networks(model: PSP) -> None:
    torch.manual_seed(0)
    lpips = LPIPS("alexnet")
    small = halve(targets(model, 1))
    start = model.sample(1, seed=5)
    result = refine(
        model,
        Constraint(small, halve),
        start,
        lpips=lpips,
        weights={"lpips": 0.8},
        schedule=Schedule(0),
    )
    enlarged = [
        torch.nn.functional.interpolate(x, (256, 256), mode="bilinear")
        for x in (halve(model.decode(start)), small)
    ]
    torch.testing.assert_close(result.history[0]["lpips"], lpips(*enlarged))


def test_pixels_without_weight_do_not_count(model: PSP) -> None:
    torch.manual_seed(0)
    pictures = torch.nn.functional.interpolate(targets(model, 2), (256, 256))
    weights = torch.ones(1, 1, 256, 256)
    weights[..., 60:160, 80:200] = 0
    other = torch.where(weights > 0, pictures, 5 * torch.rand(2, 3, 256, 256) - 2)
    lpips, schedule = LPIPS("alexnet"), Schedule(3)
    start = model.sample(2, seed=5)
    known, changed = (Constraint(x, pixel_weights=weights) for x in (pictures, other))
    one, two = (
        refine(model, each, start, weights=L2_ONLY, schedule=schedule) for each in (known, changed)
    )
    torch.testing.assert_close(one.codes, two.codes, rtol=0, atol=1e-6)
    # The slow formula of both terms.
    both = {"l2": 1.0, "lpips": 0.8}
    result = refine(model, known, start, lpips=lpips, weights=both, schedule=Schedule(0))
    terms = result.history[0]
    made = torch.nn.functional.interpolate(
        model.decode(start), (256, 256), mode="bilinear", align_corners=False
    )
    inside = (weights > 0).expand_as(made)
    for i in range(2):
        slow = (made - pictures)[i][inside[i]].square().mean()
        torch.testing.assert_close(terms["l2"][i], slow)
    seen = torch.where(inside, made, pictures)
    torch.testing.assert_close(terms["lpips"], lpips(seen, pictures))


def test_pixel_weights_follow_the_targets_to_256(model: PSP) -> None:
    large = torch.rand(1, 3, 512, 512) * 2 - 1
    weights = torch.ones(1, 1, 512, 512)
    weights[..., :256, :] = 0
    small = torch.nn.functional.adaptive_avg_pool2d(large, 256)
    settings = {"weights": L2_ONLY, "schedule": Schedule(2)}
    one = refine(model, Constraint(large, pixel_weights=weights), **settings)
    two = refine(model, Constraint(small, pixel_weights=weights[..., ::2, ::2]), **settings)
    torch.testing.assert_close(one.codes, two.codes)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (torch.ones(1, 1, 8, 8), "like the target"),
        (torch.ones(3, 1, 64, 64), "3 images"),
        (torch.zeros(2, 1, 64, 64), "not 0 everywhere"),
        (torch.full((2, 1, 64, 64), 2.0), r"in \[0, 1\]"),
    ],
)
def test_pixel_weights_that_mean_nothing(weights: torch.Tensor, said: str) -> None:
    pictures = torch.zeros(2, 3, 64, 64)
    with pytest.raises(ConfigError, match=said):
        Constraint(pictures, pixel_weights=weights)


def test_grid_energy_sees_grids_and_nothing_else() -> None:
    rng = torch.Generator().manual_seed(0)
    smooth = torch.nn.functional.interpolate(
        torch.randn(1, 3, 16, 16, generator=rng), (1024, 1024), mode="bicubic"
    )
    noise = 0.3 * torch.randn(1, 3, 1024, 1024, generator=rng)
    energies = {}
    for period in (0, 2, 4, 8):
        stripes = 0.05 * torch.ones(1024)
        if period:
            stripes[torch.arange(1024) % period < period // 2] = -0.05
        picture = smooth + noise + (stripes if period else 0)
        pooled = torch.nn.functional.adaptive_avg_pool2d(picture, 256)
        energies[period] = float(grid_energy(picture, pooled))
        # The slow formula: one patch, one channel, one place at a time.
        lost = picture - torch.nn.functional.interpolate(pooled, (1024, 1024), mode="bilinear")
        patch = lost[0, 1, 64:128, 192:256]
        slow = sum(float(patch[a::8, b::8].mean()) ** 2 for a in range(8) for b in range(8)) / 64
        crop = slice(64, 128), slice(192, 256)
        whole = grid_energy(
            picture[:, :, crop[0], crop[1]], pooled[:, :, 16:32, 48:64]
        )  # other borders of the interpolation, nothing else
        assert slow == pytest.approx(float(whole), rel=0.5)
    assert energies[2] > energies[0] + 0.8 * 0.05**2
    assert energies[4] > energies[0] + 0.8 * 0.05**2
    assert energies[8] > energies[0] + 0.3 * 0.05**2
    assert energies[0] < 0.8 * 0.05**2


def test_what_is_missing_or_senseless_is_refused(model: PSP) -> None:
    picture = targets(model, 1)
    with pytest.raises(ConfigError, match="did you mean lpips"):
        refine(model, picture, weights={"l2": 1.0, "lpip": 0.8})
    with pytest.raises(ConfigError, match="weight above 0"):
        refine(model, picture, weights={"l2": 0.0})
    with pytest.raises(ConfigError, match="a phase through the whole"):
        refine_in_phases(model, picture, phases=[Phase(truncated=True)])
    with pytest.raises(ConfigError, match="steps"):
        Schedule(steps=-1)
    with pytest.raises(ConfigError, match="learning rate"):
        Schedule(learning_rate=0)


def test_rate_rises_then_falls() -> None:
    schedule = Schedule(steps=100, learning_rate=1.0, ramp_up=0.1, ramp_down=0.5)
    rates = [learning_rate(schedule, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0)
    assert rates[9] == pytest.approx(1.0)
    assert rates[50] == pytest.approx(1.0)
    assert rates == sorted(rates[:10]) + sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.01
