"""The tasks as one table: source, losses, styles to re-draw, shipped model, refinement schedule.

("Encoding in Style", section 4 and appendix A.) A new task is a row here, or
`TASKS.register(Task(...))`, and needs nothing else. This module does not import torch, so that the
command lists tasks fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from wplus.errors import ConfigError
from wplus.losses import check_weights
from wplus.registry import Registry
from wplus.schedules import PHOTOGRAPH, FromEncoder, RefinementSchedule
from wplus.sources import SOURCES

Flip = Literal["none", "both", "independent"]


@dataclass(frozen=True)
class Task:
    """One use of the method.

    Attributes:
        name: on the command line and in model files.
        source: the encoder's input, a name of `sources.SOURCES`.
        weights: the λ of the losses, by the names of `losses.LOSSES`; the others are 0.
        description: one line for help texts.
        section: of the paper.
        flip: mirroring in training: "none", "both" (source and target together), or "independent"
            (source and target separately, for frontalization).
        input_channels: of the encoder's input; 0 takes those of the source.
        redraw: the styles that are drawn at random for further outputs, in the syntax of
            `latents.layers_of`; None for a single output.
        alpha: weight of the random style in the mix with the encoded one, 0 to 1.
        factors: by which training shrinks photographs (low_resolution only).
        model: name of the shipped model; None if none is shipped.
        starts_from_inversion: an inversion model can do the task too: refinement starts from its
            encoder's code, or from the mean code.
        refinement: how its codes are optimized; None where outputs differ from inputs by intent,
            so that there is no constraint.

    Raises:
        ConfigError: a loss is unknown, or a value is out of range or contradicts another.
    """

    name: str
    source: str
    weights: Mapping[str, float]
    description: str = ""
    section: str = ""
    flip: Flip = "both"
    input_channels: int = 0
    redraw: str | None = None
    alpha: float = 1.0
    factors: tuple[int, ...] = ()
    model: str | None = None
    starts_from_inversion: bool = False
    refinement: RefinementSchedule | None = None

    def __post_init__(self) -> None:
        about = f"task {self.name!r}"
        try:
            source = SOURCES.find(self.source)
            object.__setattr__(self, "weights", check_weights(self.weights))
        except ConfigError as error:
            raise ConfigError(f"{about}: {error}") from None
        if self.flip not in get_args(Flip):
            raise ConfigError(
                f"{about}: flip {self.flip!r} is none of: {', '.join(get_args(Flip))}"
            )
        if not 0 <= self.alpha <= 1 or self.input_channels < 0:
            raise ConfigError(
                f"{about}: alpha is 0 to 1 and input_channels 0 or more,"
                f" not {self.alpha} and {self.input_channels}"
            )
        if self.factors and "factor" not in source.options:
            raise ConfigError(f"{about}: factors are for low_resolution only")
        object.__setattr__(self, "input_channels", self.input_channels or source.channels)


_FACE = {"l2": 1.0, "lpips": 0.8, "identity": 0.1}
_CONDITIONAL = {"l2": 1.0, "lpips": 0.8, "regularization": 0.005}

TASKS: Registry[Task] = Registry(
    "task",
    (
        Task(
            "inversion", "photo", _FACE, "a photograph of a face to the code that reproduces it",
            section="4.1", model="faces", starts_from_inversion=True,
            refinement=RefinementSchedule(from_encoder=FromEncoder()),
        ),
        Task(
            "frontalization", "photo",
            {"l2": 0.001, "lpips": 0.08, "identity": 1.0, "regularization": 0.005,
             "crop_l2": 0.01, "crop_lpips": 0.8},
            "a face at any angle to the same face from the front",
            section="4.2", flip="independent", model="faces-frontal",
        ),
        Task(
            "sketch", "sketch", _CONDITIONAL,
            "a line drawing of a face to photographs of such a face",
            section="4.3", redraw="fine", model="faces-sketch",
        ),
        Task(
            "labels", "labels", _CONDITIONAL,
            "a label map of a face to photographs of such a face",
            section="4.3", redraw="fine", model="faces-labels",
        ),
        Task(
            "super_resolution", "low_resolution", {**_FACE, "regularization": 0.005},
            "sharp faces consistent with a low-resolution input",
            section="4.4", redraw="medium", alpha=0.5, factors=(1, 2, 4, 8, 16, 32),
            model="faces-super", starts_from_inversion=True,
            refinement=RefinementSchedule(
                {**PHOTOGRAPH, "prior": 0.03}, {"mean": 80, "inversion": 50},
                spread_per_factor=0.025,
            ),
        ),
        Task(
            "toonify", "photo", {"l2": 1.0, "lpips": 0.8, "identity": 1.0, "regularization": 0.025},
            "a face to a cartoon of it, through a generator of cartoons",
            section="appendix (toonification)", model="faces-toon",
        ),
        Task(
            "inpainting", "masked", {**_FACE, "regularization": 0.005},
            "a photograph with a missing region to the whole face",
            section="4.4", model="faces-inpainting", starts_from_inversion=True,
            # The encoder alone gives a face similar to the surroundings of the hole, not
            # continuous with them.
            refinement=RefinementSchedule(
                {**PHOTOGRAPH, "prior": 0.03, "spread": 0.3},
                {"mean": 80, "inversion": 50, "encoder": 50},
            ),
        ),
        Task(
            "domain", "photo", {"l2": 1.0, "lpips": 0.8, "similarity": 0.5},
            "an image of another domain (cats, cars, churches) to the code that reproduces it",
            section="4.5", refinement=RefinementSchedule(from_encoder=FromEncoder(identity=0.0)),
        ),
    ),
)  # fmt: skip
"""Every task by its name, with the weights of the paper."""
