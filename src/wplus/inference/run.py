"""The pipeline under every command: inputs → samples → codes → outputs → files.

    inference = Inference(model, TASKS["sketch"], Options(outputs=4))
    samples = inference.read("sketch.png")       # one for each face of a photograph
    outputs = inference.generate(samples)        # encode, re-draw styles, refine, decode

`wplus invert` and `wplus.invert` are the task `inversion` of it, `wplus translate` any task;
`edit`, `mix`, `morph` and `transplant` start from `codes`; `evaluate` scores what they decode to.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path

import torch
from torch import Tensor

from wplus import codes as code_files
from wplus import images, latents, weights
from wplus.errors import ConfigError, WeightsError, WplusError
from wplus.inference import inputs as sampling
from wplus.inference import model_choice
from wplus.inference.destination import Destination
from wplus.inference.inputs import Input, Sample, is_code, name_of, stem_of
from wplus.inference.options import InversionOptions, Options
from wplus.inference.outputs import Output, write
from wplus.inference.readers import Request, read_samples
from wplus.inference.results import Figures, Result, describe
from wplus.losses import LossNetworks
from wplus.optimize import (
    Constraint,
    Refinement,
    default_steps,
    fast_precision,
    phases_for,
    photograph_task,
    refine,
)
from wplus.progress import Progress, ProgressFor, silent
from wplus.psp import PSP
from wplus.sources import SOURCES
from wplus.sources.kind import SourceOptions
from wplus.tasks import Task

logger = logging.getLogger(__name__)

PARSER = "bisenet-faces.pth"  # the asset that pasting photographs needs


class Inference:
    """A model that does one task. Networks of losses are loaded once, when they are first needed.

    Args:
        model: see `open_inference`.
        task: a row of `tasks.TASKS`; None inverts photographs.
        options: how.
        name: of the model, for codes files and messages.

    Attributes:
        steps: of optimization for each output.
        networks: of the losses.

    Raises:
        ConfigError: options that the task would ignore, layers that the generator does not have, or
            a model of another task.
    """

    def __init__(
        self, model: PSP, task: Task | None = None, options: Options | None = None, name: str = ""
    ) -> None:
        self.model, self.name = model, name
        self.task, self.options = task or photograph_task(model), options or Options()
        self.options.check(self.task)
        model_choice.check(model, name or "this model", self.task)
        self.layers = self._layers()
        asked = self.options.refine
        self.steps = default_steps(model, self.task) if asked is None else asked
        self.networks = LossNetworks(model.device)
        self._reads_source = model_choice.reads_source(model, self.task)

    def _layers(self) -> list[int]:
        """The styles that are drawn at random in further outputs."""
        spec = self.options.layers or self.task.redraw
        found = latents.layers_of(spec, self.model.generator.style_resolutions) if spec else []
        if self.options.outputs > 1 and not found:
            raise ConfigError(f"--layers {spec}: no style of this generator acts there; try medium")
        return found

    def read(self, given: Input) -> list[Sample]:
        """The faces of an input, or the one sample of an input that is not a photograph.

        Raises:
            ImageError: it cannot be read, or is not what the task reads.
            FaceError: no face is found in a photograph, or the hole is not on it.
            FormatError, ConfigError: a codes file is damaged, or does not fit the model.
            WeightsError: the detector cannot be fetched.
        """
        model = self.model
        if is_code(given):
            shape = (model.num_styles, model.generator.style_dim)
            return sampling.read_codes(given, shape)
        encoder = model.encoder if self._reads_source else None
        options = SourceOptions(
            channels=None if encoder is None else encoder.input_channels,
            bilinear=model.config.label_resampling == "bilinear",
            label_order=self.options.label_order or "",
        )
        request = Request(given, SOURCES.find(self.task.source), self.options, options)
        return sampling.named(read_samples(request), given)

    @torch.no_grad()
    def encode(self, samples: Sequence[Sample]) -> Tensor:
        """(N, L, style_dim): stored codes as they are, the others by the encoder in one batch.

        Without an encoder, the mean code. An encoder of photographs reads those of the samples.
        """
        found = self.model.mean_codes.float().repeat(len(samples), 1, 1)
        for n, sample in enumerate(samples):
            if sample.codes is not None:
                found[n] = sample.codes
        rest = [n for n, sample in enumerate(samples) if sample.codes is None]
        if rest and self.model.encoder is not None:
            chosen = [samples[n].source if self._reads_source else samples[n].photo for n in rest]
            batch = torch.cat([each for each in chosen if each is not None])
            found[rest] = self.model.encode(batch.to(self.model.device)).float()
        return found

    def redraw(self, code: Tensor) -> Tensor:
        """A code (L, style_dim) and further ones with styles drawn at random, (outputs, L, ·).

        codes[layers] ← α·w + (1 − α)·codes[layers], w the mapping of a standard normal z ("Encoding
        in Style", section 4.3). Output i depends on the seed and on i alone.
        """
        alpha = self.task.alpha if self.options.alpha is None else self.options.alpha
        rng = torch.Generator().manual_seed(self.options.seed)
        found = [code[None]]
        for _ in range(self.options.outputs - 1):
            z = torch.randn(1, self.model.generator.style_dim, generator=rng)
            w = self.model.map(z).to(code)
            found.append(latents.mix(code[None], w, self.layers, alpha))
        return torch.cat(found)

    def refine(
        self, samples: Sequence[Sample], start: Tensor, progress: Progress = silent
    ) -> Refinement:
        """Codes (N, L, style_dim) optimized to satisfy the constraints of the samples.

        Raises:
            ConfigError: a sample has no constraint, or samples cannot share a batch.
            WeightsError: a network of the losses cannot be fetched.
        """
        constraints = [sample.constraint for sample in samples if sample.constraint is not None]
        if len(constraints) < len(samples):
            raise ConfigError("a code has no image to optimize for; leave --refine out")
        [constraint, *others] = constraints
        if others:
            if any(each.degradation or each.pixel_weights is not None for each in constraints):
                raise ConfigError("samples with degradations or holes are refined one by one")
            constraint = Constraint(torch.cat([each.target for each in constraints]))
        automatic = self.options.precision == "auto"
        return refine(
            self.model,
            constraint,
            start,
            phases=phases_for(self.model, self.task, self.steps, samples[0].factor),
            networks=self.networks,
            precision=fast_precision(self.model.device) if automatic else None,
            progress=progress,
        )

    def codes(self, samples: Sequence[Sample], progress: Progress = silent) -> Tensor:
        """(N, L, style_dim): stored, or encoded and refined; what edits start from.

        Raises: see `refine`.
        """
        found = self.encode(samples)
        rest = [n for n, sample in enumerate(samples) if sample.codes is None]
        if self.steps and rest:
            found[rest] = self.refine([samples[n] for n in rest], found[rest], progress).codes
        return found

    @torch.no_grad()
    def decode(self, samples: Sequence[Sample], own: Tensor, codes: Tensor | None = None) -> Tensor:
        """Codes to images (N, 3, S, S) that keep the samples' photographs, where the model can.

        Args:
            samples: one batch.
            own: (N, L, style_dim), the codes of the samples.
            codes: (N, L, style_dim), edits of them; None decodes `own`.
        """
        model, target = self.model, own if codes is None else codes
        photos = [sample.photo for sample in samples if sample.codes is None]
        present = [photo for photo in photos if photo is not None]
        if (
            model.corrector is None
            or not self.options.correction
            or self.task.name != model.config.task
            or len(present) < len(samples)
        ):
            return model.decode(target)
        corrections = model.correct(torch.cat(present), own, codes)
        return model.decode(target, corrections=corrections)

    @torch.no_grad()
    def generate(
        self, samples: Sequence[Sample], progress: Progress = silent
    ) -> list[list[Output]]:
        """The outputs of each sample: encode, re-draw styles, refine each, decode.

        Args:
            samples: one batch.
            progress: counts the steps of optimization of all outputs.

        Raises: see `refine`.
        """
        own = self.encode(samples)
        redrawn = torch.stack([self.redraw(code) for code in own], dim=1)
        rows: list[list[Output]] = [[] for _ in samples]
        for index, codes in enumerate(redrawn):  # (N, L, style_dim): output `index` of all samples
            first = pixels = self.decode(samples, own, codes if index else None)
            made = Figures()
            if self.steps:
                part = _of_several(progress, index, len(redrawn))
                refined = self.refine(samples, codes, part)
                codes, pixels = refined.codes, self.decode(samples, refined.codes)
                made = Figures(steps=refined.steps, warmup_steps=refined.warmup_steps)
            for n, sample in enumerate(samples):
                figures = self._compared(made, sample, first[n : n + 1], pixels[n : n + 1])
                about = self.metadata(sample, index)
                rows[n].append(Output(sample, codes[n], pixels[n], about, index, figures))
        return rows

    def _compared(self, made: Figures, sample: Sample, first: Tensor, last: Tensor) -> Figures:
        """The figures of an image before and after refinement, (1, 3, S, S) each."""
        constraint = sample.constraint
        if constraint is None or self.task.refinement is None:
            return replace(made, factor=sample.factor)
        after = constraint.consistency(last)
        mse = lpips = None
        if constraint.degradation is None and constraint.pixel_weights is None:
            seen = images.resize(last, images.WORKING_SIZE)
            target = constraint.target.to(seen)
            mse = float((seen - target).square().mean())
            lpips = float(self.networks.lpips(seen, target)) if self.steps else None
        return replace(
            made,
            factor=sample.factor,
            mse=mse,
            lpips=lpips,
            consistency_before=constraint.consistency(first) if self.steps else after,
            consistency=after,
        )

    def metadata(self, sample: Sample, index: int = 0) -> dict[str, object]:
        """What codes files say of a code: the model, the input, the crop, the draw."""
        about: dict[str, object] = {**sample.metadata, "model": self.name, "task": self.task.name}
        about |= {"source": Path(sample.name).name, "output": index}
        if index:
            about["seed"] = self.options.seed
        if sample.geometry is not None:
            about["crop"] = sample.geometry.to_dict()
        if sample.factor is not None:
            about["factor"] = sample.factor
        return about

    def run(
        self,
        inputs: Iterable[Input],
        folder: Path | str,
        progress: ProgressFor = lambda _: silent,
        label: str = "output",
    ) -> Iterator[Result]:
        """Read inputs one after the other and write their outputs.

        An input that cannot be used gives a `Result` with its error, and the others are done.

        Args:
            inputs: files, folders of images, or anything else that `read` takes.
            folder: results go here; it is made.
            progress: gives a callback for each input.
            label: of the outputs in comparison sheets.

        Yields:
            One `Result` for each face, in the order of the inputs.

        Raises:
            ConfigError: a result would replace an input; nothing is written then.
            WeightsError: a network that is needed cannot be fetched.
        """
        given, options = sampling.expand(inputs), self.options
        destination = Destination(folder, [*given, options.mask], options.overwrite)
        suffixes = [".png", code_files.SUFFIX, *([".compare.png"] if options.compare else [])]
        destination.check(map(stem_of, given), suffixes)
        if options.paste and self.task.source == "photo":  # before outputs that cannot be pasted
            weights.path(PARSER)
        started = time.perf_counter()
        for sample in self.samples(given):
            if isinstance(sample, Result):
                yield sample
            else:
                try:
                    [outputs] = self.generate([sample], progress(sample.name))
                    sheet = label if options.compare else None
                    result = write(outputs, destination, sheet, options.paste)
                    yield replace(result, seconds=time.perf_counter() - started)
                except WeightsError:
                    raise
                except (WplusError, OSError) as error:
                    yield Result(sample.name, sample.face, error=describe(sample.name, error))
            started = time.perf_counter()

    def samples(self, inputs: Iterable[Input]) -> Iterator[Sample | Result]:
        """The samples of inputs, folders expanded; the errors of those that cannot be used.

        Raises:
            WeightsError: a network that is needed cannot be fetched.
        """
        for given in sampling.expand(inputs):
            try:
                yield from self.read(given)
            except WeightsError:  # a network that cannot be fetched is missing for all inputs
                raise
            except (WplusError, OSError) as error:
                yield Result(name_of(given), error=describe(name_of(given), error))

    def all_codes(
        self, inputs: Iterable[Input], progress: ProgressFor = lambda _: silent
    ) -> tuple[list[Sample], Tensor]:
        """Inputs that make one result together: their samples and codes (N, L, style_dim).

        Raises:
            WplusError: an input cannot be used; further ones are logged.
        """
        everything = list(self.samples(inputs))
        found = [each for each in everything if isinstance(each, Sample)]
        failed = [each for each in everything if isinstance(each, Result)]
        for result in failed[1:]:
            logger.error("%s", result.error)
        if failed:
            raise WplusError(failed[0].error)
        return found, torch.cat([self.codes([each], progress(each.name)) for each in found])


def _of_several(progress: Progress, index: int, count: int) -> Progress:
    """Progress of output `index` of `count`, all of which take the same steps."""
    return lambda done, total: progress(index * total + done, count * total)


def open_inference(
    task: Task,
    name: str | None = None,
    device: str | torch.device = "cpu",
    options: Options | None = None,
) -> Inference:
    """A task with its shipped model, or with another one.

    Args:
        task: a row of `tasks.TASKS`.
        name: of a model, see `models.load`; None for the shipped one.
        device: see `models.load`.
        options: how.

    Raises:
        ConfigError: options that the task would ignore, or a model of another task.
        WeightsError, FormatError: the model cannot be loaded.
    """
    options = options or Options()
    options.check(task)  # before anything is fetched
    name = model_choice.name_for(task) if name is None else name
    return Inference(model_choice.load(name, device, options.precision), task, options, name)


def open_inversion(
    name: str, device: str | torch.device = "cpu", options: InversionOptions | None = None
) -> Inference:
    """The inversion of photographs by a model, with comparison sheets.

    Raises: see `open_inference`.
    """
    values = vars(options or InversionOptions())
    chosen = {each.name: values[each.name] for each in fields(InversionOptions)}
    model = model_choice.load(name, device, chosen["precision"])
    return Inference(model, None, Options(**chosen, compare=True), name)
