"""Algebra on codes, against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from wplus import latents
from wplus.errors import ConfigError
from wplus.generators import MobileStyleGAN, StyleGAN2

with torch.device("meta"):
    EIGHTEEN = StyleGAN2().style_resolutions
    MOBILE = MobileStyleGAN().style_resolutions
    SMALL = StyleGAN2(256).style_resolutions


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.manual_seed(seed))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("coarse", range(4)),
        ("medium", range(4, 8)),
        ("fine", range(8, 18)),
        ("all", range(18)),
        ("coarse,fine", [*range(4), *range(8, 18)]),
        (" Fine , 3", [3, *range(8, 18)]),
        ("7", [7]),
        ("8-17", range(8, 18)),
        ("3-3", [3]),
        ("5,1-2,1", [1, 2, 5]),
        ("64px", [8, 9]),
        ("4-8px", range(4)),
        ("512-1024px", range(14, 18)),
        ("1000-9999px", [16, 17]),
    ],
)
def test_layers_of_18_styles(spec: str, expected: range | list[int]) -> None:
    assert latents.layers_of(spec, EIGHTEEN) == list(expected)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("coarse", range(4)),
        ("medium", range(4, 10)),
        ("fine", range(10, 23)),
        ("64-128px", range(10, 16)),
        ("1024px", [22]),
        ("22", [22]),
    ],
)
def test_layers_of_23_styles(spec: str, expected: range | list[int]) -> None:
    assert latents.layers_of(spec, MOBILE) == list(expected)


@pytest.mark.parametrize("resolutions", [EIGHTEEN, MOBILE, SMALL, (4, 4, 8, 8)])
def test_the_names_share_out_all_styles(resolutions: tuple[int, ...]) -> None:
    found = [i for name in latents.RANGES for i in latents.layers_of(name, resolutions)]
    assert found == list(range(len(resolutions)))


@pytest.mark.parametrize(
    "spec",
    [
        "", ",", "fein", "18", "8-18", "17-8", "-1", "8-", "-", "1.5", "8:17", "2048px", "px",
        "64px-128px", "all!", "5px", "1-2-3",
    ],
)  # fmt: skip
def test_layers_that_do_not_exist(spec: str) -> None:
    with pytest.raises(ConfigError, match=r"^layers '") as error:
        latents.layers_of(spec, EIGHTEEN)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0, 1.5])
@pytest.mark.parametrize(("n", "m"), [(3, 3), (3, 1), (1, 3), (1, 1)])
@pytest.mark.parametrize("one_w", [False, True])
def test_mixing(n: int, m: int, alpha: float, one_w: bool) -> None:
    codes = normal(n, 6, 5)
    others = normal(m, 5, seed=1) if one_w else normal(m, 6, 5, seed=1)
    kept = codes.clone(), others.clone()
    found = latents.mix(codes, others, layers=[1, 4, 4], alpha=alpha)
    expected = np.repeat(codes.numpy(), max(n, m) // n, axis=0)
    for i in range(max(n, m)):
        for layer in (1, 4):
            other = others[i % m] if one_w else others[i % m, layer]
            expected[i, layer] = alpha * other.numpy() + (1 - alpha) * expected[i, layer]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert torch.equal(found[:, 0], codes[:, 0].expand(max(n, m), -1))
    assert torch.equal(codes, kept[0])
    assert torch.equal(others, kept[1])


def test_mixing_takes_any_iterable_of_layers_and_passes_gradients() -> None:
    codes, others = normal(2, 6, 5).requires_grad_(), normal(2, 6, 5, seed=1).requires_grad_()
    latents.mix(codes, others, (i for i in range(3)), alpha=0.25).sum().backward()
    assert codes.grad is not None
    assert others.grad is not None
    np.testing.assert_allclose(codes.grad[0, :, 0], [0.75, 0.75, 0.75, 1, 1, 1])
    np.testing.assert_allclose(others.grad[0, :, 0], [0.25, 0.25, 0.25, 0, 0, 0])
    assert latents.mix(codes, others, []).equal(codes)


@pytest.mark.parametrize(
    ("first", "second"),
    [((2, 6, 5), (3, 6, 5)), ((2, 6, 5), (2, 7, 5)), ((2, 6, 5), (2, 4)), ((2, 6, 5), (5,)),
     ((6, 5), (6, 5))],
)  # fmt: skip
def test_mixing_what_does_not_fit(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=r"^cannot mix codes of "):
        latents.mix(torch.zeros(first), torch.zeros(second), [0])


@pytest.mark.parametrize("layer", [6, -1, 100])
def test_layers_outside_of_the_codes(layer: int) -> None:
    codes = torch.zeros(1, 6, 5)
    with pytest.raises(ConfigError, match=f"layer {layer} does not exist: .* 0 to 5"):
        latents.mix(codes, codes, [0, layer])
    with pytest.raises(ConfigError, match=f"layer {layer} does not exist"):
        latents.move(codes, torch.zeros(5), 1.0, [layer])


@pytest.mark.parametrize("steps", [2, 3, 7])
def test_interpolation(steps: int) -> None:
    first, last = normal(6, 5), normal(6, 5, seed=1)
    found = latents.interpolate(first, last, steps)
    assert found.shape == (steps, 6, 5)
    for i in range(steps):
        t = i / (steps - 1)
        expected = (1 - t) * first.numpy() + t * last.numpy()
        np.testing.assert_allclose(found[i], expected, atol=1e-6)
    assert torch.equal(found[0], first)
    assert torch.equal(found[-1], last)


@pytest.mark.parametrize("steps", [1, 0, -3])
def test_too_few_steps(steps: int) -> None:
    with pytest.raises(ConfigError, match=f"at least 2 steps, not {steps}$"):
        latents.interpolate(torch.zeros(6, 5), torch.zeros(6, 5), steps)


@pytest.mark.parametrize("shapes", [((1, 6, 5), (1, 6, 5)), ((6, 5), (7, 5)), ((5,), (5,))])
def test_interpolating_what_is_not_one_code_each(shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ConfigError, match=r"^cannot interpolate from .* both must be one code"):
        latents.interpolate(torch.zeros(shapes[0]), torch.zeros(shapes[1]), 3)


@pytest.mark.parametrize("shape", [(5,), (6, 5)])
@pytest.mark.parametrize("layers", [None, [0, 3]])
def test_moving(shape: tuple[int, ...], layers: list[int] | None) -> None:
    codes, direction = normal(2, 6, 5), normal(*shape, seed=1).double()
    found = latents.move(codes, direction, -2.5, layers)
    expected = codes.numpy().copy()
    wide = np.broadcast_to(direction.numpy(), (6, 5))
    for layer in range(6) if layers is None else layers:
        expected[:, layer] += -2.5 * wide[layer]
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(5,), (6, 5)])
@pytest.mark.parametrize("psi", [0.0, 0.7, 1.0, -1.0])
def test_truncation(shape: tuple[int, ...], psi: float) -> None:
    codes, mean = normal(2, 6, 5), normal(*shape, seed=1)
    found = latents.truncate(codes, mean, psi)
    expected = mean.numpy() + psi * (codes.numpy() - mean.numpy())
    np.testing.assert_allclose(found, expected, atol=1e-5)
    if psi == 1:
        assert torch.equal(found, codes)
    narrow = latents.truncate(codes.bfloat16(), mean, psi)
    assert narrow.dtype == torch.bfloat16


@pytest.mark.parametrize("shape", [(6,), (5, 5), (1, 5), (2, 6, 5), ()])
def test_directions_and_means_that_do_not_fit(shape: tuple[int, ...]) -> None:
    codes = torch.zeros(2, 6, 5)
    with pytest.raises(ConfigError, match=r"^a direction of .* fits no codes of \(2, 6, 5\)$"):
        latents.move(codes, torch.zeros(shape), 1.0)
    with pytest.raises(ConfigError, match=r"^a mean of .* fits no codes of \(2, 6, 5\)$"):
        latents.truncate(codes, torch.zeros(shape), 0.5)
