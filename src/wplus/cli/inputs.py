"""Inputs of the editing commands: photographs or codes, and how photographs are inverted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from wplus.cli.app import DEFAULT_MODEL, Device, Flag, Model, device_of
from wplus.inference.options import InversionOptions, Precision  # noqa: F401 (of a base field)

if TYPE_CHECKING:
    from wplus.inference.run import Inference

Inputs = Annotated[
    list[str], Parameter(required=True, negative=(), help="Photographs or codes files.")
]


@Parameter(name="*")
@dataclass(frozen=True)
class Common(InversionOptions):  # noqa: D101 (its help is the base's)
    all_faces: Flag = False
    overwrite: Flag = False
    model: Model = DEFAULT_MODEL
    device: Device = "auto"

    def open(self) -> Inference:
        """The inversion of photographs by the model. Raises WplusError."""
        from wplus.inference.run import open_inversion

        return open_inversion(self.model, device_of(self.device), self)


DEFAULTS = Common()
