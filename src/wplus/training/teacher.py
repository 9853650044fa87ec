"""Codes of another model as targets: an encoder of sketches learns what one of photographs saw.

Nothing has to be decoded for it, so that a step takes a fraction of the time of one with losses on
pictures: a short way to where those begin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from wplus import images
from wplus.errors import ConfigError
from wplus.psp import PSP

Prepare = Callable[[Any], Mapping[str, Any]]
"""Brings a batch to the device and renders what is synthetic."""


class Teacher:
    """Fills in the codes of pictures whose code nobody knows.

    Args:
        prepare: what is done with a batch first.
        model: reads photographs; its codes of the targets are what `code` compares with.
        bfloat16: whether it runs under autocast.
    """

    def __init__(self, prepare: Prepare, model: PSP, bfloat16: bool = False) -> None:
        self.prepare, self.model, self.bfloat16 = prepare, model, bfloat16

    @torch.no_grad()
    def __call__(self, loaded: Any) -> Mapping[str, Any]:
        """A batch on the device, in which all `codes` (N, L, D) are `known`."""
        batch = dict(self.prepare(loaded))
        targets = batch["target"]
        todo = ~batch["has_code"]
        if bool(todo.any()):
            encoder = self.model.encoder
            assert encoder is not None
            photos = images.resize(targets[todo], encoder.input_size)
            with torch.autocast(targets.device.type, torch.bfloat16, enabled=self.bfloat16):
                found = self.model.encode(photos)
            codes = batch.get("codes")
            if codes is None:
                codes = found.new_zeros((len(targets), *found.shape[1:]), dtype=torch.float32)
            batch["codes"] = codes.index_copy(0, todo.nonzero()[:, 0], found.to(codes.dtype))
        batch["has_code"] = torch.ones_like(todo)
        return batch


def check(model: PSP, student: PSP, where: str) -> None:
    """Refuse a teacher that cannot teach.

    Raises:
        ConfigError: it has no encoder of photographs, or its codes are of another shape.
    """
    if model.encoder is None:
        raise ConfigError(f"teacher {where}: has no encoder")
    if model.config.source != "photo":
        raise ConfigError(f"teacher {where}: reads {model.config.source}, not photographs")
    if model.mean_codes.shape != student.mean_codes.shape:
        raise ConfigError(
            f"teacher {where}: its codes are {tuple(model.mean_codes.shape)}, but the generator's"
            f" {tuple(student.mean_codes.shape)}"
        )
