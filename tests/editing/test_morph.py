from __future__ import annotations

import numpy as np
import pytest
import torch

import tiny
from wplus import images
from wplus.editing import morph
from wplus.editing.rendering import rendered
from wplus.errors import ConfigError
from wplus.losses import LPIPS
from wplus.psp import PSP


def unevenness(distances: torch.Tensor) -> float:
    return float(distances.std(correction=0) / distances.mean())


@pytest.fixture(scope="module")
def model() -> PSP:
    return tiny.model("mobilestylegan", None)


@pytest.fixture(scope="module")
def lpips() -> LPIPS:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LPIPS("alexnet").eval()


def test_even_times_are_where_the_measured_length_says() -> None:
    """A path whose speed is known: s(t) = t², so equal lengths lie at square roots."""
    dense = torch.linspace(0, 1, 401)
    distances = (dense[1:].square() - dense[:-1].square()).square()
    times = morph.even_times(dense, distances, 11)
    expected = np.sqrt(np.linspace(0, 1, 11))
    assert np.allclose(times.numpy(), expected, atol=2e-3)


def test_even_times_of_a_path_that_stands_still() -> None:
    dense = torch.linspace(0, 2, 9)
    assert torch.allclose(morph.even_times(dense, torch.zeros(8), 5), torch.linspace(0, 2, 5))
    # … and of one that stands still for half of its time: no two frames are the same.
    half = torch.tensor([1.0, 1, 1, 1, 0, 0, 0, 0])
    times = morph.even_times(dense, half, 6)
    assert bool((times.diff() > 0).all())
    assert times[-1] == 2


def test_codes_lie_on_the_lines() -> None:
    controls = torch.randn(3, 4, 5)
    found = list(morph.codes_on(controls, torch.tensor([0.0, 0.25, 1.0, 1.5, 2.0])))
    torch.testing.assert_close(found[0], controls[0])
    torch.testing.assert_close(found[1], 0.75 * controls[0] + 0.25 * controls[1])
    torch.testing.assert_close(found[2], controls[1])
    torch.testing.assert_close(found[3], (controls[1] + controls[2]) / 2)
    torch.testing.assert_close(found[4], controls[2])


def test_steps_are_lpips_between_neighbors(model: PSP, lpips: LPIPS) -> None:
    codes = torch.randn(3, 8, 12)
    found = morph.steps(codes, model, lpips)
    pictures = images.resize(model.decode(codes), 256).clamp(-1, 1)
    torch.testing.assert_close(found, lpips(pictures[:-1], pictures[1:]), atol=1e-6, rtol=1e-4)


def test_frames_are_more_even_than_equal_steps(model: PSP, lpips: LPIPS) -> None:
    rng = torch.Generator().manual_seed(4)
    controls = 2 * torch.randn(3, 8, 12, generator=rng)
    controls[1] = controls[0] + 0.05 * (controls[2] - controls[0])  # a short stretch and a long one
    even = morph.morph(controls, model, 9, lpips, dense=12)
    plain = morph.morph(controls, model, 9, None)
    torch.testing.assert_close(plain.times, torch.linspace(0, 2, 9))
    measured = [
        unevenness(morph.steps(path.codes(), model, lpips).sqrt()) for path in (plain, even)
    ]
    assert measured[1] < 0.35 * measured[0]
    for path in (plain, even):
        first, *_, last = path.codes()
        torch.testing.assert_close(first, controls[0])
        torch.testing.assert_close(last, controls[-1])


def test_a_path_is_shown_one_by_one(model: PSP) -> None:
    path = morph.morph(torch.randn(3, 8, 12), model, 6, None, "loop")
    for code, image in zip(path.codes(), rendered(path.codes(), model, 32)):
        expected = images.resize(model.decode(code[None]), 32).clamp(-1, 1)
        torch.testing.assert_close(image, expected)


def test_the_progress_of_measuring_has_one_total(model: PSP, lpips: LPIPS) -> None:
    seen: list[tuple[int, int]] = []
    controls = torch.randn(2, 8, 12)
    morph.morph(controls, model, 4, lpips, dense=3, progress=lambda *at: seen.append(at))
    assert seen == [(done, 8) for done in range(1, 9)]


def test_endings(model: PSP) -> None:
    controls = torch.randn(2, 8, 12)
    back = morph.morph(controls, model, 4, None, "back")
    assert torch.allclose(back.times, torch.tensor([0, 1 / 3, 2 / 3, 1, 2 / 3, 1 / 3]))
    loop = morph.morph(controls, model, 4, None, "loop")
    assert torch.allclose(loop.times, torch.tensor([0, 0.5, 1, 1.5]))
    torch.testing.assert_close([*loop.codes()][3], controls.mean(0))


def test_what_cannot_be_morphed(model: PSP) -> None:
    codes = torch.randn(2, 8, 12)
    with pytest.raises(ConfigError, match="at least two"):
        morph.morph(codes[:1], model, 5, None)
    with pytest.raises(ConfigError, match="1 frames"):
        morph.morph(codes, model, 1, None)
    with pytest.raises(ConfigError, match="ending"):
        morph.morph(codes, model, 5, None, "bounce")  # type: ignore[arg-type]
