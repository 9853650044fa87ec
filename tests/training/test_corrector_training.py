"""Training a corrector, with exact edits of a tiny generator's samples."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import toy
from outcomes import assert_equal_runs
from safetensors.torch import load_file

from wplus import models
from wplus.config import Part
from wplus.data import Mixture, Synthetic
from wplus.data.base import collate
from wplus.data.synthetic import Synthesizer
from wplus.losses.objective import Objective
from wplus.models.registry import CORRECTORS
from wplus.psp import PSP
from wplus.training.config import LossSettings, TrainConfig
from wplus.training.corrector import CorrectorComponents, CorrectorLosses, Edits, build
from wplus.training.log import StepReport
from wplus.training.loop import train

OPTIONS = {"resolution": 8, "channels": (8, 4), "widths": (16, 8), "depths": (2, 1),
           "kernels": (3, 3)}  # fmt: skip
PART = Part("features", OPTIONS)


def model() -> PSP:
    plain = toy.model("mobilestylegan", "compact")
    torch.manual_seed(3)
    corrector = models.build(PART, CORRECTORS)
    config = replace(plain.config, corrector=PART)
    return PSP(plain.encoder, plain.generator, config, corrector).requires_grad_(False)


def directions(psp: PSP) -> torch.Tensor:
    shape = (3, 2, psp.num_styles, psp.generator.style_dim)
    return torch.randn(shape, generator=torch.Generator().manual_seed(4))


def components(settings: TrainConfig) -> CorrectorComponents:
    psp = model()
    samples = Synthetic(psp.num_styles, psp.generator.style_dim)
    parts = [(toy.Numbers(7), 1.0), (samples, 1.0)]
    mixture = Mixture(parts, settings.optimizer.batch, settings.run.seed)
    validation = toy.Numbers(3, first=100)
    return CorrectorComponents(psp, Objective({"l2": 1.0}), mixture, validation, directions(psp))


def run(folder: Path, stop_at: int | None = None) -> None:
    settings = toy.config(steps=6, batch=4, save_every=2, validate_every=3, ema=0.9)

    def report(at: StepReport) -> None:
        if at.step == stop_at:
            signal.raise_signal(signal.SIGTERM)

    result = train(settings, folder, components=components(settings), on_step=report)
    assert (result.step == 6) is (stop_at is None)


def test_a_stopped_run_ends_as_one_that_was_not(tmp_path: Path) -> None:
    run(tmp_path / "whole")
    run(tmp_path / "stopped", stop_at=3)
    run(tmp_path / "stopped")
    assert_equal_runs(tmp_path / "stopped", tmp_path / "whole")
    trained = models.load(tmp_path / "whole" / "model.safetensors")
    start = model()
    assert trained.corrector is not None
    changed = [
        name
        for name, value in trained.state_dict().items()
        if not torch.equal(value, start.state_dict()[name])
    ]
    assert changed
    assert all(name.startswith("corrector.") for name in changed)


def batch_of_samples(psp: PSP, count: int = 24) -> dict[str, object]:
    samples = Synthetic(psp.num_styles, psp.generator.style_dim, count=count, seed=1)
    return collate([samples.item(index, None) for index in range(count)])  # type: ignore[return-value]


def test_edits_are_exact_and_depend_on_the_sample_alone() -> None:
    psp = model().eval()
    loaded = batch_of_samples(psp)
    edits = Edits(Synthesizer(psp.generator, "cpu"), psp, directions(psp))
    batch, again = edits(loaded), edits(loaded)
    for name in ("codes", "target_codes", "full_target"):
        assert torch.equal(batch[name], again[name])
    torch.testing.assert_close(batch["codes"], psp.encode(batch["source"]))
    moved = (batch["target_codes"] - batch["codes"]).flatten(1).any(1)
    assert 0 < moved.sum() < len(moved), "some samples are edited, and some are not"
    for i in (~moved).nonzero()[:, 0]:
        torch.testing.assert_close(batch["target"][i], batch["source"][i], rtol=0, atol=1e-4)
    changed = (batch["target"] - batch["source"]).abs().flatten(1).amax(1) > 1e-3
    assert changed[moved].any()


def test_the_losses_are_those_of_the_corrected_image() -> None:
    psp = model().eval()
    assert psp.corrector is not None
    for parameter in psp.corrector.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    edits = Edits(Synthesizer(psp.generator, "cpu"), psp, directions(psp))
    batch = edits(batch_of_samples(psp, 4))
    losses = CorrectorLosses(psp, Objective({"l2": 2.0}))
    terms = losses(batch)
    assert tuple(terms) == losses.names
    corrections = psp.correct(batch["source"], batch["codes"], batch["target_codes"])
    image = psp.decode(batch["target_codes"], corrections=corrections)
    image = torch.nn.functional.adaptive_avg_pool2d(image, 256)
    l2 = (image - batch["target"]).square().mean()
    torch.testing.assert_close(terms["l2"], l2)
    scales = psp.corrector.scales
    magnitude = sum(
        (extra / scales[size][:, None, None]).square().mean() for size, extra in corrections.items()
    )
    torch.testing.assert_close(terms["magnitude"], magnitude)
    torch.testing.assert_close(terms["loss"], 2 * l2 + 0.002 * magnitude)
    assert losses.total({k: float(v) for k, v in terms.items()}) == pytest.approx(
        float(terms["loss"])
    )


def test_a_corrector_is_built_for_a_model_file(tmp_path: Path) -> None:
    plain = toy.model("mobilestylegan", "compact")
    models.save(plain.requires_grad_(False), tmp_path / "plain.safetensors")
    settings = toy.config(
        init=str(tmp_path / "plain.safetensors"),
        corrector="features",
        corrector_options=OPTIONS,
        synthetic=1.0,
        steps=2,
    )
    weights = {"l2": 1.0, "lpips": 0.0, "identity": 0.0, "regularization": 0.0}
    settings = replace(settings, losses=LossSettings(weights=weights))
    built = build(settings, lambda _: directions(plain))
    assert built.model.config.corrector == PART
    assert built.model.corrector is not None
    scale = built.model.corrector.scales[8]
    assert not torch.equal(scale, torch.ones_like(scale)), "it is calibrated"
    train(settings, tmp_path / "run", components=built)
    state = load_file(tmp_path / "run" / "model.safetensors")
    assert any(name.startswith("corrector.") for name in state)
