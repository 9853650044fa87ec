"""One thing of every kind that can be added, added by `register` alone, and used to the end.

A task, a kind of source, a loss, a metric, an encoder, a generator and a corrector go through the
commands `train`, `translate` and `evaluate`. What these write is compared with numpy's results from
the numbers in their files. CONTRIBUTING.md says the same as this module, row by row.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Set
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import load_file
from torch import Tensor, nn
from torch.nn import functional

import wplus
from wplus import models, weights
from wplus.cli import app
from wplus.config import ModelConfig, Part
from wplus.correctors import Corrector
from wplus.encoders import Encoder
from wplus.errors import ConfigError, FormatError
from wplus.evaluate import METRICS, Metric, of_pairs
from wplus.generators import Corrections, Generator
from wplus.generators.base import corrected
from wplus.inference.outputs import Output
from wplus.losses import LOSSES, Loss, LossInputs
from wplus.models.registry import CORRECTORS, ENCODERS, GENERATORS, Network
from wplus.psp import PSP
from wplus.registry import Registry
from wplus.sources import SOURCES, Source
from wplus.sources.kind import Kind, SourceOptions
from wplus.tasks import TASKS, Task
from wplus.training.config import TrainConfig
from wplus.training.loop import train
from wplus.weights import ASSETS, Archive, Asset

Array = NDArray[np.float64]
STYLE = 4  # length of a style vector
OTHERS = tuple(name.replace("_", "-") for name in METRICS if name != "mse")


class LightAndDark(Kind):
    """Two channels: the red of an image in [0, 1], and 1 minus it."""

    def tensor(self, image: Image.Image, options: SourceOptions) -> Tensor:
        red = torch.from_numpy(np.asarray(image.resize((options.size, options.size)))[..., 0] / 255)
        return torch.stack([red, 1 - red])[None].float()


class Quadrants(Encoder):
    """A linear map of the means of four quadrants; the code is the mean code at first."""

    def __init__(
        self, num_styles: int, input_channels: int = 3, style_dim: int = STYLE, bias: bool = False
    ) -> None:
        super().__init__(num_styles, input_channels, style_dim, input_size=256)
        self.offsets = nn.Linear(4 * input_channels, num_styles * style_dim, bias=bias)
        nn.init.zeros_(self.offsets.weight)
        self.last_input: Tensor
        self.register_buffer("last_input", torch.zeros(input_channels, 256, 256))

    def forward(self, images: Tensor) -> Tensor:
        self.check(images)
        if self.training:
            self.last_input.copy_(images[-1])
        means = functional.adaptive_avg_pool2d(images, 2).flatten(1)
        offsets: Tensor = self.offsets(means).unflatten(1, (self.num_styles, self.style_dim))
        return offsets


class Flag(Generator):
    """Two halves, each of the color of a style; the left one has features to be corrected."""

    def __init__(self, resolution: int, style_dim: int = STYLE) -> None:
        super().__init__()
        self.resolution, self.style_dim = resolution, style_dim
        self.style_resolutions = (4, resolution)
        self.feature_channels = {4: style_dim}
        self.mapping = nn.Linear(style_dim, style_dim)
        self.color = nn.Linear(style_dim, 3)
        self.register_buffer("mean_w", torch.linspace(-1, 1, style_dim))

    def levels(
        self, codes: Tensor, noises: Any, corrections: Corrections, wanted: Set[int]
    ) -> dict[int, Tensor]:
        left = codes[:, 0, :, None, None].expand(-1, -1, 4, 4)
        found = {4: corrected(left, corrections)}
        dtype = self.color.weight.dtype
        colors = (found[4].mean((2, 3)), codes[:, 1])
        halves = [torch.tanh(self.color(x.to(dtype))).float() for x in colors]
        image = torch.stack(halves, dim=-1).repeat_interleave(self.resolution // 2, dim=-1)
        found[self.resolution] = image[:, :, None].expand(-1, -1, self.resolution, -1).contiguous()
        return {size: found[size] for size in wanted}

    def style_affines(self) -> Iterator[tuple[int, nn.Module]]:
        yield from ((0, self.color), (1, self.color))


class Shift(Corrector):
    """Adds one number to every feature at 4²."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.feature_channels, self.input_size = {4: channels}, 32
        self.amount = nn.Parameter(torch.tensor(0.5))

    @property
    def scales(self) -> dict[int, Tensor]:
        return {4: torch.ones(self.feature_channels[4])}

    def forward(
        self, images: Tensor, features: Mapping[int, Tensor], target_features: Any = None
    ) -> dict[int, Tensor]:
        return {size: torch.full_like(each, 1) * self.amount for size, each in features.items()}


