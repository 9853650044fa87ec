"""Training of a corrector: on photographs, and on exact edits of the generator's samples.

Encoder and generator are frozen. A photograph is to be reconstructed (d = 0). A sample v and its
edit v + d are an exact pair: the corrector gets the image of v and its encoded code w, and the
corrected features of w + d are to make the image of v + d.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wplus import models
from wplus.config import Part
from wplus.data import Dataset, Mixture, Synthesizer
from wplus.errors import ConfigError
from wplus.formats.strict import load_strict
from wplus.generators import Generator
from wplus.images import resize
from wplus.losses import LossInputs, Objective
from wplus.models.registry import CORRECTORS
from wplus.psp import PSP
from wplus.tasks import TASKS
from wplus.training.config import TrainConfig
from wplus.training.datasets import Prepare, open_data
from wplus.training.setup import Placed, build_objective, digest
from wplus.training.step import Batch, Losses

MAGNITUDE = 0.002  # weight of the mean square of the corrections
DETAIL, CROP = 0.5, 192  # weight of LPIPS at full size, and the side of the crop that it compares
CALIBRATION = 16  # samples on which a new corrector is calibrated
UNEDITED, MIXED = 0.15, 0.15  # shares of samples without an edit, and with styles of another sample
ALONG = 0.8  # share of the other edits that follow a direction, if there are any
REACH = 0.8  # of a direction's range, for the longest such edit
TOWARDS = (0.2, 0.5)  # shortest and longest move towards another sample, of the way there


class Edits:
    """Adds to a batch the codes that the corrector starts from and those that are decoded.

    Every example gets `codes`, what the encoder makes of its image, and `target_codes`. Samples of
    the generator, whose own codes are known, are edited: their target becomes the edited sample,
    which `full_target` keeps at full size. An edit depends on nothing but the sample's z, so that a
    resumed run makes the same.

    Args:
        prepare: brings a batch to the device and renders its samples.
        model: its encoder and generator.
        directions: (K, 2, L, style_dim), the ends of directions in W+; K may be 0.
    """

    def __init__(self, prepare: Prepare, model: PSP, directions: Tensor) -> None:
        self.prepare, self.model, self.directions = prepare, model, directions

    @torch.no_grad()
    def __call__(self, loaded: Any) -> Batch:
        """See `Prepare`."""
        batch = dict(self.prepare(loaded))
        true_codes, has_code = batch.pop("codes", None), batch.pop("has_code", None)
        codes = self.model.encode(batch["source"])
        batch |= {"codes": codes, "target_codes": codes.clone()}
        if true_codes is None:
            return batch
        side, target = self.model.resolution, batch["target"].clone()
        full = target.new_zeros(len(target), 3, side, side)
        for i in has_code.nonzero()[:, 0].tolist():
            edit = self.edit(batch["z"][i])
            full[i] = self.model.decode(edit(true_codes[i : i + 1]))[0].clamp(-1, 1)
            target[i] = resize(full[i : i + 1], target.shape[-1])[0]
            batch["target_codes"][i] = edit(codes[i : i + 1])[0]
        return {**batch, "target": target, "full_target": full, "has_full_target": has_code}

    def edit(self, z: Tensor) -> Callable[[Tensor], Tensor]:
        """The edit of the sample of z (2, style_dim): from codes (1, L, style_dim) to codes."""
        seed = hashlib.sha256(z.cpu().numpy().tobytes()).digest()
        rng = torch.Generator().manual_seed(int.from_bytes(seed[:7], "big"))

        def uniform(low: float = 0.0, high: float = 1.0) -> float:
            return low + (high - low) * float(torch.rand((), generator=rng))

        layers, style_dim = self.model.mean_codes.shape
        kind = uniform()
        if kind < UNEDITED:
            return lambda codes: codes
        if kind > 1 - MIXED or not len(self.directions) or uniform() > ALONG:
            first, last = sorted(torch.randint(0, layers + 1, (2,), generator=rng).tolist())
            other = self.model.map(torch.randn(1, style_dim, generator=rng).to(z), 0.8)
            reach = 1.0 if kind > 1 - MIXED else uniform(*TOWARDS)
            share = torch.zeros(layers, 1, device=z.device)
            share[first:last] = reach
            return lambda codes: torch.lerp(codes, other[:, None].expand_as(codes), share)
        number = int(torch.randint(0, len(self.directions), (), generator=rng))
        end = self.directions[number, int(uniform() < 0.5)].to(z.device)
        move = end * uniform(0, REACH)
        return lambda codes: codes + move


class CorrectorLosses:
    """G(t; C(x, F(w), F(t))) and its losses, for codes w and target codes t.

    Args:
        model: its corrector is trained; it may be wrapped (see `SingleProcess.wrap`).
        objective: the losses of images.
        bfloat16: whether the corrector and the losses run under autocast. (The generator has its
            own precision.)
    """

    def __init__(self, model: PSP, objective: Objective, bfloat16: bool = False) -> None:
        self.model, self.objective, self.bfloat16 = model, objective, bfloat16

    @property
    def names(self) -> tuple[str, ...]:
        """See `Losses`."""
        return (*self.objective.names[:-1], "magnitude", "detail", "loss")

    @property
    def names_with_code(self) -> tuple[str, ...]:
        """See `Losses`."""
        return ()

    def corrections(self, batch: Batch) -> dict[int, Tensor]:
        """What the corrector adds to the features of the target codes."""
        with self._autocast(batch["source"]):
            return self.model.correct(batch["source"], batch["codes"], batch["target_codes"])

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """The terms of a batch that `Edits` prepared."""
        corrections = self.corrections(batch)
        output = self.model.decode(batch["target_codes"], corrections=corrections)
        inputs = LossInputs(
            batch["source"],
            batch["target"],
            output,
            batch["target_codes"],
            self.model.mean_codes,
            native_size=batch.get("native_size"),
        )
        with self._autocast(output):
            terms: dict[str, Tensor] = self.objective(inputs)
            terms["magnitude"] = self._magnitude(corrections)
            terms["detail"] = self._detail(output, batch)
        terms["loss"] = (
            terms.pop("loss") + MAGNITUDE * terms["magnitude"] + DETAIL * terms["detail"]
        )
        return terms

    def total(self, terms: Mapping[str, float]) -> float:
        """See `Losses`."""
        images = self.objective.total(terms)
        return images + MAGNITUDE * terms["magnitude"] + DETAIL * terms["detail"]

    def outputs(self, batch: Batch) -> Tensor:
        """See `Losses`."""
        return self.model.decode(batch["target_codes"], corrections=self.corrections(batch))

    def _magnitude(self, corrections: Mapping[int, Tensor]) -> Tensor:
        """Mean square of the corrections in units of the features' variance."""
        assert self.model.corrector is not None
        scales = self.model.corrector.scales
        squares = [
            (extra.float() / scales[size][:, None, None]).square().mean()
            for size, extra in corrections.items()
        ]
        return torch.stack(squares).sum()

    def _detail(self, output: Tensor, batch: Batch) -> Tensor:
        """LPIPS to exact edits on a crop of full size, which 256² does not show."""
        rows = batch.get("has_full_target")
        if rows is None or not rows.any() or "lpips" not in self.objective.networks:
            return output.new_zeros(())
        size = min(CROP, output.shape[-1])
        top, left = torch.randint(0, output.shape[-1] - size + 1, (2,)).tolist()
        cut = (rows, slice(None), slice(top, top + size), slice(left, left + size))
        distances: Tensor = self.objective.networks["lpips"](output[cut], batch["full_target"][cut])
        return distances.sum() / len(rows)

    def _autocast(self, x: Tensor) -> torch.autocast:
        return torch.autocast(x.device.type, torch.bfloat16, enabled=self.bfloat16)


