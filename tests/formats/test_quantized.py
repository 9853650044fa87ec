"""Eight bits: how far off, what stays as it is, and what is refused."""

from __future__ import annotations

import pytest
import torch

from wplus.formats.quantized import SUFFIX, pack, unpack


def state() -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    kernel = (
        torch.randn(64, 32, 3, 3, generator=rng) * torch.logspace(-4, 3, 64)[:, None, None, None]
    )
    kernel[5] = 0
    return {
        "conv.weight": kernel,
        "linear.weight": torch.randn(128, 64, generator=rng),
        "linear.bias": torch.randn(128, generator=rng),
        "small.weight": torch.randn(4, 4, generator=rng),
        "count": torch.tensor(3),
    }


def test_every_weight_is_near() -> None:
    given = state()
    packed = pack(given)
    found = unpack(packed)
    assert set(found) == set(given)
    assert packed["conv.weight"].dtype == torch.int8
    for name in ("conv.weight", "linear.weight"):
        rows = given[name].flatten(1)
        half_a_scale = rows.abs().amax(1, keepdim=True) / 254
        apart = (found[name].flatten(1) - rows).abs()
        assert (apart <= half_a_scale * 1.001).all()
        assert apart.max() > 0
    assert (found["conv.weight"][5] == 0).all()
    assert found["count"] == 3
    torch.testing.assert_close(
        found["linear.bias"].float(), given["linear.bias"], rtol=1e-3, atol=0
    )
    assert packed["small.weight"].dtype == torch.float16


def test_it_is_smaller() -> None:
    given = state()
    size = sum(value.nbytes for value in given.values())
    assert sum(value.nbytes for value in pack(given).values()) < 0.27 * size


def test_what_was_not_packed_stays() -> None:
    given = state()
    found = unpack(given)
    assert all(torch.equal(found[name], value) for name, value in given.items())


def test_damage_is_refused() -> None:
    packed = pack(state())
    with pytest.raises(ValueError, match=r"linear\.weight do not fit"):
        unpack({**packed, "linear.weight" + SUFFIX: torch.ones(3)})
    del packed["linear.weight"]
    with pytest.raises(ValueError, match="has no tensor"):
        unpack(packed)
