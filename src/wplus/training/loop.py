"""The training loop, top to bottom; the same call on the same folder resumes an interrupted run."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from wplus import data
from wplus.config import ModelConfig
from wplus.data import Dataset, Mixture
from wplus.errors import ConfigError, WplusError
from wplus.training import config, datasets, distributed, setup, state
from wplus.training.config import TrainConfig
from wplus.training.distributed import SingleProcess
from wplus.training.log import Log, Means, Speed, StepReport
from wplus.training.optimizer import Average, make_optimizer, set_rate
from wplus.training.setup import Placed
from wplus.training.state import Saved, State
from wplus.training.step import Step
from wplus.training.stopping import Stopping
from wplus.training.validation import Validator

logger = logging.getLogger(__name__)

BEST, LAST = "best.safetensors", "model.safetensors"
MAX_BAD_STEPS = 10
"""Number of steps in a row without a finite loss that ends a run."""
MAX_RATE = 1e30
"""Learning rate above which one step takes float32 weights out of range."""


class Trainable(Protocol):
    """A network to be trained with its data, such as `setup.Components`.

    Attributes:
        training: the examples of every step.
        validation: images that are not trained on, if any.
        about: what is trained, a `ModelConfig` as JSON.
    """

    @property
    def training(self) -> Mixture:
        """See the class."""

    @property
    def validation(self) -> Dataset | None:
        """See the class."""

    @property
    def about(self) -> dict[str, Any]:
        """See the class."""

    def fingerprints(self) -> dict[str, str]:
        """Digests of what must not change when the run is resumed."""

    def place(self, settings: TrainConfig, device: torch.device) -> Placed:
        """Move everything to a device."""


@dataclass(frozen=True)
class Result:
    """How a run ended.

    Attributes:
        step: number of steps made.
        steps: number of steps of the whole run.
        signal: that stopped it, if one did.
        reason: why it ended.
        best: step and loss of the best validation; empty if there was none.
        rank: of the process that returns this.
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
    components: Trainable | None = None,
    on_step: Callable[[StepReport], None] | None = None,
) -> Result:
    """Train a network; `docs/training.md` describes the files of a run.

    Args:
        settings: the run's; `resolve` merges them with those of a run that exists.
        run: its folder.
        components: networks and data; by default they are built from the settings.
        on_step: called after every step, in the first process.

    Raises:
        ConfigError: the settings contradict each other or the data, or belong to another run than
            the one in the folder; or another process trains in this folder.
        FormatError, WeightsError: a file cannot be read or fetched.
        WplusError: the training diverges: weights or losses are not finite.
    """
    processes = distributed.start(settings.run)
    with ExitStack() as stack:
        if settings.run.threads is not None:
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(settings.run.threads)
        if processes.rank == 0:
            stack.enter_context(state.locked(run))
        if processes.device.type == "cuda":
            torch.backends.cudnn.benchmark = True

        # Read the last state, and build what it belongs to.
        saved = state.latest(run)
        if components is None:
            trained = None if saved is None else ModelConfig.parse(saved.state.model)
            components = setup.build(settings, trained)
        first_check = processes.rank == 0 and settings.data.check and saved is None
        if settings.data.in_memory or first_check:
            datasets.check(components.training, components.validation)
        now = _state_of(run, components, saved)
        loop = Loop(settings, run, processes, components, now)
        if saved is not None:
            loop.restore(saved)

        # Start writing only when every process has read.
        processes.wait()
        if processes.rank == 0:
            loop.log = stack.enter_context(closing(Log(run, now.step)))
            config.write(settings, run)
            if saved is not None:
                logger.info("resuming after step %d", now.step)
        with Stopping(settings.run.time_limit) as stopping:
            loop.run(stopping, on_step)
        processes.wait()

    finished = now.step >= settings.optimizer.steps and not now.validation_due
    reason = "all steps are made" if finished else stopping.reason
    steps = settings.optimizer.steps
    return Result(now.step, steps, stopping.signal, reason, now.best, processes.rank)