@dataclass(frozen=True)
class CorrectorComponents:
    """A corrector to be trained, with its losses and data.

    Attributes:
        model: its corrector is trained; its encoder and generator are frozen.
        objective: the losses of images.
        training: the examples of every step.
        validation: images that are not trained on, if any.
        directions: see `Edits`.
    """

    model: PSP
    objective: Objective
    training: Mixture
    validation: Dataset | None
    directions: Tensor

    @property
    def about(self) -> dict[str, Any]:
        """See `loop.Trainable`."""
        return asdict(self.model.config)

    def fingerprints(self) -> dict[str, str]:
        """See `loop.Trainable`."""
        assert self.model.encoder is not None
        prints = {
            "data": self.training.fingerprint(),
            "generator": digest(self.model.generator),
            "encoder": digest(self.model.encoder),
            "directions": hashlib.sha256(self.directions.numpy().tobytes()).hexdigest(),
        }
        if self.validation is not None:
            prints["validation"] = self.validation.fingerprint()
        return prints

    def place(self, settings: TrainConfig, device: torch.device) -> Placed:
        """See `loop.Trainable`."""
        model, objective = self.model.to(device), self.objective.to(device)
        assert model.corrector is not None
        bfloat16 = settings.run.precision == "bfloat16"
        generator = model.generator.eval().requires_grad_(False)
        if bfloat16:
            generator = generator.at_precision(torch.bfloat16)
        frozen = with_corrector(model, None, generator).eval().requires_grad_(False)
        corrector = model.corrector.train().requires_grad_(True)

        def losses(network: nn.Module) -> Losses:
            return CorrectorLosses(with_corrector(model, network, generator), objective, bfloat16)

        def export(network: nn.Module, path: Path) -> None:
            models.save(with_corrector(model, network), path)

        prepare: Prepare = Edits(Synthesizer(generator, device), frozen, self.directions)
        return Placed(corrector, losses, losses, prepare, export)


