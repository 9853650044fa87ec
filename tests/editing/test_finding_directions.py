from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from PIL import Image

import tiny
from wplus import images
from wplus.editing.attributes import Attributes
from wplus.editing.directions import Direction
from wplus.editing.fit import calibrate, draw_codes, fit_directions, read_codes, responses
from wplus.editing.search import search
from wplus.errors import ConfigError
from wplus.nn.mobilefacenet import MobileFaceNet, MobileFaceTrunk
from wplus.psp import PSP


def attributes(values: torch.Tensor, binary: tuple[bool, ...] | None = None) -> Attributes:
    count, width = values.shape
    names = tuple("abcdef"[:width])
    return Attributes(
        tuple(map(str, range(count))), names, values, binary or (False,) * width, ("unit",) * width
    )


def planted(count: int = 400) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Codes, two values that lie along known directions of them, and these (correlated) ones."""
    rng = torch.Generator().manual_seed(0)
    codes = torch.randn(count, 4, 5, generator=rng)
    normals = torch.zeros(2, 4, 5)
    normals[0, 1, :3] = 1.0
    normals[1, 1, 2:] = 1.0
    values = torch.einsum("nld,kld->nk", codes, normals)
    return codes, values + 0.05 * torch.randn(count, 2, generator=rng), normals


def test_planted_directions_are_found_apart() -> None:
    codes, values, normals = planted()
    values[::9, 0] = math.nan
    found = fit_directions(codes, attributes(values), "here")
    for k, direction in enumerate(found):
        change = (direction.vector * normals).sum((1, 2))
        assert 0.5 < float(change[k]) < 1.5  # regressions shrink; `calibrate` mends it
        assert abs(float(change[1 - k])) < 0.1
        assert direction.found == "here"
        assert direction.figures["readable"] > 0.8  # type: ignore[index]
    # Without the other one known, moving along one moves both: they share a number.
    [alone] = fit_directions(codes, attributes(values[:, :1]))
    assert float((alone.vector * normals[1]).sum()) > 0.2


def test_two_values_are_told_in_logits() -> None:
    codes, values, normals = planted(300)
    labels = (values[:, :1] > 0).float()
    [direction] = fit_directions(codes, attributes(labels, (True,)))
    assert direction.unit == "logit of a"
    row = direction.vector.flatten()
    cosine = float(row @ normals[0].flatten() / row.norm() / normals[0].norm())
    assert cosine > 0.95
    assert direction.figures["readable"] > 0.9  # type: ignore[index]


def test_only_the_styles_asked_for_move() -> None:
    codes, values, _ = planted()
    for direction in fit_directions(codes, attributes(values), layers=[1, 3]):
        assert direction.layers == [1, 3]


def test_what_cannot_be_found() -> None:
    codes, values, _ = planted(40)
    with pytest.raises(ConfigError, match="all equal"):
        fit_directions(codes, attributes(torch.ones(40, 1)))
    with pytest.raises(ConfigError, match="alike"):
        fit_directions(codes, attributes(values[:, [0, 0]]))
    with pytest.raises(ConfigError, match="40 codes and 20 rows"):
        fit_directions(codes, attributes(values[:20]))


def test_samples_vary_by_layer_and_repeat() -> None:
    model = tiny.model("mobilestylegan", None)
    codes = draw_codes(model, 200, seed=3)
    assert codes.shape == (200, 8, 12)
    assert torch.equal(codes, draw_codes(model, 200, seed=3))
    assert not torch.equal(codes, draw_codes(model, 200, seed=4))
    changes = (codes[:, 1:] != codes[:, :-1]).any(-1).sum(1)
    assert set(changes.tolist()) == {0, 1}
    assert 0.3 < float(changes.float().mean()) < 0.7
    assert bool((changes[(codes[:, 0] != codes[:, -1]).any(-1)] == 1).all())


class Mean:
    """Stands for an attribute reader: the mean of red, and of blue."""

    names = ("a", "b")

    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        return 10 * pictures.mean((2, 3))[:, [0, 2]]


def red_and_blue(model: PSP) -> list[Direction]:
    """Directions that really change red and blue, and leave the other, found by slopes."""
    codes = draw_codes(model, 150, 9)
    values = read_codes(codes, model, Mean())  # type: ignore[arg-type]
    return fit_directions(codes, attributes(values))


def test_calibrated_directions_do_what_their_amounts_say() -> None:
    model = tiny.model("mobilestylegan", None)
    faces = draw_codes(model, 6, 77)
    raw = red_and_blue(model)
    raw = [Direction("a", raw[0].vector * 7), Direction("b", raw[1].vector / 5)]
    scales = read_codes(draw_codes(model, 50, 5), model, Mean()).std(0).tolist()  # type: ignore[arg-type]
    found = calibrate(raw, ("red", "blue"), scales, faces, model, Mean())  # type: ignore[arg-type]
    amounts = [0.3 * scale for scale in scales]
    seen: list[tuple[int, int]] = []
    changes = responses(found, amounts, faces, model, Mean(), lambda *at: seen.append(at))  # type: ignore[arg-type]
    assert changes.diagonal().tolist() == pytest.approx(amounts, rel=0.25)
    assert seen == [(done, 24) for done in range(1, 25)]
    assert [direction.unit for direction in found] == ["red", "blue"]
    assert set(found[0].figures["others"]) == {"b"}  # type: ignore[index]


def test_a_direction_that_does_nothing_is_refused() -> None:
    model = tiny.model("mobilestylegan", None)
    good = red_and_blue(model)
    for wrong in (-good[0].vector, good[1].vector):
        with pytest.raises(ConfigError, match="does not change it"):
            calibrate(
                [Direction("a", wrong), good[1]],
                ("", ""),
                (50.0, 50.0),
                draw_codes(model, 4, 1),
                model,
                Mean(),  # type: ignore[arg-type]
            )


def face_net() -> MobileFaceNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = MobileFaceNet(MobileFaceTrunk(3, 4, tiny.FACE_STAGES), 6, 4, 8, 32)
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return net.eval().requires_grad_(False)


@pytest.mark.parametrize("samples", [0, 120])
def test_a_search_from_photographs_to_directions(
    samples: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny.model("mobilestylegan", "compact")
    codes = draw_codes(model, 90, 21)
    pictures = images.resize(model.decode(codes), 64).clamp(-1, 1)
    red = pictures[:, 0].mean((1, 2))
    paths = []
    for i, picture in enumerate(pictures):
        paths.append(tmp_path / f"{i:03}.png")
        images.save(picture, paths[-1])
    paths[5].write_text("I am a text.\n" * 50)
    Image.new("RGB", (64, 40)).save(paths[6])
    values = torch.stack([red], 1)
    table = Attributes(
        tuple(f"{i:03}" for i in range(88)), ("red",), values[:88], (False,), ("unit",)
    )
    known = images.resize(pictures, 256).flatten(1)

    def encode(x: torch.Tensor) -> torch.Tensor:  # an encoder that knows the answers
        return codes[torch.cdist(x.flatten(1), known).argmin(1)]

    monkeypatch.setattr(model, "encode", encode)
    found = search(model, paths, table, samples, net=face_net())
    assert found.photographs == 86
    assert len(found.unreadable) == 2
    assert "005.png" in found.unreadable[0] and "not square" in found.unreadable[1]
    assert found.shares["red"] > 0.3
    [direction] = found.directions
    moved = model.decode(codes[:8] + direction.vector)
    back = model.decode(codes[:8] - direction.vector)
    assert float((moved - back)[:, 0].mean()) > 0


def test_a_search_that_cannot_be(tmp_path: Path) -> None:
    values = torch.arange(60.0)[:, None]
    table = attributes(values)
    paths = [Path(f"{i}.png") for i in range(60)]
    with pytest.raises(ConfigError, match="no encoder"):
        search(tiny.model("mobilestylegan", None), paths, table, net=face_net())
    model = tiny.model("mobilestylegan", "compact")
    with pytest.raises(ConfigError, match="names 49"):
        search(model, paths[:49], table, net=face_net())
    with pytest.raises(ConfigError, match="photographs are called '7'"):
        search(model, [*paths, tmp_path / "7.png"], table, net=face_net())
    with pytest.raises(ConfigError, match="none of the 60"):
        search(model, paths, table, net=face_net())
    with pytest.raises(ConfigError, match="too few"):
        search(model, paths, table, 10)