def absolute(x: LossInputs, _: nn.Module | None) -> dict[str, Tensor]:
    return {"absolute": (x.image - x.target).abs().mean(), "darkest": x.image.min()}


def shade(outputs: Tensor, targets: Tensor) -> Tensor:
    """By how much the output is lighter."""
    return (outputs - targets).mean(dim=(1, 2, 3))


ARCHIVE = Archive("flags", "1.0", "flags-1.0.tar.gz", 999, "0" * 64, "MIT", "any use")
SUM = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"  # of b"hello"


def rows() -> Iterator[tuple[Registry[Any], Any]]:
    """Tables and rows. A task refers to its source and losses, which are registered before it."""
    yield SOURCES, Source("light_and_dark", LightAndDark(), "two-channel image", channels=2)
    yield LOSSES, Loss("absolute", "L1.", absolute, terms=("absolute", "darkest"))
    yield TASKS, Task("flags", "light_and_dark", {"absolute": 1.0}, flip="none", redraw="1")
    yield METRICS, Metric("shade", "shade of it", of_pairs(shade), digits=4)
    yield ENCODERS, Network("quadrants", Quadrants)
    yield ENCODERS, Network("biased_quadrants", f"{__name__}:Quadrants", {"bias": True})
    yield GENERATORS, Network("flag", Flag)
    yield CORRECTORS, Network("shift", Shift)
    yield ASSETS, Asset("flags.txt", "what it says", ARCHIVE, "flags.txt", 5, SUM)


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    """The rows above, and no longer than this module needs them."""
    added = []
    with ExitStack() as stack:
        for table, row in rows():
            table.register(row)
            stack.callback(table.unregister, row.name)
            added.append((table, row.name))
        yield
    assert not any(name in table for table, name in added)


# --- by hand: the same with numpy ---------------------------------------------------------------


def picture(seed: int) -> Array:
    """(256, 256, 3) levels."""
    cells = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return cells.repeat(32, 0).repeat(32, 1)


def folder_of(path: Path, seeds: range) -> Path:
    path.mkdir(parents=True)
    for seed in seeds:
        Image.fromarray(picture(seed)).save(path / f"{seed}.png")
    return path


def source_of(levels: Array) -> Array:
    red = levels[..., 0] / 255
    return np.stack([red, 1 - red])


def code_of(source: Array, file: Mapping[str, Array]) -> Array:
    """(2, STYLE), the code of an encoder's input (C, 256, 256)."""
    means = source.reshape(len(source), 2, 128, 2, 128).mean((2, 4)).ravel()
    offsets = file["encoder.offsets.weight"] @ means + file.get("encoder.offsets.bias", 0)
    return np.asarray(offsets.reshape(2, STYLE) + file["generator.mean_w"])


def image_of(code: Array, file: Mapping[str, Array], correction: float = 0.0) -> Array:
    """(2, 3) in [-1, 1], the colors of the left and the right half."""
    styles = np.stack([code[0] + correction, code[1]])
    colors = styles @ file["generator.color.weight"].T + file["generator.color.bias"]
    return np.asarray(np.tanh(colors))


def halves_of(path: Path) -> Array:
    """(2, 3) in [-1, 1], the same of an image file; both halves must be of one color."""
    pixels = np.asarray(Image.open(path)) / 127.5 - 1
    assert pixels.shape == (16, 16, 3)
    assert (pixels[:, :8] == pixels[0, 0]).all()
    assert (pixels[:, 8:] == pixels[0, -1]).all()
    return np.stack([pixels[0, 0], pixels[0, -1]])