def build(
    config: TrainConfig, directions: Callable[[Generator], Tensor] | None = None
) -> CorrectorComponents:
    """A corrector for the model of `init`, with its losses and data, on the CPU.

    Args:
        config: the settings; `network.corrector` names the corrector.
        directions: gives the ends (K, 2, L, style_dim) of directions of a generator, along which
            samples are edited; None for none.

    Raises:
        ConfigError: the model has no encoder of photographs, or settings contradict each other.
        FormatError, WeightsError: a model file or network cannot be read or fetched.
    """
    settings = config.network
    assert settings.corrector is not None
    base = models.load(settings.init or models.DEFAULT)
    if base.encoder is None or base.config.source != "photo":
        raise ConfigError(f"{settings.init}: a corrector needs a model that encodes photographs")
    part = Part(settings.corrector, settings.corrector_options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.run.seed)
        corrector = models.build(part, CORRECTORS)
    if base.corrector is not None and base.config.corrector == part:
        load_strict(corrector, base.corrector.state_dict(), f"the corrector of {settings.init}")
    else:
        codes = base.sample(CALIBRATION, 0.7, config.run.seed)
        features = base.generator.pyramid(codes, corrector.feature_channels)
        corrector.calibrate(features, resize(base.decode(codes), corrector.input_size))
    model = PSP(base.encoder, base.generator, replace(base.config, corrector=part), corrector)
    model.mean_codes = base.mean_codes
    mixture, validation = open_data(config, TASKS.find(config.task), model.generator)
    ends = directions(model.generator) if directions else torch.zeros(0)
    objective = build_objective(config, model.generator)
    return CorrectorComponents(model, objective, mixture, validation, ends)


def with_corrector(
    model: PSP, corrector: nn.Module | None, generator: Generator | None = None
) -> PSP:
    """The model with another corrector, and perhaps another generator."""
    config = model.config if corrector is not None else replace(model.config, corrector=None)
    whole = PSP(model.encoder, generator or model.generator, config, corrector)  # type: ignore[arg-type]
    whole.mean_codes = model.mean_codes
    return whole
