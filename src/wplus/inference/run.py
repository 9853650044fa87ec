"""Inputs to answers: load once, then files in, files out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from wplus import latents
from wplus.data.listing import files_of
from wplus.errors import ConfigError, WeightsError, WplusError
from wplus.faces.batch import about, unused
from wplus.inference import model_choice
from wplus.inference.answers import answers
from wplus.inference.inputs import Question, ask
from wplus.inference.options import Options, Translation
from wplus.inference.outputs import Reply, write
from wplus.losses import LossNetworks
from wplus.optimize import default_steps, phases_for, refine
from wplus.progress import Progress, silent
from wplus.psp import PSP
from wplus.tasks import Task
from wplus.weights import path as weights_path


def translate_files(
    paths: Iterable[str],
    folder: Path,
    model: PSP,
    model_name: str,
    task: Task,
    options: Options,
    progress: Callable[[str, int, int], None] | None = None,
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
    networks = LossNetworks(model.device)
    taken: set[str] = set()
    for path, problem in files_of(paths):
        started = time.perf_counter()
        if problem:
            yield Translation(path, error=about(path, problem))
            continue
        try:
            question = ask(path, task, options)
            report = partial(progress, path) if progress else silent
            reply = answer(question, model, task, options, steps, networks, report)
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
    return default_steps(model, task)


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
    networks: LossNetworks | None = None,
    progress: Progress = silent,
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
        networks: of the losses of refinement.
        progress: called with the step and the number of steps.

    Raises:
        ConfigError: layers that do not exist, or a task without a constraint to refine on.
    """
    code = encode(question, model, task).float()
    alpha = task.alpha if options.alpha is None else options.alpha
    redraw = layers_of(task, options, model)
    codes = answers(model, code, options.outputs, redraw, alpha, options.seed)
    pictures = [model.decode(each[None]) for each in codes]
    known = question.known if task.refinement is not None else None
    before = None if known is None else known.consistency(pictures[0])
    made = 0
    if steps:
        if known is None:
            raise ConfigError(f"{task.name}: nothing is known of the output to refine on")
        found = []
        phases = phases_for(model, task, steps, question.factor)
        assert known is not None  # of a task that has phases
        for index, each in enumerate(codes):
            refined = refine(
                model,
                known,
                each[None],
                phases=phases,
                networks=networks,
                precision=options.precision,
                progress=partial(_of_several, progress, index, len(codes)),
            )
            found.append(refined.codes)
            made = max(made, refined.steps)
        codes = torch.cat(found)
        pictures = [model.decode(each[None]) for each in codes]
    after = None if known is None else known.consistency(pictures[0])
    return Reply(codes, torch.cat(pictures), before, after, made)


def _of_several(progress: Progress, index: int, count: int, done: int, total: int) -> None:
    progress(index * total + done, count * total)


def encode(question: Question, model: PSP, task: Task) -> Tensor:
    """(1, L, style_dim): the code of a question, by whatever encoder the model has."""
    if model.encoder is None:
        return model.mean_codes[None]
    if model.config.task == task.name:
        return model.encode(question.source.to(model.device))
    assert question.photo is not None  # `model_choice.check` lets only photographs come here
    return model.encode(question.photo.to(model.device))
