"""Whole runs of tiny networks: what they leave, what they survive, what they say."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy
from outcomes import lines
from PIL import Image
from safetensors.torch import load_file
from toy import tiny

import wplus
from wplus import models
from wplus.config import ModelConfig
from wplus.data import Mixture, Synthesizer, Synthetic
from wplus.data.base import collate
from wplus.errors import ConfigError, WplusError
from wplus.losses.objective import Objective
from wplus.psp import PSP
from wplus.training import loop, state, validation
from wplus.training.log import StepReport
from wplus.training.loop import train


def test_it_learns(tmp_path: Path) -> None:
    settings = toy.config(steps=30, log_every=10, validate_every=15, learning_rate=3e-2)
    things = toy.components(settings, network=toy.model(encoder="compact"))
    train(settings, tmp_path, components=things)
    losses = [e["l2"] for e in lines(tmp_path) if e["event"] == "train"]
    assert losses[-1] < 0.9 * losses[0]
    first, last = [e["loss"] for e in lines(tmp_path) if e["event"] == "validation"]
    assert last < first


def test_what_it_leaves(whole: Path) -> None:
    names = {str(path.relative_to(whole)) for path in whole.rglob("*") if path.is_file()}
    names = {name for name in names if not name.startswith("tensorboard")}
    assert names == {
        ".lock",
        "config.json",
        "metrics.jsonl",
        "best.safetensors",
        "model.safetensors",
        "previews/00000000.jpg",
        "previews/00000006.jpg",
        "previews/00000012.jpg",
        "states/00000010.safetensors",
        "states/00000012.safetensors",
    }
    entries = lines(whole)
    assert [e["step"] for e in entries if e["event"] == "train"] == [2, 4, 6, 8, 10, 12]
    assert [e["step"] for e in entries if e["event"] == "validation"] == [6, 12]
    assert set(entries[0]) == {
        "step", "event", "l2", "reg", "code", "loss", "gradient", "rate", "skipped",
    }  # fmt: skip
    # Two rows of source, output and target.
    with Image.open(whole / "previews" / "00000012.jpg") as picture:
        assert picture.size == (6 * 256 + 5 * 4, 256)


def test_the_model_is_the_average_and_can_be_used(whole: Path) -> None:
    saved = state.latest(whole)
    assert saved is not None
    model = wplus.load(whole / "model.safetensors")
    assert model.encoder is not None
    for name, value in model.encoder.state_dict().items():
        assert torch.equal(value, saved.tensors[f"average.{name}"])
    assert not torch.equal(
        saved.tensors["average.hidden.weight"], saved.tensors["network.hidden.weight"]
    )
    picture = toy.Numbers(1)
    source = picture.item(0, None)["source"][None, :, ::4, ::4]
    assert model.encode(source).shape == (1, 6, 12)


def test_validation_covers_every_picture_and_is_what_the_model_does(whole: Path) -> None:
    [*_, last] = [e for e in lines(whole) if e["event"] == "validation"]
    assert last["images"] == 5
    model = wplus.load(whole / "model.safetensors")
    found = []
    for i in range(5):
        x = toy.Numbers(5, first=100).item(i, None)["target"][None]
        source = torch.nn.functional.avg_pool2d(x, 4)
        output = model(source)[0].repeat_interleave(16, 2).repeat_interleave(16, 3)
        found.append((output - x).square().mean().item())
    assert last["l2"] == pytest.approx(np.mean(found), rel=1e-5)


def test_the_same_call_again_changes_nothing(whole: Path) -> None:
    before = {path: path.read_bytes() for path in whole.rglob("*.safetensors")}
    log = lines(whole)
    result = toy.run(whole)
    assert result.step == 12
    assert lines(whole) == log
    assert {path: path.read_bytes() for path in whole.rglob("*.safetensors")} == before


def test_bad_steps_are_skipped_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    item = toy.Numbers.item

    def sometimes_bad(self: Any, index: int, rng: Any) -> Any:
        example = item(self, index, rng)
        if rng is not None and index == 3:
            example["source"] = example["source"] * math.nan
        return example

    monkeypatch.setattr(toy.Numbers, "item", sometimes_bad)
    toy.run(tmp_path)
    saved = state.latest(tmp_path)
    assert saved is not None
    assert 0 < saved.state.skipped < 12
    assert all(torch.isfinite(value).all() for value in saved.tensors.values())
    assert lines(tmp_path)[-2]["skipped"] == saved.state.skipped


def test_too_many_bad_steps_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = toy.config(steps=100, save_every=100, validate_every=100)
    components = toy.components(settings)
    item = toy.Numbers.item

    def bad(self: Any, index: int, rng: Any) -> Any:
        example = item(self, index, rng)
        return example if rng is None else {**example, "target": example["target"] * math.inf}

    monkeypatch.setattr(toy.Numbers, "item", bad)
    with pytest.raises(WplusError, match="no finite loss in 10 steps in a row, up to step 10"):
        train(settings, tmp_path, components=components)
    assert not state.states(tmp_path)


def test_only_one_process_trains_in_a_folder(tmp_path: Path) -> None:
    def again(at: StepReport) -> None:
        with pytest.raises(ConfigError, match="another process is training in this folder"):
            toy.run(tmp_path)
        seen.append(at.step)

    seen: list[int] = []
    settings = toy.config(steps=2)
    train(settings, tmp_path, components=toy.components(settings), on_step=again)
    assert seen == [1, 2]


def test_progress_says_where_the_run_is(tmp_path: Path) -> None:
    seen: list[StepReport] = []
    settings = toy.config()
    train(settings, tmp_path, components=toy.components(settings), on_step=seen.append)
    assert [at.step for at in seen] == list(range(1, 13))
    assert seen[-1].seconds_left == 0
    assert "step 3/12  loss" in str(seen[2])
    assert "images/s" in str(seen[2])


def test_threads_are_those_of_the_run(tmp_path: Path) -> None:
    before, seen = torch.get_num_threads(), []
    settings = toy.config(steps=1, threads=before + 1)
    components = toy.components(settings)
    train(settings, tmp_path, components=components,
          on_step=lambda at: seen.append(torch.get_num_threads()))  # fmt: skip
    assert seen == [before + 1]
    assert torch.get_num_threads() == before


def test_it_needs_no_validation(tmp_path: Path) -> None:
    settings = toy.config()
    things = toy.components(settings)
    things = toy.Components(things.model, things.objective, things.training, None)
    result = train(settings, tmp_path, components=things)
    assert result.best == {}
    assert not (tmp_path / "best.safetensors").exists()
    assert (tmp_path / "model.safetensors").exists()
    assert (tmp_path / "previews" / "00000012.jpg").exists()  # of what is trained on


def test_random_numbers_follow_from_seed_step_and_process() -> None:
    def draw(*place: int) -> tuple[float, ...]:
        loop.reseed(*place)
        import random

        return (random.random(), float(np.random.rand()), float(torch.rand(())))

    assert draw(0, 5, 0) == draw(0, 5, 0)
    others = [draw(0, 5, 0), draw(0, 6, 0), draw(1, 5, 0), draw(0, 5, 1)]
    for i in range(3):
        assert len({each[i] for each in others}) == 4


def test_both_sources_of_codes(tmp_path: Path) -> None:
    """An encoder that gives codes, not offsets, is trained and exported as such."""
    settings = toy.config(steps=3)
    network = tiny.model("stylegan2", "single_w", start_from_mean=False)
    train(settings, tmp_path, components=toy.components(settings, network=network))
    model = wplus.load(tmp_path / "model.safetensors")
    assert not model.config.start_from_mean
    [*_, last] = lines(tmp_path)
    x = torch.cat([toy.Numbers(5, 100).item(i, None)["target"][None] for i in range(5)])
    codes = model.encode(torch.nn.functional.avg_pool2d(x, 4))
    assert last["reg"] == pytest.approx(codes.flatten(1).norm(dim=1).mean().item(), rel=1e-5)
    output = model.decode(codes).repeat_interleave(16, 2).repeat_interleave(16, 3)
    assert last["l2"] == pytest.approx((output - x).square().mean().item(), rel=1e-5)


def test_validation_on_samples_knows_their_codes(tmp_path: Path) -> None:
    settings = toy.config(steps=2)
    things = toy.components(settings, {"code": 1.0})
    samples = Synthetic(6, 12, count=5, seed=3)
    things = toy.Components(
        things.model, things.objective, Mixture([(Synthetic(6, 12), 1.0)], 4), samples
    )
    train(settings, tmp_path, components=things)
    [*_, last] = lines(tmp_path)
    assert set(last) == {"step", "event", "code", "loss", "images"}
    model = wplus.load(tmp_path / "model.safetensors")
    rows = Synthesizer(model.generator, "cpu")(collate([samples.item(i, None) for i in range(5)]))
    codes = model.encode(torch.nn.functional.avg_pool2d(rows["source"], 4))
    assert last["code"] == pytest.approx((codes - rows["codes"]).square().mean().item(), rel=1e-4)


def test_validation_has_losses_of_its_own_where_it_needs_them(tmp_path: Path) -> None:
    """A run on codes alone, validated on pictures that have none."""
    settings = toy.config(steps=4, validate_every=2, save_every=4)
    network = toy.model()
    codes = Synthetic(network.num_styles, network.generator.style_dim)
    things = toy.Components(
        network,
        Objective({"code": 1.0}),
        Mixture([(codes, 1.0)], 4),
        toy.Numbers(3),
        validation_objective=Objective({"l2": 1.0}),
    )
    train(settings, tmp_path, components=things)
    found = lines(tmp_path)
    validation = [line for line in found if line["event"] == "validation"]
    assert validation
    assert all(line["l2"] == line["loss"] > 0 and "code" not in line for line in validation)
    assert all("l2" not in line for line in found if line["event"] == "train")
    assert (tmp_path / "best.safetensors").exists()


def test_sketches_train_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One channel in, three out: previews and all."""
    item = toy.Numbers.item

    def drawn(self: Any, index: int, rng: Any) -> Any:
        example = item(self, index, rng)
        return {**example, "source": (example["source"][:1] > 0).float()}

    monkeypatch.setattr(toy.Numbers, "item", drawn)
    settings = replace(toy.config(steps=3, validate_every=3, previews=1), task="sketch")
    part = tiny.Part("compact", {**tiny.encoders(6)["compact"].options, "input_channels": 1})
    base = tiny.model("stylegan2", None)
    about = ModelConfig(base.config.generator, part, task="sketch", source="sketch")
    network = PSP(models.build(part), base.generator, about)
    things = toy.Components(
        network, Objective({"l2": 1.0}), Mixture([(toy.Numbers(7), 1.0)], 4), toy.Numbers(3)
    )
    train(settings, tmp_path, components=things)
    picture = np.asarray(Image.open(tmp_path / "previews" / "00000003.jpg")).astype(int)
    assert picture.shape == (256, 3 * 256 + 8, 3)
    source = picture[8:-8, 8:248]
    assert np.ptp(source, axis=2).max() < 12  # gray
    assert {0, 255} >= {v for v in (0, 255) if (np.abs(source - v) < 12).any()}
    assert wplus.load(tmp_path / "model.safetensors").config.source == "sketch"


