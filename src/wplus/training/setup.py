"""Set-up of a run: the networks, losses and data that the settings name."""

from __future__ import annotations

import copy
import hashlib
import inspect
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wplus import models
from wplus.config import ModelConfig, Part
from wplus.data import Dataset, Mixture, Synthesizer
from wplus.encoders import Encoder
from wplus.errors import ConfigError, ImageError
from wplus.faces.labels import LABELS
from wplus.formats.strict import load_strict
from wplus.generators import Generator, Noise, truncate
from wplus.losses import Objective, load_face_network, load_lpips
from wplus.losses.registry import networks_for
from wplus.models.registry import ENCODERS
from wplus.nn.mobilefacenet import MobileFaceTrunk
from wplus.psp import PSP
from wplus.sources.label_colors import PALETTE
from wplus.tasks import TASKS, Task
from wplus.training.config import TrainConfig
from wplus.training.datasets import Prepare, Teacher, check_teacher, open_data
from wplus.training.step import EncoderLosses, Losses

logger = logging.getLogger(__name__)

VARIANCE_SAMPLES = 4096
IMAGE_WEIGHTS = {"l2": 1.0, "lpips": 0.8}
"""Weights in validation on photographs, which have no codes, of a run that trains on codes only."""


@dataclass(frozen=True)
class Placed:
    """What the loop trains, on the device of training; it knows no more of the networks than this.

    Attributes:
        network: what the optimizer moves.
        training_losses: from the network, perhaps wrapped, to the losses of a step.
        validation_losses: from the network or its average to the losses of validation.
        prepare: brings a batch to the device and renders its synthetic examples.
        export: writes the model with this network, or its average, to a file.
    """

    network: nn.Module
    training_losses: Callable[[nn.Module], Losses]
    validation_losses: Callable[[nn.Module], Losses]
    prepare: Prepare
    export: Callable[[nn.Module, Path], None]


@dataclass(frozen=True)
class Components:
    """An encoder to be trained, with its losses and data.

    Attributes:
        model: its encoder is trained; its generator is frozen.
        objective: the losses.
        training: the examples of every step.
        validation: images that are not trained on, if any.
        validation_objective: the losses of validation, where they differ from those of training.
        teacher: a model whose codes count as the true ones where these are not known.
    """

    model: PSP
    objective: Objective
    training: Mixture
    validation: Dataset | None = None
    validation_objective: Objective | None = None
    teacher: PSP | None = None

    @property
    def about(self) -> dict[str, Any]:
        """What is trained, as JSON; part of the state of a run."""
        return asdict(self.model.config)

    def fingerprints(self) -> dict[str, str]:
        """Digests of what must not change when a run is resumed."""
        prints = {"data": self.training.fingerprint(), "generator": digest(self.model.generator)}
        if self.validation is not None:
            prints["validation"] = self.validation.fingerprint()
        if self.teacher is not None and self.teacher.encoder is not None:
            prints["teacher"] = digest(self.teacher.encoder)
        return prints

    def place(self, settings: TrainConfig, device: torch.device) -> Placed:
        """Move everything to a device, in the precision and through the decoder of the settings."""
        model, compiled = self.model.to(device), settings.run.compile
        objective = self.objective.to(device)
        validation_objective = (self.validation_objective or objective).to(device)
        assert isinstance(model.encoder, Encoder)
        # Only the encoder trains: of the generator, gradients of its codes are asked for.
        encoder = model.encoder.train().requires_grad_(True)
        generator = model.generator.eval().requires_grad_(False)
        bfloat16 = settings.run.precision == "bfloat16"
        if bfloat16:
            generator = generator.at_precision(torch.bfloat16)
        short = settings.network.decoder == "short"
        decoder = truncate(generator) if short else generator

        def losses(
            encoder: nn.Module, objective: Objective, noise: Noise, compiled: bool
        ) -> EncoderLosses:
            psp = with_networks(model, encoder, generator)  # type: ignore[arg-type]
            decode: Callable[..., Tensor] = psp.decode if decoder is generator else decoder
            if compiled:
                decode = torch.compile(decoder)
            return EncoderLosses(psp, objective, partial(decode, noise=noise), bfloat16)

        chosen = settings.network.noise
        noise = generator.training_noise if chosen == "auto" else chosen
        prepare: Prepare = Synthesizer(generator, device)
        if self.teacher is not None:
            prepare = Teacher(prepare, self.teacher.to(device), bfloat16)
        return Placed(
            encoder,
            lambda network: losses(network, objective, noise, compiled),
            lambda network: losses(network, validation_objective, "fixed", False),
            prepare,
            lambda network, path: models.save(with_networks(model, network), path),  # type: ignore[arg-type]
        )