class Loop:
    """One process of a run.

    Args:
        settings: of the run.
        run: its folder.
        processes: that train together.
        components: what is trained, with its data.
        now: the state to start from; it changes with every step.
    """

    def __init__(
        self,
        settings: TrainConfig,
        run: Path,
        processes: SingleProcess,
        components: Trainable,
        now: State,
    ) -> None:
        self.settings, self.path, self.processes, self.now = settings, run, processes, now
        self.log: Log | None = None
        self.means, self.speed = Means(now.means), Speed()
        self.saved = now.step  # step of the newest state
        self.mixture = components.training

        # The network, its average and its optimizer. (The average is copied before it is wrapped.)
        optimization = settings.optimizer
        self.placed = components.place(settings, processes.device)
        self.network = self.placed.network
        self.average = Average(self.network, optimization.ema)
        low = settings.run.precision == "bfloat16"
        precision = torch.bfloat16 if low else torch.float32
        self.optimizer = make_optimizer(self.network, optimization, precision)

        # The step, and validation.
        wrapped = processes.wrap(self.network, settings.run.compile)
        self.step = Step(
            self.network,
            self.placed.training_losses(wrapped),
            self.optimizer,
            processes=processes,
            wrapped=wrapped,
            accumulate=optimization.accumulate,
            clip=optimization.clip,
        )
        self.validator = Validator(
            self.placed.validation_losses(self.average.network),
            self.average.network,
            self.placed.prepare,
            processes,
            settings,
            components.validation,
            components.training,
            run,
        )

    def restore(self, saved: Saved) -> None:
        """Load a state."""
        saved.restore(self.network, self._average, self.optimizer)

    def run(self, stopping: Stopping, on_step: Callable[[StepReport], None] | None) -> None:
        """Train until all steps are made or a stop is requested."""
        now, settings, alone = self.now, self.settings, self.processes.world == 1
        batches = data.loader(
            self.mixture,
            now.step,
            self.processes.rank,
            self.processes.world,
            settings.data.workers,
        )
        if now.step == 0:
            self.validator.rehearse()
        stop = False
        while True:
            pause = time.monotonic()
            done = now.step >= settings.optimizer.steps

            # Validate the average. On a stop request, validation is deferred and run on resume.
            if now.validation_due and not stop:
                self._validate(lambda: alone and stopping.requested)

            # Save a state.
            stop = stop or (alone and stopping.requested)
            if now.step % settings.run.save_every == 0 or done or stop:
                self._save()
            if done or stop:
                break
            self.speed.pause(time.monotonic() - pause)

            # Make a step, and report it.
            report, requested = self._step(batches, stopping.requested)
            if on_step is not None and self.processes.rank == 0:
                on_step(report)
            # Several processes stop together: each learns of a request in the step after it.
            stop = requested or (alone and stopping.requested)

    def _validate(self, stop: Callable[[], bool]) -> None:
        """Validate the average of the weights, and export it if it is the best so far."""
        now = self.now
        self._check_finite()
        values = self.validator(now.step, stop)
        now.validation_due = values is None
        self.saved = -1  # a state of this step does not know the result
        if not values:
            return
        if self.log is not None:
            self.log.write("validation", now.step, values)
            logger.info("step %d, validation: %s", now.step, _in_words(values))
        if values["loss"] < now.best.get("loss", math.inf):
            now.best = {"step": now.step, "loss": values["loss"]}
            if self.processes.rank == 0:
                self.placed.export(self.average.network, self.path / BEST)

    def _save(self) -> None:
        """Write the state and the model, unless they are written already."""
        if self.now.step <= self.saved:
            return
        self._check_finite()
        if self.processes.rank == 0:
            self.now.means = self.means.state()
            keep = self.settings.run.keep
            state.save(self.path, self.now, self.network, self._average, self.optimizer, keep)
            self.placed.export(self.average.network, self.path / LAST)

    def _step(self, batches: Iterator[Mapping[str, Any]], stop: bool) -> tuple[StepReport, bool]:
        """Make one step, count and log it; also return whether any process requests a stop."""
        now, settings, optimization = self.now, self.settings, self.settings.optimizer
        batch = self.placed.prepare(next(batches))
        # Seed after loading: a loader that starts draws a random number, too.
        reseed(settings.run.seed, now.step, self.processes.rank)
        rate = set_rate(self.optimizer, optimization, now.step)
        if rate > MAX_RATE:
            raise self._diverged(f"a learning rate of {rate:g} is beyond float32")
        result = self.step(batch, stop)
        now.step += 1
        last = now.step == optimization.steps
        now.validation_due = now.step % settings.run.validate_every == 0 or last
        now.skipped += result.skipped
        now.bad_steps = now.bad_steps + 1 if result.skipped else 0
        if not result.skipped:
            self.means.add(result.terms)
            self.average.update(now.step)
        if now.bad_steps >= MAX_BAD_STEPS:
            raise self._diverged(
                f"no finite loss in {MAX_BAD_STEPS} steps in a row, up to step {now.step}"
            )
        per_second = self.speed.add(optimization.batch)
        if now.step % settings.run.log_every == 0 or last:
            line = {**self.means.take(), "rate": rate, "images_per_second": per_second}
            if self.log is not None:
                self.log.write("train", now.step, {**line, "skipped": now.skipped})
        left = (optimization.steps - now.step) * optimization.batch / per_second
        report = StepReport(now.step, optimization.steps, result.terms, per_second, left)
        return report, result.stop

    @property
    def _average(self) -> torch.nn.Module | None:
        return self.average.network if self.settings.optimizer.ema else None

    def _check_finite(self) -> None:
        """Refuse to validate or save weights that are not finite: older files stay usable."""
        if not state.finite(self.network, self.average.network):
            raise self._diverged(f"the weights are not finite after step {self.now.step}")

    def _diverged(self, reason: str) -> WplusError:
        text = f"{self.path}: {reason}; start again with a lower learning_rate, or with clip"
        states = state.states(self.path)
        if states:
            text += f" (the last state, of step {int(states[-1].stem)}, is finite)"
        return WplusError(text)


def reseed(seed: int, step: int, rank: int) -> None:
    """Seed every global random number generator for a step of a process.

    So no random state has to be saved, and validation in between changes nothing.
    """
    number = int(np.random.SeedSequence((seed, step, rank)).generate_state(1, np.uint64)[0])
    random.seed(number)
    np.random.seed(number % 2**32)
    torch.manual_seed(number)


def _state_of(run: Path, components: Trainable, saved: Saved | None) -> State:
    """The state to start from; refuses other data or another generator than those of the run."""
    prints = components.fingerprints()
    if saved is None:
        return State(model=components.about, fingerprints=prints)
    for name, value in saved.state.fingerprints.items():
        if prints.get(name) != value:
            raise ConfigError(
                f"{run}: its {name} is not what the run was started with, and it cannot be resumed"
                " with another; put it back, or start a new run in another folder"
            )
    saved.state.fingerprints = prints
    return saved.state


def _in_words(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in values.items() if name != "images")