LEVEL = 1 / 127.5  # half of it is lost in rounding


# --- the commands -------------------------------------------------------------------------------


def call(*words: object) -> int:
    """A command in this process; errors come as they are."""
    command, bound, _ = app.parse_args([str(word) for word in words], exit_on_error=False)
    return int(command(*bound.args, **bound.kwargs))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator's file, and the folders of a run."""
    home = tmp_path_factory.mktemp("home")
    torch.manual_seed(0)
    generator = PSP(None, Flag(16), ModelConfig(Part("flag", {"resolution": 16})))
    models.save(generator, home / "flag.safetensors")
    folder_of(home / "targets", range(3))
    folder_of(home / "sources", range(3))
    return home


def settings(home: Path, out: str = "run", **changed: object) -> list[object]:
    values = {
        "task": "flags",
        "data": home / "targets",
        "sources": home / "sources",
        "hold-out": 1,
        "generator": home / "flag.safetensors",
        "encoder": "quadrants",
        "learning-rate": 0.1,
        "optimizer": "adamw",
        "ema": 0,
        "batch": 1,
        "steps": 4,
        "log-every": 1,
        "workers": 0,
        "previews": 1,
        "device": "cpu",
        "threads": 1,
        "out": home / out,
        **changed,
    }
    return [word for name, value in values.items() for word in (f"--{name}", value)]


@pytest.fixture(scope="module")
def run(home: Path) -> Path:
    """A run of the toy task by the command."""
    assert call("train", *settings(home)) == 0
    return home / "run"


def log_of(run: Path, event: str) -> list[dict[str, Any]]:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, lines) if line["event"] == event]


def absolute_of(halves: Array, levels: Array) -> float:
    made = np.stack([halves[0]] * 128 + [halves[1]] * 128)  # columns
    return float(np.abs(made - (levels / 127.5 - 1)).mean())


def test_a_loss_stands_in_the_log_and_trains(run: Path, home: Path) -> None:
    lines = log_of(run, "train")
    assert len(lines) == 4
    start = load_file(home / "flag.safetensors")
    mean_code = np.stack([start["generator.mean_w"]] * 2)
    first = [absolute_of(image_of(mean_code, start), picture(seed)) for seed in range(3)]
    assert min(abs(lines[0]["absolute"] - value) for value in first) < 1e-5
    assert lines[0]["loss"] == lines[0]["absolute"]
    assert lines[0]["darkest"] == pytest.approx(image_of(mean_code, start).min(), abs=1e-5)
    [at_end] = log_of(run, "validation")
    assert at_end["absolute"] < sum(first) / 3
    after = load_file(run / "model.safetensors")
    assert np.abs(after["encoder.offsets.weight"]).min() > 0  # it was 0


def test_a_source_reaches_the_encoder(run: Path) -> None:
    seen = load_file(run / "model.safetensors")["encoder.last_input"]
    errors = [np.abs(seen - source_of(picture(seed))).max() for seed in range(3)]
    assert min(errors) < 1e-6


def test_an_encoder_without_a_trunk_starts_from_none(home: Path) -> None:
    with pytest.raises(ConfigError, match=r"trunk face\.pth: this encoder has no trunk"):
        call("train", *settings(home, "other", trunk="face.pth"))


def test_a_model_file_names_what_was_added(run: Path) -> None:
    model = wplus.load(run / "model.safetensors")
    assert isinstance(model.encoder, Quadrants)
    assert isinstance(model.generator, Flag)
    config = model.config
    assert config.encoder == Part(
        "quadrants", {"input_channels": 2, "style_dim": STYLE, "num_styles": 2}
    )
    assert (config.generator.kind, config.task, config.source) == (
        "flag", "flags", "light_and_dark",
    )  # fmt: skip
    row = ENCODERS["quadrants"]
    ENCODERS.unregister("quadrants")
    try:
        with pytest.raises(FormatError, match="no encoder 'quadrants'"):
            wplus.load(run / "model.safetensors")
    finally:
        ENCODERS.register(row)


