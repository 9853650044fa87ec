"""The networks that the settings name: generator, encoder with its beginnings, losses."""

from __future__ import annotations

import hashlib
import logging
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from wplus import losses, models
from wplus.config import ModelConfig, Part
from wplus.data import Dataset, Mixture
from wplus.encoders import Encoder
from wplus.errors import ConfigError, ImageError
from wplus.formats.strict import load_strict
from wplus.generators import Generator
from wplus.losses.objective import Objective
from wplus.models.registry import ENCODERS
from wplus.psp import PSP
from wplus.tasks import Task, find
from wplus.training import teacher as teaching
from wplus.training.adapting import adapt
from wplus.training.config import LossSettings, TrainConfig
from wplus.training.datasets import open_data

logger = logging.getLogger(__name__)

VARIANCE_SAMPLES = 4096
OF_PHOTOGRAPHS = {"l2": 1.0, "lpips": 0.8}
"""Weights in validation on photographs where training looks at codes alone, which they lack."""


@dataclass(frozen=True)
class Components:
    """What a run is made of.

    Attributes:
        model: its encoder is trained; its generator is frozen.
        objective: the losses.
        training: examples of every step.
        validation: pictures that are not trained on, if any.
        judge: the losses of validation, where they are others than those of training.
        teacher: whose codes are learned from, where the true ones are not known.
    """

    model: PSP
    objective: Objective
    training: Mixture
    validation: Dataset | None = None
    judge: Objective | None = None
    teacher: PSP | None = None

    def fingerprints(self) -> dict[str, str]:
        """Of what a run cannot go on without: equal for equal data and generator."""
        found = {"data": self.training.fingerprint(), "generator": digest(self.model.generator)}
        if self.validation is not None:
            found["validation"] = self.validation.fingerprint()
        if self.teacher is not None and self.teacher.encoder is not None:
            found["teacher"] = digest(self.teacher.encoder)
        return found


def build(config: TrainConfig, trained: ModelConfig | None = None) -> Components:
    """Everything that the settings name, on the CPU.

    Args:
        config: the settings.
        trained: what a run that goes on has trained so far; the encoder is built after it, and
            what it once started from is not read.

    Raises:
        ConfigError: settings contradict each other or name something that is missing.
        FormatError, WeightsError: a model file or network cannot be read or fetched.
    """
    task = find(config.task)
    model = build_model(config, task, trained)
    mixture, validation = open_data(config, task, model.generator)
    objective = build_objective(config, model.generator)
    judge = teacher = None
    if config.network.teacher is not None:
        teacher = models.load(config.network.teacher)
        teaching.check(teacher, model, config.network.teacher)
    blind = validation is not None and not objective.needs_image and teacher is None
    if blind and validation is not None and not _knows_codes(validation):
        logger.info(
            "no codes are known of the validation pictures: they are judged by l2 and lpips"
        )
        judge = Objective(OF_PHOTOGRAPHS, lpips=losses.load_lpips(config.losses.lpips_net))
    return Components(model, objective, mixture, validation, judge, teacher)


def _knows_codes(dataset: Dataset) -> bool:
    """Whether its examples have codes, or recipes that become codes; all are of one kind."""
    for index in range(len(dataset)):
        with suppress(ImageError):  # a bad file is named elsewhere
            return bool({"codes", "z"} & dataset.item(index, None).keys())
    return False


def build_model(config: TrainConfig, task: Task, trained: ModelConfig | None = None) -> PSP:
    """The encoder to be trained, before a frozen generator.

    Raises:
        ConfigError: the encoder does not fit the generator or the task, or its settings are wrong.
        FormatError, WeightsError: a file cannot be read or fetched.
    """
    settings = config.network
    init = None
    if settings.init is not None and trained is None:
        init = models.load(settings.init)
        if init.encoder is None:
            raise ConfigError(f"{settings.init}: has no encoder to start from")
    where = settings.generator or settings.init or models.DEFAULT
    giver = init if init is not None and where == settings.init else models.load(where)
    generator = giver.generator
    licenses = [giver.config.license]
    from_mean = settings.start_from_mean
    if trained is not None and trained.encoder is not None:
        part, from_mean = trained.encoder, trained.start_from_mean
        encoder = _encoder(part)
        licenses = [trained.license]
    elif init is not None and init.config.encoder is not None and init.encoder is not None:
        from_mean = init.config.start_from_mean
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.run.seed)
            encoder, part = adapt(init.encoder, init.config.encoder, task.input_channels)
        licenses.append(init.config.license)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.run.seed)
            part = encoder_part(config, task, generator)
            encoder = _encoder(part)
            licenses.append(start_trunk(encoder, settings.trunk))
    if encoder.input_channels != task.input_channels:
        raise ConfigError(
            f"the task {task.name} has sources of {task.input_channels} channels, and the encoder"
            f" reads {encoder.input_channels}"
        )
    about = ModelConfig(
        generator=giver.config.generator,
        encoder=part,
        task=task.name,
        source=task.source,
        start_from_mean=from_mean,
        license="; ".join(dict.fromkeys(text for text in licenses if text)),
    )
    model = PSP(encoder, generator, about)
    model.mean_codes = giver.mean_codes.clone()
    model.generator.eval().requires_grad_(False)
    encoder.train().requires_grad_(True)
    return model


