"""One step: source to codes to image to losses, and the encoder moved against their gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from wplus import images
from wplus.errors import ConfigError
from wplus.losses.objective import Objective
from wplus.nn.modulated import to_float32
from wplus.training.distributed import Alone, Processes

Decoder = Callable[[Tensor], Tensor]
"""Codes (N, L, D) to images (N, 3, S, S) in [-1, 1]: the generator, or something cheaper."""


@dataclass(frozen=True)
class Forward:
    """pSp(x) = G(E(x) + w̄) and what it is judged by ("Encoding in Style", section 3).

    Attributes:
        decoder: G. It is not called where the objective looks at codes alone.
        objective: the losses.
        mean_codes: (L, D) w̄; zeros for an encoder whose codes are not offsets.
        input_size: of the encoder, in pixels; sources of another size are resized.
        bfloat16: whether encoder and losses run under autocast. (The decoder sees to itself.)
    """

    decoder: Decoder
    objective: Objective
    mean_codes: Tensor
    input_size: int
    bfloat16: bool = False

    def encode(self, encoder: nn.Module, source: Tensor) -> Tensor:
        """(N, C, H, W) to codes (N, L, D), float32 at least, the mean code included."""
        if source.shape[-1] != self.input_size:
            source = images.resize(source, self.input_size)
        with self._autocast(source):
            return to_float32(encoder(source)) + self.mean_codes

    def __call__(
        self, encoder: nn.Module, batch: Mapping[str, Any], known_count: float | None = None
    ) -> dict[str, Tensor]:
        """The terms of a batch with `source`, `target` and, where known, `codes` and `known`."""
        codes = self.encode(encoder, batch["source"])
        output = self.decoder(codes) if self.objective.needs_image else None
        with self._autocast(codes):
            return self.objective(  # type: ignore[no-any-return]
                batch["source"],
                batch["target"],
                output,
                codes,
                self.mean_codes,
                batch.get("codes"),
                batch.get("has_code"),
                known_count,
                batch.get("native_size"),
            )

    def _autocast(self, x: Tensor) -> torch.autocast:
        return torch.autocast(x.device.type, torch.bfloat16, enabled=self.bfloat16)


@dataclass(frozen=True)
class Outcome:
    """What a step did.

    Attributes:
        terms: each loss, a mean over the batch of all processes, and `gradient`, its length before
            clipping.
        skipped: a loss or a gradient was not a finite number, and nothing was moved.
        stop: whether any process asked to stop.
    """

    terms: dict[str, float]
    skipped: bool
    stop: bool


class Step:
    """Moves an encoder, batch by batch.

    Args:
        encoder: in training mode, its parameters with gradients.
        forward: the losses of a batch.
        optimizer: of the encoder's parameters.
        processes: who trains together.
        call: what is called for the encoder; itself by default, else it wrapped (`share`d,
            compiled).
        accumulate: parts of a batch, one after the other.
        clip: longest gradient; 0 is no limit.
    """

    def __init__(
        self,
        encoder: nn.Module,
        forward: Forward,
        optimizer: torch.optim.Optimizer,
        *,
        processes: Processes | None = None,
        call: nn.Module | None = None,
        accumulate: int = 1,
        clip: float = 0.0,
    ) -> None:
        self.encoder, self.forward, self.optimizer = encoder, forward, optimizer
        self.processes = processes or Alone(next(encoder.parameters()).device)
        self.call = encoder if call is None else call
        self.accumulate, self.clip = accumulate, clip
        self.parameters = [p for p in encoder.parameters() if p.requires_grad]

    def __call__(self, batch: Mapping[str, Any], stop: bool = False) -> Outcome:
        """One step on a batch on the right device.

        Raises:
            ConfigError: the batch cannot be cut into `accumulate` equal parts, or does not fit.
        """
        # A forward pass moves the running means of batch norms, with whatever it saw.
        before = [buffer.clone() for buffer in self.encoder.buffers()]
        self.optimizer.zero_grad(set_to_none=True)
        found = self._backward(batch)
        lengths = torch._foreach_norm([p.grad for p in self.parameters if p.grad is not None])
        length = torch.linalg.vector_norm(torch.stack(list(lengths)))
        terms, any_stop = self._over_processes(found, length, stop)
        skipped = not all(map(math.isfinite, (terms["loss"], terms["gradient"])))
        if skipped:
            for buffer, value in zip(self.encoder.buffers(), before):
                buffer.copy_(value)
        else:
            if self.clip and terms["gradient"] > self.clip:
                gradients = [p.grad for p in self.parameters if p.grad is not None]
                torch._foreach_mul_(gradients, self.clip / terms["gradient"])
            self.optimizer.step()
        return Outcome(terms, skipped, any_stop)

    def _backward(self, batch: Mapping[str, Any]) -> dict[str, list[Tensor]]:
        """Gradients into the parameters; the terms of every part."""
        found: dict[str, list[Tensor]] = {name: [] for name in self.forward.objective.names}
        parts = _parts(batch, self.accumulate)
        known = self._known(batch)
        known_count = None if known is None else known / len(parts)
        for number, part in enumerate(parts, start=1):
            with self.processes.unshared(self.call, number < len(parts)):
                terms = self.forward(self.call, part, known_count)
                (terms["loss"] / len(parts)).backward()  # type: ignore[no-untyped-call]
            for name, value in terms.items():
                found[name].append(value.detach().float())
            if known_count and "code" not in terms:  # they are all in other parts
                found["code"].append(torch.zeros_like(found["loss"][0]))
        return found

    def _known(self, batch: Mapping[str, Any]) -> float | None:
        """Rows with a known code, a mean over processes, which chance deals them out to unevenly.

        None where codes are not looked at.
        """
        if not self.forward.objective.weights["code"]:
            return None
        here = batch["has_code"].sum().float() if "codes" in batch and "has_code" in batch else None
        if here is None:
            rows = len(batch["source"]) if "codes" in batch else 0
            here = batch["source"].new_tensor(float(rows), dtype=torch.float32)
        return float(self.processes.sum(here)) / self.processes.world

    def _over_processes(
        self, found: dict[str, list[Tensor]], length: Tensor, stop: bool
    ) -> tuple[dict[str, float], bool]:
        """Means over parts and processes, in one exchange and one wait for the device."""
        zero = length.new_zeros((), dtype=torch.float32)
        sums = [torch.stack(values).sum() if values else zero for values in found.values()]
        counts = [zero + len(values) for values in found.values()]
        # Gradients are equal everywhere: their length is a mean over processes only in form.
        exchanged = torch.stack([*sums, *counts, length.float(), zero + 1.0, zero + float(stop)])
        values = self.processes.sum(exchanged).tolist()
        n = len(found)
        terms = {
            name: total / count
            for name, total, count in zip(found, values[:n], values[n : 2 * n])
            if count
        }
        terms["gradient"] = values[-3] / values[-2]
        return terms, values[-1] > 0


def _parts(batch: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    size = len(batch["source"])
    if size % count:
        raise ConfigError(f"a batch of {size} cannot be cut into {count} equal parts")
    share = size // count
    cuts = [slice(i * share, (i + 1) * share) for i in range(count)]
    tensors = {name: value for name, value in batch.items() if isinstance(value, Tensor)}
    return [{name: value[cut] for name, value in tensors.items()} for cut in cuts]


def to_device(batch: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """A batch's tensors on a device; names and notes as they are."""
    return {
        name: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
        for name, value in batch.items()
    }
