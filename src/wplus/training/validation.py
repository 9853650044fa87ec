"""The losses on pictures that are not trained on: every one counted once, always the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from wplus.training.distributed import Processes
from wplus.training.step import Forward


@torch.no_grad()
def validate(
    forward: Forward,
    encoder: nn.Module,
    batches: Iterable[Any],
    prepare: Callable[[Any], Mapping[str, Any]],
    processes: Processes,
) -> dict[str, float]:
    """Means over all pictures of all processes.

    Args:
        forward: the losses, with the generator's fixed noise.
        encoder: in whatever mode; it is evaluated in evaluation mode.
        batches: this process's share, of any sizes, also none.
        prepare: brings a batch to the device and renders what is synthetic.
        processes: who shares the work.

    Returns:
        The terms of the objective, and `images`, their number.

    Raises:
        ConfigError: a batch does not fit, or there is no picture at all.
    """
    names = [name for name in forward.objective.names if name != "loss"]
    sums = torch.zeros(len(names) + 1, 2, dtype=torch.float64)
    with evaluating(encoder):
        for loaded in batches:
            batch = prepare(loaded)
            count = len(batch["source"])
            terms = forward(encoder, batch)
            sums[-1] += count
            for row, name in enumerate(names):
                if name in terms:
                    # The code is known of some pictures only: its mean is over those.
                    sure = int(batch["has_code"].sum()) if name == "code" else count
                    sums[row] += torch.tensor([float(terms[name]) * sure, sure])
    sums = processes.sum(sums).cpu()
    means = {name: float(total / n) for name, (total, n) in zip(names, sums) if n}
    return {**means, "loss": forward.objective.total(means), "images": float(sums[-1, 1])}


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """A network in evaluation mode, and as it was afterwards."""
    was = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was)
