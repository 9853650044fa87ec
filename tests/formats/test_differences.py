"""Four bits of a difference: how far off, what is stored in other ways, what is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from wplus.formats import differences, quantized
from wplus.formats.differences import CODES, GONE, GROUP, LEVELS, STEPS, TOP, digest, pack, unpack


def base() -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(0)
    return {
        "conv": torch.randn(32, 16, 3, 3, generator=rng),
        "linear": torch.randn(128, 64, generator=rng),
        "odd": torch.randn(7, 317, generator=rng),
        "bias": torch.randn(128, generator=rng).half(),
        "first": torch.randn(64, 3, 3, 3, generator=rng),
        "count": torch.tensor(3),
        "left": torch.randn(4, generator=rng),
    }


def trained(apart: float = 0.1) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(1)
    state = {
        name: value.float() + apart * torch.randn(value.shape, generator=rng)
        for name, value in base().items()
        if value.is_floating_point()
    }
    del state["left"]
    first = torch.randn(64, 19, 3, 3, generator=rng)
    return {**state, "first": first, "count": torch.tensor(3), "new": torch.randn(70, 70)}


def slowly(packed: dict[str, Tensor], name: str, start: Tensor) -> Tensor:
    """One tensor, number by number, from what the format says."""
    numbers = start.float().flatten().tolist()
    codes = packed[name + CODES].flatten().tolist()
    for i in range(len(numbers)):
        byte = codes[i // 2]
        level = LEVELS[byte % 16 if i % 2 == 0 else byte // 16]
        step = int(packed[name + STEPS][i // GROUP])
        scale = 0.0 if step == 0 else float(packed[name + TOP]) * 2 ** (-(abs(step) - 1) / 8)
        numbers[i] += level * (scale if step > 0 else -scale)
    return torch.tensor(numbers).view(start.shape)


@pytest.mark.parametrize("name", ["conv", "linear", "odd"])
def test_numbers_are_what_the_format_says(name: str) -> None:
    packed = pack(trained(), base())
    torch.testing.assert_close(unpack(packed, base())[name], slowly(packed, name, base()[name]))


def test_differences_are_near() -> None:
    given, start = trained(), base()
    packed = pack(given, start)
    found = unpack(packed, start)
    assert set(found) == set(given)
    for name in ("conv", "linear", "odd"):
        lost = (found[name] - given[name]).norm() / (start[name] - given[name]).norm()
        assert 0.05 < lost < 0.085, name
        bits = 8 * sum(packed[name + part].nbytes for part in (CODES, STEPS)) / given[name].numel()
        assert bits < 4.3, name
    assert torch.equal(found["bias"], given["bias"].half())  # as it is, not as a difference
    assert found["count"] == 3


def test_scales_are_chosen_for_the_squared_error() -> None:
    """Better than the plain way: sixteen even levels, the largest number at the last of them."""
    given, start = trained(), base()
    found = unpack(pack(given, start), start)
    change = given["linear"] - start["linear"]
    groups = change.view(-1, GROUP)
    scale = groups.abs().amax(1, keepdim=True) / 7
    plain = ((groups / scale).round() * scale).view(change.shape)
    lost = (found["linear"] - given["linear"]).norm()
    assert lost < 0.85 * (plain - change).norm()


def test_the_larger_side_gets_the_larger_half_of_the_levels() -> None:
    start = {"w": torch.zeros(64, GROUP)}
    for sign in (1, -1):
        given = {"w": sign * torch.linspace(-0.2, 1, GROUP).repeat(64, 1)}
        steps = pack(given, start)["w" + STEPS]
        assert (steps.sign() == sign).all()


def test_what_the_base_lacks_has_eight_bits() -> None:
    given, start = trained(), base()
    packed = pack(given, start)
    for name in ("first", "new"):
        assert packed[name].dtype == torch.int8
        assert packed[name + quantized.SUFFIX].shape == given[name].shape[:1]
        half_a_scale = given[name].flatten(1).abs().amax(1) / 254
        apart = (unpack(packed, start)[name] - given[name]).flatten(1).abs().amax(1)
        assert (apart <= 1.001 * half_a_scale).all()


def test_what_equals_the_base_takes_no_room() -> None:
    start = base()
    assert pack(start, start) == {}
    found = unpack({}, start)
    assert all(torch.equal(found[name], value) for name, value in start.items())
    one = {**start, "linear": start["linear"] + 0.1, "bias": start["bias"].float()}
    assert set(pack(one, start)) == {"linear" + part for part in (CODES, STEPS, TOP)}


def test_what_only_the_base_has_is_gone() -> None:
    packed = pack(trained(), base())
    assert packed["left" + GONE].numel() == 0
    assert "left" not in unpack(packed, base())


def test_numbers_that_did_not_change_stay() -> None:
    start = {"w": torch.randn(64, 64)}
    given = {"w": start["w"].clone()}
    given["w"][3, ::5] += 0.3
    given["w"][9] -= 1e-3
    packed = pack(given, start)
    found = unpack(packed, start)["w"]
    same = given["w"] == start["w"]
    assert torch.equal(found[same], start["w"][same])
    assert int((packed["w" + STEPS] != 0).sum()) == 4
    assert (found - given["w"]).abs().max() < 0.03


@pytest.mark.parametrize("size", [1e-30, 1e-6, 1.0, 1e20, 1e30])
def test_ranges(size: float) -> None:
    """Groups 50,000 times apart are as near as others; beyond, small ones count as zero."""
    rng = torch.Generator().manual_seed(2)
    change = torch.randn(64, GROUP, generator=rng) * torch.logspace(0, -4, 64)[:, None] * size
    start = {"w": torch.zeros(64, GROUP)}
    found = unpack(pack({"w": change}, start), start)["w"]
    lost = ((found - change) / size).norm(dim=1) / (change / size).norm(dim=1)
    assert lost.max() < 0.13
    change[1:] *= 1e-6
    found = unpack(pack({"w": change}, start), start)["w"]
    assert ((found - change).abs() <= change.abs()).all()


def test_halves_that_are_too_large_stay_single() -> None:
    given = {"running_var": torch.tensor([1e6, 1.0])}
    for start in ({}, {"running_var": torch.ones(2)}):
        assert torch.equal(unpack(pack(given, start), start)["running_var"], given["running_var"])


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_must_be_finite(number: float) -> None:
    given = trained()
    given["conv"][0, 0, 0, 0] = number
    with pytest.raises(ValueError, match="conv has numbers that are not finite"):
        pack(given, base())


def test_the_digest() -> None:
    given = {"b": torch.tensor([[1.0, 2.0]]), "a": torch.tensor(3)}
    parts = [
        b"a () i\n" + torch.tensor(3).numpy().tobytes(),
        b"b (1, 2) f\n" + torch.tensor([1.0, 2.0]).numpy().tobytes(),
    ]
    inner = b"".join(hashlib.sha256(part).digest() for part in parts)
    assert digest(given) == hashlib.sha256(inner).hexdigest()
    assert digest({**given, "b": given["b"].half()}) == digest(given)
    assert digest(dict(reversed(given.items()))) == digest(given)
    assert digest({**given, "b": given["b"].T.contiguous().T}) == digest(given)
    others = [
        {"a": given["a"]},
        {**given, "b": given["b"].T},
        {**given, "b": torch.tensor([[1.0, 2.0000002]])},
        {"c": given["b"], "a": given["a"]},
        {**given, "a": torch.tensor(3.0)},
    ]
    found = {digest(other) for other in others}
    assert len(found) == len(others)
    assert digest(given) not in found


Damage = Callable[[dict[str, Tensor]], object]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda p: p.pop("conv" + STEPS), "of conv do not fit"),
        (lambda p: p.pop("conv" + TOP), "of conv do not fit"),
        (lambda p: p.update({"conv" + GONE: torch.zeros(0)}), "of conv do not fit"),
        (lambda p: p.update({"conv" + CODES: p["conv" + CODES][1:]}), "of conv do not fit"),
        (lambda p: p.update({"conv" + CODES: p["conv" + CODES].char()}), "of conv do not fit"),
        (lambda p: p.update({"cow" + STEPS: p["conv" + STEPS]}), "cow is none of the base"),
        (lambda p: p.update({"cow" + GONE: torch.zeros(0)}), "cow is none of the base"),
        (lambda p: p.pop("new"), "new.*has no tensor"),
    ],
)
def test_damage_is_refused(damage: Damage, said: str) -> None:
    packed = pack(trained(), base())
    damage(packed)
    with pytest.raises(ValueError, match=said):
        unpack(packed, base())


def test_steps_that_are_never_written_do_no_harm() -> None:
    packed = pack(trained(), base())
    packed["conv" + STEPS].fill_(-128)
    assert unpack(packed, base())["conv"].isfinite().all()


def test_the_base_is_not_written_to() -> None:
    start = base()
    unpack(pack(trained(), start), start)
    assert digest(start) == digest(base())
    assert differences.GROUP % 2 == 0