def build(config: TrainConfig, trained: ModelConfig | None = None) -> Components:
    """Everything that the settings name, on the CPU.

    Args:
        config: the settings.
        trained: the model of a run that is resumed; its encoder is built, and nothing that it was
            initialized from is read.

    Raises:
        ConfigError: settings contradict each other or name something that is missing.
        FormatError, WeightsError: a model file or network cannot be read or fetched.
    """
    task = TASKS.find(config.task)
    model = build_model(config, task, trained)
    mixture, validation = open_data(config, task, model.generator)
    objective = build_objective(config, model.generator)
    teacher = validation_objective = None
    if config.network.teacher is not None:
        teacher = models.load(config.network.teacher)
        check_teacher(teacher, model, config.network.teacher)
    codes_only = not objective.needs_image and teacher is None
    if codes_only and validation is not None and not _has_codes(validation):
        logger.info("the validation images have no known codes: they are scored by l2 and lpips")
        lpips = load_lpips(config.losses.lpips_net)
        validation_objective = Objective(IMAGE_WEIGHTS, {"lpips": lpips})
    return Components(model, objective, mixture, validation, validation_objective, teacher)


def _has_codes(dataset: Dataset) -> bool:
    """Whether its examples have codes, or z to compute them from; all are of one kind."""
    for index in range(len(dataset)):
        with suppress(ImageError):  # bad files are reported by `datasets.check`
            return bool({"codes", "z"} & dataset.item(index, None).keys())
    return False