def test_a_refused_run_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ConfigError("no")

    monkeypatch.setattr(loop.setup, "build", refuse)
    settings = toy.config(steps=2)
    (tmp_path / "kept").mkdir()
    for name in ("run", "deep/run", "kept"):
        with pytest.raises(ConfigError, match="no"):
            train(settings, tmp_path / name)
    assert not (tmp_path / "run").exists() and not (tmp_path / "deep" / "run").exists()
    assert (tmp_path / "kept").is_dir()


@pytest.mark.parametrize("optimizer", ["ranger", "adamw", "muon"])
@pytest.mark.parametrize("rate", [1e4, 1e20, 1e308])
def test_an_exploding_run_ends_with_one_line(tmp_path: Path, rate: float, optimizer: str) -> None:
    settings = {"learning_rate": rate, "optimizer": optimizer, "steps": 60, "save_every": 1}
    with pytest.raises(WplusError) as error:
        toy.run(tmp_path, **settings, validate_every=2, keep=99)
    said = str(error.value)
    assert said.startswith(f"{tmp_path}: ")
    assert "lower learning_rate" in said
    assert "\n" not in said
    for path in (*state.states(tmp_path), *tmp_path.glob("*.safetensors")):
        for name, value in load_file(path).items():
            if not name.startswith("optimizer."):
                assert value.isfinite().all(), (path.name, name)


def test_a_failing_preview_ends_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("no image")

    monkeypatch.setattr(validation, "draw", fail)
    assert toy.run(tmp_path, steps=6).step == 6
    assert "step 6: no preview could be drawn (no image)" in caplog.text
