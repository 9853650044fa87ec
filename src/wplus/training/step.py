"""One training step: the losses of a batch, their gradient, and a step of the optimizer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from wplus.errors import ConfigError
from wplus.losses import LossInputs, Objective
from wplus.psp import PSP
from wplus.training.distributed import SingleProcess

Batch = Mapping[str, Any]
"""Tensors by name (see `data.base.Batch`), on the device of training."""


class Losses(Protocol):
    """Runs the networks on a batch and compares; it holds the network that is trained.

    Attributes:
        names: of the terms, in order; the last is "loss", which is minimized.
        names_with_code: those that are means over the examples with a known code only.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """See the class."""

    @property
    def names_with_code(self) -> tuple[str, ...]:
        """See the class."""

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """The terms of a batch, each a mean over it."""

    def total(self, terms: Mapping[str, float]) -> float:
        """The loss from its terms."""

    def outputs(self, batch: Batch) -> Tensor:
        """Images (N, 3, S, S) in [-1, 1] of a batch, for previews."""


class EncoderLosses:
    """pSp(x) = G(E(x) + w̄) and its losses ("Encoding in Style", section 3).

    Args:
        model: its encoder is trained; it may be wrapped (see `SingleProcess.wrap`).
        objective: the losses.
        decode: codes (N, L, D) to images, instead of `model.decode`: with other noise, compiled, or
            through a truncated generator. It is not called where no loss compares images.
        bfloat16: whether encoder and losses run under autocast. (The generator has its own
            precision.)
    """

    def __init__(
        self,
        model: PSP,
        objective: Objective,
        decode: Callable[[Tensor], Tensor] | None = None,
        bfloat16: bool = False,
    ) -> None:
        self.model, self.objective, self.bfloat16 = model, objective, bfloat16
        self.decode = decode or model.decode
        mean = model.mean_codes
        self.mean_codes = mean if model.config.start_from_mean else torch.zeros_like(mean)

    @property
    def names(self) -> tuple[str, ...]:
        """See `Losses`."""
        return self.objective.names

    @property
    def names_with_code(self) -> tuple[str, ...]:
        """See `Losses`."""
        return self.objective.names_with_code

    def encode(self, source: Tensor) -> Tensor:
        """Encoder inputs (N, C, H, W) to codes (N, L, D) of at least float32."""
        with self._autocast(source):
            return self.model.encode(source)

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """The terms of a batch with `source` and `target`, and `codes` where some are known."""
        codes = self.encode(batch["source"])
        output = self.decode(codes) if self.objective.needs_image else None
        inputs = LossInputs(
            batch["source"],
            batch["target"],
            output,
            codes,
            self.mean_codes,
            batch.get("codes"),
            batch.get("has_code"),
            batch.get("num_with_code"),
            batch.get("native_size"),
        )
        with self._autocast(codes):
            terms: dict[str, Tensor] = self.objective(inputs)
        return terms

    def total(self, terms: Mapping[str, float]) -> float:
        """See `Losses`."""
        return self.objective.total(terms)

    def outputs(self, batch: Batch) -> Tensor:
        """See `Losses`."""
        return self.decode(self.encode(batch["source"]))

    def _autocast(self, x: Tensor) -> torch.autocast:
        return torch.autocast(x.device.type, torch.bfloat16, enabled=self.bfloat16)


@dataclass(frozen=True)
class StepResult:
    """The outcome of a step.

    Attributes:
        terms: each loss, a mean over the batch of all processes, and `gradient`, its norm before
            clipping.
        skipped: whether the loss or the gradient was not finite, and nothing was changed.
        stop: whether a stop was requested in any process.
    """

    terms: dict[str, float]
    skipped: bool
    stop: bool


