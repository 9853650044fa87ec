"""How to translate, and what became of each input."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch

from wplus.errors import ConfigError
from wplus.sources.kind import FACTORS
from wplus.tasks import Task

Box = tuple[int, int, int, int]
"""Left, top, width and height in pixels."""

PHOTOGRAPHS = ("photo", "low_resolution", "masked")
"""Sources that are photographs, and so have a face that can be found and put back."""

# Tasks whose result can be compared with what is known of it. A frontalized face, a drawing or a
# face made of a sketch looks unlike its input on purpose.
REFINABLE = ("inversion", "domain", "super_resolution", "inpainting")


@dataclass(frozen=True)
class Options:
    """How to translate.

    Attributes:
        outputs: how many answers to each input. The first is the encoder's own; in the others
            styles are drawn anew ("Encoding in Style", section 4.3).
        layers: which styles are drawn anew, as `latents.layers_of` reads them; None for the task's.
        alpha: how much of the random style replaces the code's, 0 to 1; None for the task's.
        seed: the same seed gives the same answers.
        steps: of refinement on what is known of the output; None for the task's own number, which
            is 0 for most where the model has an encoder for the task.
        align: find the face and crop it the FFHQ way. None does so for photographs, but for small
            square pictures to be enlarged, which are crops already; and for drawings that do not
            fill a square page.
        compare: write a sheet of the input and the answers too.
        paste: put the answers back into the photograph.
        factor: super-resolution only: by how much the face is smaller than 256 pixels; None
            estimates it.
        mask: inpainting only: a picture of the photograph's size, white where something is missing;
            or a folder that has one of the photograph's stem for each.
        box: inpainting only: the region that is missing, left, top, width and height in pixels.
        bilinear: labels only: resize label maps like gray levels, see `labels.one_hot_labels`;
            None as the model was trained.
        precision: of the convolutions during refinement; None for the model's own.

    Raises:
        ConfigError: a value is out of range, or two contradict each other.
    """

    outputs: int = 1
    layers: str | None = None
    alpha: float | None = None
    seed: int = 0
    steps: int | None = None
    align: bool | None = None
    compare: bool = False
    paste: bool = False
    factor: int | None = None
    mask: Path | None = None
    box: Box | None = None
    bilinear: bool | None = None
    precision: torch.dtype | None = None

    def __post_init__(self) -> None:
        if self.outputs < 1:
            raise ConfigError(f"--outputs {self.outputs}: at least one answer")
        if self.alpha is not None and not (math.isfinite(self.alpha) and 0 <= self.alpha <= 1):
            raise ConfigError(f"--alpha {self.alpha}: use 0 (the code's own style) to 1 (random)")
        if self.seed < 0:
            raise ConfigError(f"--seed {self.seed}: use 0 or more")
        if self.steps is not None and self.steps < 0:
            raise ConfigError(f"--refine {self.steps}: the number of steps cannot be negative")
        if self.factor is not None and self.factor not in FACTORS:
            allowed = ", ".join(map(str, FACTORS))
            raise ConfigError(
                f"--factor {self.factor}: use one of {allowed}, or leave it out: it is estimated"
                " from the size of the face then"
            )
        if self.mask is not None and self.box is not None:
            raise ConfigError("--mask and --box say the same: use one of them")
        if self.box is not None and (min(self.box[:2]) < 0 or min(self.box[2:]) < 1):
            raise ConfigError(
                f"--box {','.join(map(str, self.box))}: left and top are 0 or more, width and"
                " height 1 or more"
            )

    def check(self, task: Task) -> None:
        """Refuse settings that mean nothing to the task, rather than to ignore them.

        Raises:
            ConfigError: names the setting and the task that it belongs to.
        """
        owners: dict[str, dict[str, object]] = {
            "super_resolution": {"--factor": self.factor},
            "inpainting": {"--mask": self.mask, "--box": self.box},
            "labels": {"bilinear": self.bilinear},
        }
        for owner, settings in owners.items():
            for name, value in settings.items():
                if value is not None and task.name != owner:
                    raise ConfigError(f"{name} belongs to --task {owner}, not to {task.name}")
        if task.source not in PHOTOGRAPHS and self.paste:
            what = "label map" if task.source == "labels" else task.source
            raise ConfigError(f"--paste: a {what} is no photograph to paste into")
        if task.source == "labels" and self.align:
            raise ConfigError("--align: a label map is taken as it is, nothing is cropped")
        if self.steps and task.name not in REFINABLE:
            raise ConfigError(
                f"--refine: {task.name} changes the picture on purpose, so there is nothing to"
                f" refine on; tasks with --refine: {', '.join(REFINABLE)}"
            )
        if self.outputs == 1 and (self.layers is not None or self.alpha is not None):
            raise ConfigError(
                "--layers and --alpha are about further answers: add --outputs 2 or more"
            )
        if self.outputs > 1 and task.redraw is None and self.layers is None:
            raise ConfigError(
                f"--outputs {self.outputs}: {task.name} has one answer; say by --layers which"
                " styles may be drawn anew (fine: colors; medium: features and expression)"
            )


@dataclass(frozen=True)
class Translation:
    """What became of one input.

    Attributes:
        input: the file as it was named.
        pictures: the answers' files, the plain one first.
        codes: their codes files.
        comparison: the sheet of input and answers, if it was asked for.
        pasted: the photographs with the answers in them, if they were asked for.
        factor: super-resolution: by how much the face is smaller than 256 pixels.
        consistency_before: PSNR in dB between what is known of the output and the same measured on
            the first answer, before refinement; None where nothing is known.
        consistency: the same of what was written.
        steps: steps of refinement made.
        seconds: reading and writing included.
        error: why there is no result; everything else is empty then.
    """

    input: str
    pictures: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    comparison: str | None = None
    pasted: tuple[str, ...] = ()
    factor: float | None = None
    consistency_before: float | None = None
    consistency: float | None = None
    steps: int = 0
    seconds: float | None = None
    error: str | None = None
