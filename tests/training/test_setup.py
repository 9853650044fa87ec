"""What the settings name: networks, their beginnings, data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy
from PIL import Image, ImageDraw
from toy import tiny

from wplus import data, losses, models, tasks, weights
from wplus.encoders import CompactEncoder, PyramidEncoder
from wplus.errors import ConfigError, FormatError
from wplus.generators import Generator
from wplus.losses import LossInputs, load_mobilefacenet
from wplus.nn.irse import STAGES_50
from wplus.training import datasets, setup
from wplus.training.config import TrainConfig

COMPACT = dict(tiny.encoders(8)["compact"].options)
SMALL = {name: COMPACT[name] for name in ("width", "narrow", "input_size", "stem", "stages")}


@pytest.fixture
def generator_file(tmp_path: Path) -> str:
    path = tmp_path / "generator.safetensors"
    model = tiny.model("mobilestylegan", None, license="for nothing")
    with torch.no_grad():
        model.mean_codes.add_(1)
    models.save(model, path)
    return str(path)


def config(task: str = "inversion", **groups: Any) -> TrainConfig:
    network = {"encoder_options": SMALL, "trunk": "none", **groups.pop("network", {})}
    return TrainConfig.parse({"task": task, "network": network, **groups})


def build(made: TrainConfig, **more: Any) -> Any:
    return setup.build_model(made, tasks.TASKS.find(made.task), **more)


def test_a_new_encoder_fits_generator_and_task(generator_file: str) -> None:
    for task in ("inversion", "sketch", "labels"):
        model = build(config(task, network={"generator": generator_file}))
        assert isinstance(model.encoder, CompactEncoder)
        channels = tasks.TASKS[task].input_channels
        codes = model.encode(torch.zeros(2, channels, 64, 64))
        assert codes.shape == (2, 8, 12)
        assert (model.config.task, model.config.source) == (task, tasks.TASKS[task].source)
        assert model.config.license == "for nothing"
        assert all(p.requires_grad for p in model.encoder.parameters())
        assert not any(p.requires_grad for p in model.generator.parameters())
        given = tiny.model("mobilestylegan", None).mean_codes + 1
        torch.testing.assert_close(model.mean_codes, given)


def test_a_new_encoder_follows_from_the_seed(generator_file: str) -> None:
    def weights_of(seed: int) -> torch.Tensor:
        made = config(network={"generator": generator_file}, run={"seed": seed})
        torch.rand(3)  # whatever happened before
        return torch.cat([p.flatten() for p in build(made).encoder.parameters()])

    assert torch.equal(weights_of(1), weights_of(1))
    assert not torch.equal(weights_of(1), weights_of(2))


def test_what_is_built_is_what_the_model_file_says(generator_file: str, tmp_path: Path) -> None:
    model = build(config("sketch", network={"generator": generator_file}))
    models.save(setup.with_networks(model, model.encoder), tmp_path / "model.safetensors")
    again = models.load_network(tmp_path / "model.safetensors")
    x = torch.rand(1, 1, 64, 64)
    torch.testing.assert_close(again.encode(x), model.encode(x))  # type: ignore[operator]


def test_an_encoder_is_trained_further(generator_file: str, tmp_path: Path) -> None:
    first = tiny.model("mobilestylegan", "compact")
    path = tmp_path / "first.safetensors"
    models.save(first, path)
    assert first.encoder is not None
    for generator, mean in ((None, first.mean_codes), (generator_file, first.mean_codes + 1)):
        model = build(config(network={"init": str(path), "generator": generator}))
        for name, value in first.encoder.state_dict().items():
            assert torch.equal(model.encoder.state_dict()[name], value)
        torch.testing.assert_close(model.mean_codes, mean)
        assert all(p.requires_grad for p in model.encoder.parameters())
    model = build(config("sketch", network={"init": str(path)}))
    assert model.encoder.input_channels == model.config.encoder.options["input_channels"] == 1
    with pytest.raises(ConfigError, match="has no encoder to start from"):
        build(config(network={"init": generator_file}))


def test_going_on_needs_no_beginnings(generator_file: str) -> None:
    made = config(network={"generator": generator_file})
    about = build(made).config
    gone = config(network={"generator": generator_file, "init": "gone.pt", "trunk": "gone.pth"})
    assert build(gone, trained=about).config == about


def test_the_trunk_starts_from_a_face_network(
    generator_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    face = models.build(tiny.FROZEN["mobilefacenet"])
    monkeypatch.setattr(setup, "load_face_network", lambda path: face)
    theirs = face.get_submodule("trunk").state_dict()
    for task, same in (("inversion", True), ("sketch", False)):
        network = {"generator": generator_file, "trunk": "auto"}
        model = build(config(task, network=network))
        ours = model.encoder.trunk.state_dict()
        for name, value in theirs.items():
            if same or not name.startswith("stem.0."):
                assert torch.equal(ours[name], value), name
        assert "face network" in model.config.license
    network["encoder_options"] = {**SMALL, "stem": 6}
    with pytest.raises(ConfigError, match=r"trunk auto: .*; name another network as trunk"):
        build(config(network=network))


def test_the_papers_trunk_starts_from_arcface(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"stages": tiny.STAGES, "embedding": 8, "size": 16}
    face = models.build(tiny.Part("arcface", {"trunk": {"stages": tiny.STAGES},
                                                "embedding": 8, "size": 16}))  # fmt: skip
    monkeypatch.setattr(setup, "load_face_network", lambda path: face)
    theirs = face.get_submodule("trunk").state_dict()
    for channels in (3, 19):
        encoder = PyramidEncoder(6, channels, 12, options["stages"], 64)
        before = {name: value.clone() for name, value in encoder.trunk.state_dict().items()}
        assert setup.start_trunk(encoder, "auto") == ""  # only compact has one to fetch
        setup.start_trunk(encoder, "model_ir_se50.pth")
        for name, value in encoder.trunk.state_dict().items():
            kept = channels != 3 and name.startswith("stem.")
            assert torch.equal(value, before[name] if kept else theirs[name]), name


@pytest.mark.parametrize(("generator", "drawn"), [("stylegan2", True), ("mobilestylegan", False)])
def test_noise_is_as_the_generator_says_or_the_settings(generator: str, drawn: bool) -> None:
    network = toy.model(generator)
    tiny.unusual(network.generator, seed=2)  # strengths of noise are 0 in new generators
    x = torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    for noise, differs in (("auto", drawn), ("fixed", False), ("random", True)):
        made = toy.config(noise=noise)
        placed = toy.components(made, {"l2": 1.0}, network).place(made, torch.device("cpu"))
        losses = placed.training_losses(placed.network)
        first, second = (losses({"source": x, "target": x})["l2"].item() for _ in range(2))
        assert (first != second) == differs


def test_unknown_encoders_are_refused(generator_file: str) -> None:
    made = config(network={"generator": generator_file, "encoder": "pyramidal"})
    with pytest.raises(ConfigError, match="no encoder 'pyramidal'; did you mean pyramid"):
        build(made)
    made = config(
        network={"generator": generator_file, "encoder_options": {"width": 6, "depth": 2}}
    )
    with pytest.raises(ConfigError, match="depth"):
        build(made)


def test_the_variance_of_codes(generator_file: str) -> None:
    generator = tiny.model("mobilestylegan", None).generator
    assert isinstance(generator, Generator)
    z = torch.randn(20_000, 12, generator=torch.Generator().manual_seed(3))
    w = generator.map(z)
    expected = float((w - generator.mean_w).square().mean())
    assert setup.code_variance(generator) == pytest.approx(expected, rel=0.05)


def test_similarity_needs_its_file() -> None:
    generator = tiny.model("mobilestylegan", None).generator
    losses = {"l2": 0, "lpips": 0, "identity": 0, "similarity": 0.5, "similarity_net": "gone.tar"}
    with pytest.raises(FormatError, match=r"gone\.tar"):
        setup.build_objective(config(losses=losses), generator)


@pytest.mark.network
def test_the_shipped_networks_are_found() -> None:
    generator = tiny.model("mobilestylegan", None).generator
    objective = setup.build_objective(config(), generator)
    assert objective.names == ("l2", "lpips", "id", "id_gain", "loss")
    x = torch.rand(2, 3, 256, 256) * 2 - 1
    terms = objective(LossInputs(x, x, x, torch.zeros(2, 8, 12), torch.zeros(8, 12)))
    assert all(abs(float(value)) < 1e-5 for value in terms.values())
    encoder = CompactEncoder((4, 8, 64))
    assert "non-commercial" in setup.start_trunk(encoder, "auto")
    face = load_mobilefacenet(weights.path("arcface-mobilefacenet.onnx"))
    for name, value in face.trunk.state_dict().items():
        assert torch.equal(encoder.trunk.state_dict()[name], value)
    with pytest.raises(ConfigError, match="name another network as trunk"):
        setup.start_trunk(
            PyramidEncoder(4, stages=STAGES_50),
            str(weights.path("arcface-mobilefacenet.onnx")),
        )


def photos(folder: Path, count: int, size: int = 64, ending: str = "png") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        colors = np.random.default_rng(i).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(colors).resize((size, size)).save(folder / f"{i}.{ending}")
    return folder


def opened(made: TrainConfig) -> Any:
    generator = tiny.model("mobilestylegan", None).generator
    return datasets.open_data(made, tasks.TASKS.find(made.task), generator)


def test_folders_are_mixed_by_size_or_by_share(tmp_path: Path) -> None:
    paths = [str(photos(tmp_path / "a", 3)), str(photos(tmp_path / "b", 6))]
    mixture, validation = opened(config(data={"data": paths}))
    assert mixture.weights == [3.0, 6.0]
    assert validation is None
    mixture, _ = opened(config(data={"data": paths, "shares": [2, 1], "synthetic": 0.4}))
    assert mixture.weights == pytest.approx([0.4, 0.2, 0.4])
    assert isinstance(mixture.datasets[2], data.Synthetic)
    mixture, _ = opened(config(data={"synthetic": 1.0, "truncation": [0.7, 0.7]}))
    assert mixture.example(0, 0)["psi"] == 0.7


def drawings(folder: Path, count: int) -> Path:
    """A black line each, on white."""
    folder.mkdir()
    for i in range(count):
        page = Image.new("L", (96, 96), 255)
        ImageDraw.Draw(page).line((10, 10 + i, 80, 80), fill=0, width=2)
        page.save(folder / f"{i}.png")
    return folder


def test_pairs_lists_and_shards(tmp_path: Path) -> None:
    targets = photos(tmp_path / "targets", 3)
    sources = drawings(tmp_path / "sources", 3)
    made = config("sketch", data={"data": [str(targets)], "sources": str(sources)})
    mixture, _ = opened(made)
    assert mixture.example(0, 0)["source"].shape == (1, 256, 256)
    (tmp_path / "list.txt").write_text("targets/0.png\ntargets/2.png\n")
    mixture, _ = opened(config(data={"data": [str(tmp_path / "list.txt")]}))
    assert len(mixture.datasets[0]) == 2
    generator = tiny.model("mobilestylegan", None).generator
    data.render_cache(generator, tmp_path / "shards", 4, seed=0)
    mixture, validation = opened(
        config(data={"data": [str(targets)], "validation": str(tmp_path / "shards")})
    )
    assert isinstance(validation, data.CachedSynthetic)
    with pytest.raises(ConfigError, match="nothing to train on"):
        opened(config())


def test_photographs_are_varied_in_training_only(tmp_path: Path) -> None:
    folder = str(photos(tmp_path / "photos", 3))
    mixture, validation = opened(config(data={"data": [folder], "vary": True, "hold_out": 1}))
    assert validation is not None
    assert torch.equal(validation.item(0, None)["source"], validation.item(0, None)["target"])
    plain, _ = opened(config(data={"data": [folder], "hold_out": 1}))
    differ = 0
    for position in range(4):
        ours, theirs = (each.example(0, position) for each in (mixture, plain))
        assert torch.equal(ours["source"], ours["target"])
        differ += not torch.equal(ours["target"], theirs["target"])
    assert differ
    sources = drawings(tmp_path / "sources", 3)
    with pytest.raises(ConfigError, match="vary changes source and target alike"):
        opened(config("sketch", data={"data": [folder], "sources": str(sources), "vary": True}))


def test_held_out_pictures_are_not_trained_on(tmp_path: Path) -> None:
    path = str(photos(tmp_path / "a", 10))
    mixture, validation = opened(config(data={"data": [path], "hold_out": 3}))
    names = [each.name(i) for each in (mixture.datasets[0], validation) for i in range(len(each))]
    assert (len(mixture.datasets[0]), len(validation)) == (7, 3)
    assert sorted(names) == [str(i) for i in range(10)]
    held = {validation.name(i) for i in range(3)}
    trained = {mixture.example(step, place)["name"] for step in range(4) for place in range(8)}
    assert not held & trained
    photos(tmp_path / "a", 11)  # one more picture moves at most one to the other side
    _, again = opened(config(data={"data": [path], "hold_out": 3}))
    assert len(held & {again.name(i) for i in range(3)}) >= 2
    with pytest.raises(ConfigError, match="hold_out 11: there are only 11 images"):
        opened(config(data={"data": [path], "hold_out": 11}))


def test_names_that_are_no_text_are_held_out_too(tmp_path: Path) -> None:
    folder = photos(tmp_path / "a", 4)
    (folder / "1.png").rename(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.png"))
    _, validation = opened(config(data={"data": [str(folder)], "hold_out": 3}))
    names = [validation.name(i) for i in range(3)]
    assert len(set(names)) == 3


def test_photographs_without_codes_are_scored_by_image_losses(
    generator_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where training compares codes alone; images that have codes are scored by these."""
    monkeypatch.setattr(setup, "load_lpips", losses.LPIPS)
    weights = {"l2": 0, "lpips": 0, "identity": 0, "code": 1}
    rendered = data.render_cache(
        tiny.model("mobilestylegan", None).generator, tmp_path / "shards", 2, seed=0, size=64
    )
    seen = str(photos(tmp_path / "a", 3))
    for validation, of_codes, expected in (
        (seen, weights, {"l2": 1.0, "lpips": 0.8}),
        (seen, {**weights, "regularization": 1}, {"l2": 1.0, "lpips": 0.8}),
        (str(rendered), weights, None),
        (seen, {**weights, "l2": 1}, None),
        (None, weights, None),
    ):
        made = config(
            network={"generator": generator_file},
            data={"synthetic": 1.0, "validation": validation},
            losses=of_codes,
        )
        objective = setup.build(made).validation_objective
        found = None if objective is None else objective.weights
        assert found == expected


def test_bad_files_are_named_before_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = photos(tmp_path / "a", 40)
    (folder / "3.png").write_bytes(b"I am no picture")
    Image.new("L", (64, 64)).save(folder / "5.png")
    mixture, _ = opened(config(data={"data": [str(folder)]}))
    datasets.check(mixture, None)
    assert f"{folder / '3.png'}: refused" in caplog.text
    assert f"{folder / '5.png'}: accepted: gray" in caplog.text
    for i in range(10, 15):
        Image.new("RGB", (8, 8)).save(folder / f"{i}.png")
    with pytest.raises(
        ConfigError, match=r"6 files of 40 cannot be trained on, the first: .*\.png"
    ):
        datasets.check(mixture, None)