class Step:
    """Trains a network, batch by batch.

    Args:
        network: in training mode, its parameters with gradients.
        losses: of a batch; they call `wrapped`.
        optimizer: of the network's parameters.
        processes: that train together.
        wrapped: the network as `processes.wrap` returned it; by default the network itself.
        accumulate: number of parts that a batch is split into, to save memory.
        clip: norm to which longer gradients are clipped; 0 for no clipping.
    """

    def __init__(
        self,
        network: nn.Module,
        losses: Losses,
        optimizer: torch.optim.Optimizer,
        *,
        processes: SingleProcess | None = None,
        wrapped: nn.Module | None = None,
        accumulate: int = 1,
        clip: float = 0.0,
    ) -> None:
        self.network, self.losses, self.optimizer = network, losses, optimizer
        self.processes = processes or SingleProcess(next(network.parameters()).device)
        self.wrapped = network if wrapped is None else wrapped
        self.accumulate, self.clip = accumulate, clip
        self.parameters = [p for p in network.parameters() if p.requires_grad]

    def __call__(self, batch: Batch, stop: bool = False) -> StepResult:
        """One step on a batch on the device.

        Raises:
            ConfigError: the batch cannot be split into `accumulate` equal parts, or does not fit.
        """
        # The forward pass moves the running means of batch norms; a skipped step restores them.
        before = [buffer.clone() for buffer in self.network.buffers()]
        self.optimizer.zero_grad(set_to_none=True)
        terms = self._backward(batch)
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        length = torch.linalg.vector_norm(torch.stack(list(torch._foreach_norm(gradients))))
        means, any_stop = self._over_processes(terms, length, stop)
        skipped = not all(map(math.isfinite, (means["loss"], means["gradient"])))
        if skipped:
            for buffer, value in zip(self.network.buffers(), before):
                buffer.copy_(value)
        else:
            if self.clip and means["gradient"] > self.clip:
                torch._foreach_mul_(gradients, self.clip / means["gradient"])
            self.optimizer.step()
        return StepResult(means, skipped, any_stop)

    def _backward(self, batch: Batch) -> dict[str, list[Tensor]]:
        """Accumulate gradients; return the terms of every part."""
        terms: dict[str, list[Tensor]] = {name: [] for name in self.losses.names}
        parts = _parts(batch, self.accumulate)
        if self.losses.names_with_code:
            count = self._num_with_code(batch) / len(parts)
            parts = [{**part, "num_with_code": count} for part in parts]
        for number, part in enumerate(parts, start=1):
            with self.processes.unsynced(self.wrapped, number < len(parts)):
                found = self.losses(part)
                (found["loss"] / len(parts)).backward()  # type: ignore[no-untyped-call]
            for name, value in found.items():
                terms[name].append(value.detach().float())
        return terms

    def _num_with_code(self, batch: Batch) -> float:
        """Examples with a known code, a mean over processes, which get unequal numbers of them."""
        if "codes" in batch and "has_code" in batch:
            here = batch["has_code"].sum().float()
        else:
            rows = len(batch["source"]) if "codes" in batch else 0
            here = batch["source"].new_tensor(float(rows), dtype=torch.float32)
        return float(self.processes.sum(here)) / self.processes.world

    def _over_processes(
        self, terms: dict[str, list[Tensor]], length: Tensor, stop: bool
    ) -> tuple[dict[str, float], bool]:
        """Means over parts and processes, in one exchange and one wait for the device."""
        zero = length.new_zeros((), dtype=torch.float32)
        sums = [torch.stack(values).sum() if values else zero for values in terms.values()]
        counts = [zero + len(values) for values in terms.values()]
        # The gradient is equal in all processes: its mean only serves to exchange it with the rest.
        exchanged = torch.stack([*sums, *counts, length.float(), zero + 1.0, zero + float(stop)])
        values = self.processes.sum(exchanged).tolist()
        n = len(terms)
        means = {
            name: total / count
            for name, total, count in zip(terms, values[:n], values[n : 2 * n])
            if count
        }
        means["gradient"] = values[-3] / values[-2]
        return means, values[-1] > 0


def _parts(batch: Batch, count: int) -> list[dict[str, Any]]:
    size = len(batch["source"])
    if size % count:
        raise ConfigError(f"a batch of {size} cannot be cut into {count} equal parts")
    share = size // count
    cuts = [slice(i * share, (i + 1) * share) for i in range(count)]
    tensors = {name: value for name, value in batch.items() if isinstance(value, Tensor)}
    return [{name: value[cut] for name, value in tensors.items()} for cut in cuts]