def build_model(config: TrainConfig, task: Task, trained: ModelConfig | None = None) -> PSP:
    """The encoder to be trained, and a frozen generator.

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
    name = settings.generator or settings.init or models.DEFAULT
    base = init if init is not None and name == settings.init else models.load(name)
    licenses = [base.config.license]
    from_mean = settings.start_from_mean
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.run.seed)
        if trained is not None and trained.encoder is not None:
            part, from_mean = trained.encoder, trained.start_from_mean
            encoder = models.build(part, ENCODERS)
            licenses = [trained.license]
        elif init is not None and init.config.encoder is not None and init.encoder is not None:
            from_mean = init.config.start_from_mean
            encoder, part = adapt(init.encoder, init.config.encoder, task.input_channels)
            licenses.append(init.config.license)
        else:
            part = encoder_part(config, task, base.generator)
            encoder = models.build(part, ENCODERS)
            licenses.append(start_trunk(encoder, settings.trunk))
    if encoder.input_channels != task.input_channels:
        raise ConfigError(
            f"the task {task.name} has sources of {task.input_channels} channels, but the encoder"
            f" reads {encoder.input_channels}"
        )
    about = ModelConfig(
        generator=base.config.generator,
        encoder=part,
        task=task.name,
        source=task.source,
        start_from_mean=from_mean,
        license="; ".join(dict.fromkeys(text for text in licenses if text)),
    )
    model = PSP(encoder, base.generator, about)
    model.mean_codes = base.mean_codes.clone()
    model.generator.eval().requires_grad_(False)
    encoder.train().requires_grad_(True)
    return model


def encoder_part(config: TrainConfig, task: Task, generator: Generator) -> Part:
    """The encoder's kind and options: the settings', and what generator and task require of it.

    A constructor gets the latter by name, as far as it has such parameters.
    """
    settings = config.network
    required = {
        "input_channels": task.input_channels,
        "style_dim": generator.style_dim,
        "style_resolutions": generator.style_resolutions,
        "num_styles": generator.num_styles,
    }
    named = inspect.signature(ENCODERS.find(settings.encoder).constructor).parameters
    options = {name: value for name, value in required.items() if name in named}
    return Part(settings.encoder, {**options, **settings.encoder_options})


def adapt(encoder: Encoder, part: Part, channels: int) -> tuple[Encoder, Part]:
    """A copy of an encoder of photographs that reads another kind of source.

    Only its first convolution changes: to what it would compute of the sketch seen as a gray image,
    or of the label map painted in its colors. All that the encoder knows of faces is so of use from
    the first step on.

    Args:
        encoder: of color images in [-1, 1].
        part: its kind and options.
        channels: 1 for sketches in [0, 1], 19 for the one-hot label maps of CelebAMask-HQ; for any
            other number the first convolution is initialized at random.

    Returns:
        The encoder, and its kind and options.

    Raises:
        ConfigError: the encoder does not read color images.
    """
    if encoder.input_channels == channels:
        return copy.deepcopy(encoder), part  # its weights may be mapped from the file
    if encoder.input_channels != 3:
        raise ConfigError(
            f"an encoder of {encoder.input_channels} channels cannot be trained further on sources"
            f" of {channels}; start from one of photographs"
        )
    part = Part(part.kind, {**part.options, "input_channels": channels})
    adapted = models.build(part, ENCODERS)
    state = {name: value.clone() for name, value in encoder.state_dict().items()}
    name = next(name for name, x in adapted.state_dict().items() if x.shape != state[name].shape)
    kernel = state[name]
    bias = state.get(name.removesuffix("weight") + "bias")
    if channels == 1:  # a gray value s in [0, 1] is the color 2s - 1 in all channels
        if bias is not None:
            bias -= kernel.sum(dim=(1, 2, 3))
        kernel = 2 * kernel.sum(dim=1, keepdim=True)
    elif channels == len(LABELS):
        colors = torch.tensor(PALETTE, dtype=kernel.dtype) / 127.5 - 1
        kernel = torch.einsum("ochw,kc->okhw", kernel, colors)
    else:
        kernel = adapted.state_dict()[name]
    load_strict(adapted, {**state, name: kernel}, "the adapted encoder")
    return adapted, part


def start_trunk(encoder: Encoder, start: str) -> str:
    """Initialize the trunk from a face network ("Encoding in Style", implementation details).

    Its first convolution keeps its own weights where the encoder does not read color images.

    Args:
        encoder: its `trunk`, if it has one.
        start: a file, "none", or "auto" (see `config.NetworkSettings`).

    Returns:
        The license of the face network, "" if there is none.

    Raises:
        ConfigError: the network has another trunk, or the encoder none.
        FormatError, WeightsError: it cannot be read or fetched.
    """
    trunk = getattr(encoder, "trunk", None)
    compact = isinstance(trunk, MobileFaceTrunk)
    if start == "none" or (start == "auto" and not compact):
        return ""
    if not isinstance(trunk, nn.Module):
        raise ConfigError(f"trunk {start}: this encoder has no trunk; use none")
    face = load_face_network(None if start == "auto" else start)
    state = face.get_submodule("trunk").state_dict()
    if encoder.input_channels != 3:
        first = "stem.0." if compact else "stem."
        own = {name: value for name, value in trunk.state_dict().items() if name.startswith(first)}
        state = {**state, **own}
    try:
        load_strict(trunk, state, f"trunk {start}")
    except ValueError as error:
        raise ConfigError(f"{error}; name another network as trunk, or none") from None
    return "the encoder's trunk started from a face network for non-commercial research"


def build_objective(config: TrainConfig, generator: Generator) -> Objective:
    """The losses, with the networks that their weights need.

    Raises:
        ConfigError: see `Objective`.
        FormatError, WeightsError: a network cannot be read or fetched.
    """
    weights = {name: weight for name, weight in config.weights.items() if weight}
    networks = {
        each.name: each.load(getattr(config.losses, f"{each.name}_net", None))
        for each in networks_for(weights)
    }
    objective = Objective(weights, networks)
    if objective.needs_code:
        objective.code_variance = code_variance(generator)
    return objective


@torch.no_grad()
def code_variance(generator: Generator) -> float:
    """Mean squared distance of w from the mean code, per number, over some thousand samples."""
    rng = torch.Generator().manual_seed(0)
    z = torch.randn(VARIANCE_SAMPLES, generator.style_dim, generator=rng)
    w = generator.map(z.to(generator.mean_w)).double()
    return float((w - generator.mean_w).square().mean())


def with_networks(model: PSP, encoder: Encoder, generator: Generator | None = None) -> PSP:
    """A model with another encoder, and perhaps generator; the rest is shared."""
    other = PSP(encoder, generator or model.generator, replace(model.config))
    other.mean_codes = model.mean_codes
    return other


def digest(network: nn.Module) -> str:
    """Equal for equal tensors."""
    found = hashlib.sha256()
    for name, value in network.state_dict().items():
        found.update(name.encode())
        found.update(value.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]
