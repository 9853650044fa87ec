"""Inputs to answers: load once, then files in, files out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from wplus import latents
from wplus.data.finding import files_of
from wplus.errors import ConfigError, WeightsError, WplusError
from wplus.faces.batch import about, unused
from wplus.inference import model_choice
from wplus.inference.answers import answers
from wplus.inference.inputs import Known, Question, ask
from wplus.inference.options import Options, Translation
from wplus.inference.outputs import Reply, write
from wplus.inference.recipes import RECIPES
from wplus.losses import LPIPS, load_lpips
from wplus.psp import PSP
from wplus.reconstruct import Plan, load_identity, refine_photographs
from wplus.refine import Schedule, Weights, refine
from wplus.tasks import Task
from wplus.weights import path as weights_path

Progress = Callable[[str, int, int], None]


def translate_files(
    paths: Iterable[str],
    folder: Path,
    model: PSP,
    model_name: str,
    task: Task,
    options: Options,
    progress: Progress | None = None,
) -> Iterator[Translation]:
    """Translate files one after the other and write the results.

    A file that cannot be used gives a `Translation` with its error, and the others go on.

    Args:
        paths: the inputs, as the task reads them; of a folder, all pictures in it.
        folder: results go here; it is made.
        model: see `load_for`.
        model_name: written into the codes files.
        task: a row of `tasks.TASKS`.
        options: how.
        progress: called with the input's name, the step and the number of steps.

    Yields:
        One `Translation` for each file, in their order.

    Raises:
        ConfigError: settings mean nothing to the task, or the model is of another.
        WeightsError: a network that is needed cannot be fetched.
    """
    options.check(task)
    model_choice.check(model, model_name, task)
    if task.source == "labels" and model.encoder is not None:  # users have classes of their own
        task = replace(task, input_channels=model.encoder.input_channels)
        if options.bilinear is None:
            options = replace(options, bilinear=model.config.label_resampling == "bilinear")
    layers_of(task, options, model)  # a wrong name is no input's fault
    if options.paste and task.source == "photo":  # before an answer is made that cannot be pasted
        weights_path("bisenet-faces.pth")
    steps = steps_of(model, task, options)
    lpips = load_lpips().to(model.device) if steps else None
    taken: set[str] = set()
    for path, problem in files_of(paths):
        started = time.perf_counter()
        if problem:
            yield Translation(path, error=about(path, problem))
            continue
        try:
            question = ask(path, task, options)
            report = partial(progress, path) if progress else None
            reply = answer(question, model, task, options, steps, lpips, report)
            name = unused(Path(path).stem, taken)
            metadata = {"model": model_name, "source": Path(path).name, "task": task.name}
            files = write(folder / name, question, reply, options, metadata)
        except WeightsError:  # a net that cannot be fetched is missing for all of them
            raise
        except (WplusError, OSError) as error:
            yield Translation(path, error=about(path, error))
            continue
        yield Translation(
            path,
            *files,
            factor=question.factor,
            consistency_before=reply.before,
            consistency=reply.after,
            steps=reply.steps,
            seconds=time.perf_counter() - started,
        )


def steps_of(model: PSP, task: Task, options: Options) -> int:
    """Steps of refinement: as asked for, or those without which the model has no answer."""
    if options.steps is not None:
        return options.steps
    recipe = RECIPES.get(task.name)
    if recipe is None:
        return 0
    if model_choice.has_own_encoder(model, task):
        return recipe.from_own
    return recipe.from_mean if model.encoder is None else recipe.from_inversion


def layers_of(task: Task, options: Options, model: PSP) -> list[int]:
    """The styles that are drawn anew: as asked for, or as the task has them.

    Raises:
        ConfigError: layers that the generator does not have.
    """
    named = options.layers or task.redraw
    found = latents.layers_of(named, model.generator.style_resolutions) if named else []
    if options.outputs > 1 and not found:
        raise ConfigError(f"--layers {named}: no style of this generator acts there; try medium")
    return found


@torch.no_grad()
def answer(
    question: Question,
    model: PSP,
    task: Task,
    options: Options,
    steps: int = 0,
    lpips: LPIPS | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Reply:
    """The answers to one question.

    Styles are drawn anew before refinement, and each answer is refined for itself: all of them
    keep to what is known then.

    Args:
        question: see `ask`.
        model: its encoder is used, or its mean code where it has none.
        task: what the question is of.
        options: outputs, layers, alpha, seed, precision.
        steps: of refinement; at most as many are made.
        lpips: needed for refinement.
        progress: called with the step and the number of steps.

    Raises:
        ConfigError: layers that do not exist, or a question that refinement knows nothing about.
    """
    code = encode(question, model, task).float()
    alpha = task.alpha if options.alpha is None else options.alpha
    redraw = layers_of(task, options, model)
    codes = answers(model, code, options.outputs, redraw, alpha, options.seed)
    pictures = [model.decode(each[None]) for each in codes]
    known = question.known if task.name in RECIPES else None
    before = None if known is None else known.consistency(pictures[0])
    made = 0
    if steps:
        if known is None:
            raise ConfigError(f"{task.name}: nothing is known of the output to refine on")
        found = []
        for index, each in enumerate(codes):
            report = None
            if progress is not None:
                report = partial(_shifted, progress, index * steps, len(codes) * steps)
            if known.measure is None and known.importance is None:
                refined, count = refine_whole(
                    model, known.target, each[None], steps, lpips, options.precision, report
                )
            else:
                phases = RECIPES[task.name].phases(steps, question.factor, model.encoder is None)
                refined, count = refine_in_phases(
                    model, known, each[None], phases, lpips, options.precision, report
                )
            found.append(refined)
            made = max(made, count)
        codes = torch.cat(found)
        pictures = [model.decode(each[None]) for each in codes]
    after = None if known is None else known.consistency(pictures[0])
    return Reply(codes, torch.cat(pictures), before, after, made)


def refine_whole(
    model: PSP,
    target: Tensor,
    start: Tensor,
    steps: int,
    lpips: LPIPS | None,
    precision: torch.dtype | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[Tensor, int]:
    """A code refined towards a whole picture, as `wplus invert` does it.

    Args:
        model: its generator is used.
        target: (1, 3, H, W) in [-1, 1].
        start: (1, L, style_dim).
        steps: through the whole generator.
        lpips, precision: see `refine`.
        progress: called with a number of steps, never more than `steps`.

    Returns:
        The code, and how many steps were made in all.

    Raises:
        ConfigError: without `lpips`.
    """
    if lpips is None:
        raise ConfigError("refinement needs lpips")
    plan = Plan.of(model, steps)
    total = max(plan.ahead + steps, 1)
    refined = refine_photographs(
        model,
        target,
        start,
        plan,
        lpips=lpips,
        identity=load_identity(model),
        precision=precision,
        progress=None if progress is None else (lambda n, _: progress(n * steps // total)),
    )
    return refined.codes, refined.steps


def refine_in_phases(
    model: PSP,
    known: Known,
    start: Tensor,
    phases: Sequence[tuple[int, Weights]],
    lpips: LPIPS | None,
    precision: torch.dtype | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[Tensor, int]:
    """A code (1, L, style_dim) refined on what is known, each phase from where the last one ended.

    Args:
        model: its generator is used.
        known: of the output.
        start: (1, L, style_dim).
        phases: steps and weights.
        lpips: see `refine`.
        precision: see `refine`.
        progress: called after every step with the number of steps before and in this phase.

    Returns:
        The code, and how many steps were made.
    """
    made = before = 0
    for steps, weights in phases:
        refined = refine(
            model,
            known.target,
            start,
            lpips=lpips,
            weights=weights,
            schedule=Schedule(steps=steps),
            precision=precision,
            progress=None if progress is None else partial(_counted, progress, before),
            measure=known.measure,
            importance=known.importance,
        )
        start, made, before = refined.codes, made + refined.steps, before + steps
    return start, made


def _counted(progress: Callable[[int], None], before: int, step: int, loss: float) -> None:
    progress(before + step)


def _shifted(progress: Callable[[int, int], None], before: int, total: int, step: int) -> None:
    progress(before + step, total)


def encode(question: Question, model: PSP, task: Task) -> Tensor:
    """(1, L, style_dim): the code of a question, by whatever encoder the model has."""
    if model.encoder is None:
        return model.mean_codes[None]
    if model.config.task == task.name:
        return model.encode(question.source.to(model.device))
    assert question.photo is not None  # `model_choice.check` lets only photographs come here
    return model.encode(question.photo.to(model.device))