def test_the_library_trains_with_a_weight_of_a_loss(home: Path) -> None:
    for weight in (0.0, 3.0):
        content = {
            "task": "flags",
            "data": {"data": [str(home / "targets")], "sources": str(home / "sources")},
            "network": {"encoder": "biased_quadrants", "generator": str(home / "flag.safetensors")},
            "losses": {"absolute": weight, "l2": 0.5},
            "optimizer": {"steps": 2, "batch": 2, "learning_rate": 0.1},
            "run": {"log_every": 1, "previews": 0, "device": "cpu", "threads": 1},
        }
        content["data"]["workers"] = 0  # type: ignore[index]
        folder = home / f"weight-{weight}"
        assert train(TrainConfig.parse(content), folder).step == 2
        line = log_of(folder, "train")[0]
        assert ("absolute" in line) == bool(weight)
        assert line["loss"] == pytest.approx(0.5 * line["l2"] + weight * line.get("absolute", 0))
    runs = [load_file(home / f"weight-{x}" / "model.safetensors") for x in (0.0, 3.0)]
    assert (runs[0]["encoder.offsets.bias"] != runs[1]["encoder.offsets.bias"]).any()


def test_translating_a_source(run: Path, home: Path, tmp_path: Path) -> None:
    file, out = run / "model.safetensors", tmp_path / "out"
    photos = folder_of(tmp_path / "in", range(8, 10))
    command = ("translate", photos, "--task", "flags", "--model", file, "--out", out)
    assert call(*command, "--outputs", 2, "--compare", "--device", "cpu") == 0
    state = load_file(file)
    for seed in (8, 9):
        code = code_of(source_of(picture(seed)), state)
        found, _ = wplus.codes.load(out / f"{seed}.codes.safetensors")
        np.testing.assert_allclose(found, code, atol=1e-4)
        made = halves_of(out / f"{seed}.png")
        np.testing.assert_allclose(made, image_of(code, state), atol=0.51 * LEVEL)
        redrawn = halves_of(out / f"{seed}-out1.png")
        assert (redrawn[0] == made[0]).all()  # the task re-draws style 1
        assert np.abs(redrawn[1] - made[1]).max() > LEVEL
        assert (out / f"{seed}.compare.png").is_file()
    output = wplus.translate(Image.fromarray(picture(8)), "flags", model=file)
    assert isinstance(output, Output)
    assert (np.asarray(output.image) == np.asarray(Image.open(out / "8.png"))).all()
    with pytest.raises(ConfigError, match="a two-channel image is no photograph"):
        call(*command, "--paste")


@pytest.fixture(scope="module")
def inversion(home: Path) -> Path:
    """A model of photographs, of the toy encoder, generator and corrector."""
    generator = wplus.load(home / "flag.safetensors").generator
    encoder = Quadrants(2)
    torch.manual_seed(1)
    nn.init.normal_(encoder.offsets.weight, std=0.5)
    config = ModelConfig(
        Part("flag", {"resolution": 16}),
        Part("quadrants", {"num_styles": 2}),
        Part("shift", {"channels": STYLE}),
    )
    models.save(PSP(encoder, generator, config, Shift(STYLE)), home / "inversion.safetensors")
    return home / "inversion.safetensors"


def test_a_corrector_is_trained(inversion: Path, home: Path) -> None:
    new = {
        "task": "inversion",
        "data": home / "targets",
        "loss": "absolute=1",
        "lpips": 0,
        "identity": 0,
        "corrector": "shift",
        "corrector-options": json.dumps({"channels": STYLE}),
        "init": inversion,
    }
    left_out = ("--sources", "--generator", "--encoder", "--task", "--data")
    words = settings(home, "corrected")
    kept = [
        w for n in range(0, len(words), 2) if words[n] not in left_out for w in words[n : n + 2]
    ]
    assert call("train", *kept, *(w for name, x in new.items() for w in (f"--{name}", x))) == 0
    before, after = load_file(inversion), load_file(home / "corrected" / "model.safetensors")
    assert {name for name in after if (after[name] != before[name]).any()} == {"corrector.amount"}
    assert log_of(home / "corrected", "train")[0]["absolute"] > 0


