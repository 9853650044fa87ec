"""Refinement: never worse than the start, alone as in a batch, and it does find the picture."""

from __future__ import annotations

import pytest
import torch

from wplus.config import ModelConfig, Part
from wplus.errors import ConfigError
from wplus.generators import MobileStyleGAN
from wplus.losses import LPIPS
from wplus.psp import PSP
from wplus.refine import Schedule, Weights, grid_energy, refine

L2_ONLY = Weights(lpips=0.0, prior=0.0)


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
    wild = Schedule(steps=8, learning_rate=500.0, warm_up=0, cool_down=0, patience=0)
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


def test_another_decoder_makes_the_pictures(model: PSP) -> None:
    calls = []

    def darker(codes: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return model.decode(codes) - 0.2

    pictures = targets(model, 1) - 0.2
    start = model.sample(1, seed=1)
    result = refine(model, pictures, start, weights=L2_ONLY, schedule=Schedule(3), decoder=darker)
    assert len(calls) == 4
    assert float(result.history[0]["loss"]) < 1e-10  # through it, the start is the target


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
    weights = Weights(l2=2.0, lpips=0.5, distance=3.0, prior=0.0)
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
    weights = Weights(l2=1.0, lpips=0.0, prior=0.5)
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
        weights = Weights(lpips=0.0, prior=prior)
        found = refine(model, pictures, weights=weights, schedule=Schedule(30)).codes
        distances.append(float((found - model.mean_codes).square().mean()))
    assert distances[1] < 0.5 * distances[0]


def test_spread_is_the_distance_from_w(model: PSP) -> None:
    on_w = model.sample(3, seed=9)
    apart = on_w.clone()
    apart[:, ::2] += 0.5 * (model.sample(3, seed=10)[:, ::2] - model.mean_codes[::2])
    weights = Weights(lpips=0.0, prior=0.0, spread=0.5)
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


def test_a_measurement_is_what_is_compared(model: PSP) -> None:
    pictures = targets(model, 2)
    small = halve(pictures)
    start = model.sample(2, seed=5)
    settings = {"weights": L2_ONLY, "measure": halve}
    first = refine(model, small, start, schedule=Schedule(steps=0), **settings)
    slow = (halve(model.decode(start)) - small).square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(first.losses, slow)
    result = refine(model, small, schedule=Schedule(80, 0.1), **settings)
    assert (result.losses < 0.3 * result.history[0]["loss"]).all()
    with pytest.raises(ConfigError, match="what is measured is"):
        refine(model, pictures, schedule=Schedule(2), **settings)


def test_what_is_measured_is_enlarged_for_the_nets(model: PSP) -> None:
    torch.manual_seed(0)
    lpips = LPIPS("alexnet")
    small = halve(targets(model, 1))
    start = model.sample(1, seed=5)
    weights = Weights(l2=0.0, prior=0.0)
    result = refine(
        model, small, start, lpips=lpips, weights=weights, schedule=Schedule(0), measure=halve
    )
    enlarged = [
        torch.nn.functional.interpolate(x, (256, 256), mode="bilinear")
        for x in (halve(model.decode(start)), small)
    ]
    torch.testing.assert_close(result.history[0]["lpips"], lpips(*enlarged))


def test_what_has_no_importance_is_not_looked_at(model: PSP) -> None:
    torch.manual_seed(0)
    pictures = torch.nn.functional.interpolate(targets(model, 2), (256, 256))
    importance = torch.ones(1, 1, 256, 256)
    importance[..., 60:160, 80:200] = 0
    other = torch.where(importance > 0, pictures, 5 * torch.rand(2, 3, 256, 256) - 2)
    settings = {"lpips": LPIPS("alexnet"), "importance": importance, "schedule": Schedule(3)}
    start = model.sample(2, seed=5)
    one, two = (refine(model, x, start, weights=L2_ONLY, **settings) for x in (pictures, other))
    torch.testing.assert_close(one.codes, two.codes, rtol=0, atol=1e-6)
    # The slow formula of both terms.
    terms = refine(model, pictures, start, weights=Weights(prior=0.0), **settings).history[0]
    made = torch.nn.functional.interpolate(
        model.decode(start), (256, 256), mode="bilinear", align_corners=False
    )
    known = (importance > 0).expand_as(made)
    for i in range(2):
        slow = (made - pictures)[i][known[i]].square().mean()
        torch.testing.assert_close(terms["l2"][i], slow)
    seen = torch.where(known, made, pictures)
    torch.testing.assert_close(terms["lpips"], settings["lpips"](seen, pictures))


def test_importance_follows_the_targets_to_256(model: PSP) -> None:
    large = torch.rand(1, 3, 512, 512) * 2 - 1
    importance = torch.ones(1, 1, 512, 512)
    importance[..., :256, :] = 0
    small = torch.nn.functional.adaptive_avg_pool2d(large, 256)
    settings = {"weights": L2_ONLY, "schedule": Schedule(2)}
    one = refine(model, large, importance=importance, **settings)
    two = refine(model, small, importance=importance[..., ::2, ::2], **settings)
    torch.testing.assert_close(one.codes, two.codes)


@pytest.mark.parametrize(
    ("importance", "said"),
    [
        (torch.ones(1, 1, 8, 8), "like the targets"),
        (torch.ones(3, 1, 64, 64), "3 pictures"),
        (torch.zeros(2, 1, 64, 64), "not 0 everywhere"),
        (torch.full((2, 1, 64, 64), 2.0), "0 to 1"),
    ],
)
def test_importance_that_means_nothing(model: PSP, importance: torch.Tensor, said: str) -> None:
    pictures = torch.zeros(2, 3, 64, 64)
    with pytest.raises(ConfigError, match=said):
        refine(model, pictures, weights=L2_ONLY, importance=importance)


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
    with pytest.raises(ConfigError, match="needs its network"):
        refine(model, picture)
    with pytest.raises(ConfigError, match="steps"):
        Schedule(steps=-1)
    with pytest.raises(ConfigError, match="learning rate"):
        Schedule(learning_rate=0)


def test_rate_rises_then_falls() -> None:
    schedule = Schedule(steps=100, learning_rate=1.0, warm_up=0.1, cool_down=0.5)
    rates = [schedule.rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0)
    assert rates[9] == pytest.approx(1.0)
    assert rates[50] == pytest.approx(1.0)
    assert rates == sorted(rates[:10]) + sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.01