def encoder_part(config: TrainConfig, task: Task, generator: Generator) -> Part:
    """Which encoder, with the arguments that the generator and the task ask for."""
    settings = config.network
    options: dict[str, Any] = {
        "input_channels": task.input_channels,
        "style_dim": generator.style_dim,
    }
    if settings.encoder == "compact":
        options["style_resolutions"] = generator.style_resolutions
    else:
        options["num_styles"] = generator.num_styles
    return Part(settings.encoder, {**options, **settings.encoder_options})


def _encoder(part: Part) -> Encoder:
    if part.kind not in ENCODERS:
        raise ConfigError(f"encoder {part.kind!r} is none of: {', '.join(ENCODERS)}")
    encoder = models.build(part)
    assert isinstance(encoder, Encoder)
    return encoder


def start_trunk(encoder: Encoder, where: str) -> str:
    """Give the trunk the weights of a face network ("Encoding in Style", implementation details).

    Its first convolution stays as it is where the encoder reads something other than photographs.

    Args:
        encoder: with a `trunk`.
        where: a file, "none", or "auto" (see `config.NetworkSettings`).

    Returns:
        The license of what was taken, if it is known.

    Raises:
        ConfigError: the network's trunk is another one.
        FormatError, WeightsError: it cannot be read or fetched.
    """
    compact = encoder.trunk.__class__.__name__ == "MobileFaceTrunk"
    if where == "none" or (where == "auto" and not compact):
        return ""
    face = face_network(None if where == "auto" else where)
    state = face.get_submodule("trunk").state_dict()
    trunk = encoder.get_submodule("trunk")
    if encoder.input_channels != 3:
        first = "stem.0." if compact else "stem."
        own = {name: value for name, value in trunk.state_dict().items() if name.startswith(first)}
        state = {**state, **own}
    try:
        load_strict(trunk, state, f"trunk {where}")
    except ValueError as error:
        raise ConfigError(f"{error}; name another network as trunk, or none") from None
    return "the encoder's trunk started from a face network for non-commercial research"


def face_network(path: str | None) -> nn.Module:
    """A face network by file; without one, the shipped MobileFaceNet, fetched on first use.

    Raises:
        FormatError, WeightsError: it cannot be read or fetched.
    """
    if path is None or Path(path).suffix.lower() == ".onnx":
        return losses.load_mobilefacenet(path)
    return losses.load_arcface(path)


def build_objective(config: TrainConfig, generator: Generator) -> Objective:
    """The losses, with the networks that their weights need.

    Raises:
        ConfigError: see `Objective`.
        FormatError, WeightsError: a network cannot be read or fetched.
    """
    weights, settings = config.weights, config.losses
    perceptual = weights["lpips"] or weights["crop_lpips"]
    return Objective(
        weights,
        lpips=losses.load_lpips(settings.lpips_net) if perceptual else None,
        identity=_identity(settings) if weights["identity"] else None,
        similarity=_similarity(settings) if weights["similarity"] else None,
        code_variance=code_variance(generator) if weights["code"] else 1.0,
    )


def _identity(settings: LossSettings) -> losses.IdentityLoss:
    return losses.IdentityLoss(face_network(settings.identity_net))


def _similarity(settings: LossSettings) -> losses.SimilarityLoss:
    if settings.similarity_net is None:
        raise ConfigError("similarity needs its network: name its file as similarity_net")
    return losses.SimilarityLoss(losses.load_moco(settings.similarity_net))


@torch.no_grad()
def code_variance(generator: Generator) -> float:
    """Mean squared distance of the numbers of w from the mean code, over some thousand w."""
    rng = torch.Generator().manual_seed(0)
    z = torch.randn(VARIANCE_SAMPLES, generator.style_dim, generator=rng)
    w = generator.map(z.to(generator.mean_w)).double()
    return float((w - generator.mean_w).square().mean())


def exportable(model: PSP, encoder: Encoder) -> PSP:
    """The model with another encoder (the average), as it is saved."""
    made = PSP(encoder, model.generator, replace(model.config))
    made.mean_codes = model.mean_codes
    return made


def digest(network: nn.Module) -> str:
    """Equal for equal tensors."""
    found = hashlib.sha256()
    for name, value in network.state_dict().items():
        found.update(name.encode())
        found.update(value.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]