def shade_of(halves: Array, seed: int) -> float:
    return float(halves.mean() - (picture(seed) / 127.5 - 1).mean())


def test_a_metric_of_models_and_a_corrector(
    inversion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, out = folder_of(tmp_path / "photos", range(3)), tmp_path / "scores"
    command = ("evaluate", "--model", inversion, "--data", photos, "--device", "cpu")
    assert call(*command, "--out", out, "--without", *OTHERS) == 0
    table = capsys.readouterr().out
    state = load_file(inversion)
    report = json.loads((out / "report.json").read_text())
    assert [entry["method"] for entry in report["results"]] == ["one pass", "W+ only"]
    for entry, amount in zip(report["results"], (0.5, 0.0)):
        codes = [code_of(picture(n).transpose(2, 0, 1) / 127.5 - 1, state) for n in range(3)]
        each = [shade_of(image_of(code, state, amount), n) for n, code in enumerate(codes)]
        assert entry["metrics"]["shade"]["mean"] == pytest.approx(np.mean(each), abs=LEVEL / 2)
        assert f"{entry['metrics']['shade']['mean']:.4f}" in table
    assert "shade of it" in table
    with (out / "images.csv").open() as file:
        column = [float(row["shade"]) for row in csv.DictReader(file)]
    assert column[-3:] == pytest.approx(each, abs=LEVEL)


def test_a_metric_of_pairs(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos, out = folder_of(tmp_path / "in", range(4)), tmp_path / "out"
    wplus_model = ("--model", run / "model.safetensors", "--device", "cpu")
    assert call("translate", photos, "--task", "flags", *wplus_model, "--out", out) == 0
    capsys.readouterr()
    assert call("evaluate", "--pairs", photos, out, "--json", "--without", *OTHERS) == 0
    [entry] = json.loads(capsys.readouterr().out)["results"]
    each = [shade_of(halves_of(out / f"{seed}.png"), seed) for seed in range(4)]
    assert entry["metrics"]["shade"]["mean"] == pytest.approx(np.mean(each), abs=1e-4)
    assert set(entry["metrics"]) == {"mse", "shade"}
    assert call("evaluate", "--pairs", photos, out, "--json", "--without", "shade", *OTHERS) == 0
    assert set(json.loads(capsys.readouterr().out)["results"][0]["metrics"]) == {"mse"}


def test_networks_invert_and_edit(inversion: Path) -> None:
    image = Image.fromarray(picture(5))
    output = wplus.invert(image, model=inversion, align=False, correction=True)
    edited = wplus.edit(image, model=inversion, align=False, correction=True, sefa1=1.0)
    assert isinstance(output, Output)
    assert isinstance(edited, Output)
    code = code_of(picture(5).transpose(2, 0, 1) / 127.5 - 1, load_file(inversion))
    np.testing.assert_allclose(output.codes, code, atol=1e-4)
    model = wplus.load(inversion, dtype=torch.bfloat16)
    assert isinstance(model.corrector, Shift)
    assert model.decode(model.sample(2, seed=0)).shape == (2, 3, 16, 16)
    moved = edited.codes - output.codes
    rows = load_file(inversion)["generator.color.weight"]
    first = np.linalg.svd(rows / np.linalg.norm(rows, axis=1, keepdims=True))[2][0]
    along = abs(moved.numpy() @ first)
    np.testing.assert_allclose(along, moved.norm(dim=1), rtol=1e-4)


def test_a_file_to_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(weights.CACHE_VARIABLE, str(tmp_path))
    assert weights.verify("flags.txt").state == "missing"
    (tmp_path / "flags.txt").write_bytes(b"hallo")
    assert weights.verify("flags.txt").state == "damaged"
    (tmp_path / "flags.txt").write_bytes(b"hello")
    assert weights.path("flags.txt").read_bytes() == b"hello"


def test_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    @app.command
    def flags(count: int) -> int:
        print("flag " * count)
        return 0

    try:
        assert call("flags", 2) == 0
        assert capsys.readouterr().out.split() == ["flag", "flag"]
    finally:
        del app["flags"]
