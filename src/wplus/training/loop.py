"""The training loop, top to bottom; the same call on the same folder goes on where it stopped."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout

from wplus import data, models
from wplus.data import Synthesizer
from wplus.encoders import Encoder
from wplus.errors import ConfigError, WplusError
from wplus.generators import Generator, Noise, TruncatedGenerator, truncate
from wplus.training import config, datasets, distributed, setup, state
from wplus.training.config import TrainConfig
from wplus.training.distributed import Processes
from wplus.training.ema import Average
from wplus.training.judging import Judge
from wplus.training.log import Log, Means, Progress, Speed
from wplus.training.optimizer import make_optimizer, set_rate
from wplus.training.setup import Components
from wplus.training.state import Saved, State
from wplus.training.step import Decoder, Forward, Step
from wplus.training.stopping import Stopping
from wplus.training.teacher import Prepare, Teacher

logger = logging.getLogger(__name__)

BEST, LAST = "best.safetensors", "model.safetensors"
LOCK = ".lock"
MAX_BAD_STEPS = 10
"""So many steps in a row without a finite loss end the run."""


@dataclass(frozen=True)
class Result:
    """How a run ended.

    Attributes:
        step: steps made.
        steps: steps in all.
        signal: what stopped it, if a signal did.
        reason: why it ended.
        best: step and loss of the best validation, if there was one.
        rank: of the process that says so.
    """

    step: int
    steps: int
    signal: int | None
    reason: str
    best: dict[str, float]
    rank: int = 0


def train(
    settings: TrainConfig,
    run: Path,
    *,
    components: Components | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Result:
    """Train an encoder; see `docs/training.md` for what is in the folder afterwards.

    Args:
        settings: the run's; `resolve` reconciles them with those of a run that is there already.
        run: its folder.
        components: networks and data, if they are not to be built from the settings.
        progress: called after every step, in the first process.

    Raises:
        ConfigError: the settings contradict each other, do not fit what is there, or the run is
            another one; or another process trains in this folder.
        FormatError, WeightsError: a file cannot be read or fetched.
        WplusError: the loss is no finite number, step after step.
    """
    together = distributed.start(settings.run)
    with ExitStack() as stack:
        if settings.run.threads is not None:
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(settings.run.threads)
        if together.rank == 0:
            _lock(run, stack)
            state.sweep(run)
        return _train(settings, run, together, components, progress, stack)


def _train(
    settings: TrainConfig,
    run: Path,
    together: Processes,
    components: Components | None,
    progress: Callable[[Progress], None] | None,
    stack: ExitStack,
) -> Result:
    device, first = together.device, together.rank == 0
    optimization, run_settings = settings.optimizer, settings.run
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True

    # Where the run is, and what it is made of.
    saved = state.latest(run)
    if components is None:
        components = setup.build(settings, saved.state.model_config if saved else None)
    if settings.data.in_memory or (first and settings.data.check and saved is None):
        datasets.check(components.training, components.validation)
    now = _state_of(run, components, saved)

    # The networks. The generator is not trained: only gradients of its codes are asked for.
    model = components.model.to(device)
    objective = components.objective.to(device)
    judged_by = objective if components.judge is None else components.judge.to(device)
    assert isinstance(model.encoder, Encoder)
    encoder = model.encoder.train().requires_grad_(True)
    model.generator.eval().requires_grad_(False)
    average = Average(encoder, optimization.ema)
    lower = run_settings.precision == "bfloat16"
    number = torch.bfloat16 if lower else torch.float32
    optimizer = make_optimizer(encoder, optimization, number)
    if saved is not None:
        saved.restore(encoder, average.encoder if optimization.ema else None, optimizer)
    generator = model.generator.at_precision(torch.bfloat16) if lower else model.generator
    mean = model.mean_codes if model.config.start_from_mean else torch.zeros_like(model.mean_codes)
    short = settings.network.decoder == "short"
    decoder = partial(make_decoder, truncate(generator) if short else generator)
    forward = Forward(
        decoder(_noise(settings, model), run_settings.compile),
        objective,
        mean,
        encoder.input_size,
        lower,
    )
    step = Step(
        encoder,
        forward,
        optimizer,
        processes=together,
        call=together.share(encoder, run_settings.compile),
        accumulate=optimization.accumulate,
        clip=optimization.clip,
    )

    # The data. Recipes of synthetic examples are rendered where the generator is.
    prepare: Prepare = Synthesizer(generator, device)
    if components.teacher is not None:
        prepare = Teacher(prepare, components.teacher.to(device), lower)
    judge = Judge(
        replace(forward, decoder=decoder("fixed"), objective=judged_by),
        average.encoder,
        prepare,
        together,
        settings,
        components.validation,
        components.training,
        run,
    )

    together.wait()  # everybody has read what the first process now writes
    out = stack.enter_context(closing(Log(run, now.step))) if first else None
    if first:
        config.write(settings, run)
        if saved is not None:
            logger.info("going on after step %d", now.step)
    means, speed, kept = Means(now.means), Speed(), now.step
    with Stopping(run_settings.time_limit) as stopping:
        batches = data.loader(
            components.training, now.step, together.rank, together.world, settings.data.workers
        )
        if now.step == 0:
            judge.rehearse()

        leaving, alone = False, together.world == 1
        while True:
            paused = time.monotonic()
            ends = now.step >= optimization.steps

            # Validation, of the average of the weights; the best is kept as a model. Who is asked
            # to leave does not wait for it: it is owed, and made up for when the run goes on.
            if now.owed and not leaving:
                values = judge(now.step, lambda: alone and stopping.asked)
                now.owed = values is None
                kept = -1  # there is something new to keep
                if values and out is not None:
                    out.write("validation", now.step, values)
                    logger.info("step %d, validation: %s", now.step, _told(values))
                if values and values["loss"] < now.best.get("loss", math.inf):
                    now.best = {"step": now.step, "loss": values["loss"]}
                    if first:
                        _export(components, average, run / BEST)

            # The state, from which the run goes on.
            leaving = leaving or (alone and stopping.asked)
            due = now.step % run_settings.save_every == 0 or ends or leaving
            if first and due and now.step > kept:
                now.means = means.state()
                other = average.encoder if optimization.ema else None
                state.save(run, now, encoder, other, optimizer, run_settings.keep)
                _export(components, average, run / LAST)
            if ends or leaving:
                break
            speed.pause(time.monotonic() - paused)

            # One step. (Seeds come after the data: a loader that begins draws a number, too.)
            batch = prepare(next(batches))
            reseed(run_settings.seed, now.step, together.rank)
            rate = set_rate(optimizer, optimization, now.step)
            outcome = step(batch, stopping.asked)
            now.step += 1
            now.owed = now.step % run_settings.validate_every == 0 or now.step == optimization.steps
            if outcome.skipped:
                now.skipped, now.bad_steps = now.skipped + 1, now.bad_steps + 1
            else:
                now.bad_steps = 0
                means.add(outcome.terms)
                average.update(now.step)
            if now.bad_steps >= MAX_BAD_STEPS:
                raise WplusError(
                    f"{run}: no finite loss in {MAX_BAD_STEPS} steps in a row, up to step"
                    f" {now.step}; start again with a lower learning_rate, or with clip"
                )

            # What people see.
            per_second = speed.add(optimization.batch)
            if progress is not None and first:
                left = (optimization.steps - now.step) * optimization.batch / per_second
                progress(Progress(now.step, optimization.steps, outcome.terms, per_second, left))
            if now.step % run_settings.log_every == 0 or now.step == optimization.steps:
                line = {**means.take(), "rate": rate, "images_per_second": per_second}
                if out is not None:
                    out.write("train", now.step, {**line, "skipped": now.skipped})
            # Several processes leave together: who is asked says so in its next step.
            leaving = outcome.stop or (alone and stopping.asked)

    together.wait()
    finished = now.step >= optimization.steps and not now.owed
    reason = "all steps are made" if finished else stopping.reason
    return Result(now.step, optimization.steps, stopping.signal, reason, now.best, together.rank)


def reseed(seed: int, step: int, rank: int) -> None:
    """Set every global source of random numbers to what belongs to a step of a process.

    So nothing random has to be saved, and validation in between changes nothing.
    """
    number = int(np.random.SeedSequence((seed, step, rank)).generate_state(1, np.uint64)[0])
    random.seed(number)
    np.random.seed(number % 2**32)
    torch.manual_seed(number)


def make_decoder(
    generator: Generator | TruncatedGenerator, noise: Noise, compiled: bool = False
) -> Decoder:
    """What is called with codes: the whole generator at its full resolution, or its short form."""
    call = torch.compile(generator) if compiled else generator
    return partial(call, noise=noise)


def _noise(settings: TrainConfig, model: Any) -> Noise:
    if settings.network.noise != "auto":
        return settings.network.noise
    return "random" if model.config.generator.kind == "stylegan2" else "fixed"


def _state_of(run: Path, components: Components, saved: Saved | None) -> State:
    """The state to go on from; data or a generator that is another than before is refused."""
    prints = components.fingerprints()
    if saved is None:
        return State(model=asdict(components.model.config), fingerprints=prints)
    for name, value in saved.state.fingerprints.items():
        if prints.get(name) != value:
            raise ConfigError(
                f"{run}: its {name} is not what the run was started with, and it cannot go on with"
                " another; put it back, or start a new run in another folder"
            )
    saved.state.fingerprints = prints
    return saved.state


def _export(components: Components, average: Average, path: Path) -> None:
    models.save(setup.exportable(components.model, average.encoder), path)


def _leave_nothing(run: Path) -> None:
    """A run that was refused before it began leaves no folder."""
    with suppress(OSError):
        if {each.name for each in run.iterdir()} <= {LOCK}:
            (run / LOCK).unlink(missing_ok=True)
            run.rmdir()


def _told(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in values.items() if name != "images")


def _lock(run: Path, stack: ExitStack) -> None:
    """Nobody else may train in this folder until the stack is closed, or the process dies."""
    if not run.exists():
        stack.callback(_leave_nothing, run)
    run.mkdir(parents=True, exist_ok=True)
    try:
        stack.enter_context(FileLock(run / LOCK, timeout=0))
    except Timeout:
        raise ConfigError(f"{run}: another process is training in this folder") from None
