"""The tasks as one table: source, losses, styles to re-draw, shipped model, refinement schedule.

("Encoding in Style", section 4 and appendix A.) A new task is a row here, or
`TASKS.register(Task(...))`, and needs nothing else. Nothing here needs torch, so that the command
can list tasks at once.
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
        source: what the encoder reads, a name of `sources.SOURCES`.
        weights: the λ of the losses, by the names of `losses.LOSSES`; others have none.
        description: one line for people.
        section: of the paper.
        flip: left and right in training: "none", "both" (source and target together), or
            "independent" (each on its own, so that the output's side is not the input's:
            frontalization).
        input_channels: of the encoder's input; 0 takes the source's own.
        redraw: the styles that are drawn at random for further outputs, as `latents.layers_of`
            reads them; None if there is one output.
        alpha: weight of the random style in the mix with the encoded one, 0 to 1.
        factors: by which training shrinks its photographs (low_resolution only).
        model: name of the shipped model; None if none is shipped.
        starts_from_inversion: a model without an encoder of its own for this task does it too:
            refinement starts from the inversion encoder's code, or from the mean code.
        refinement: how its codes are optimized; None where outputs differ from inputs on purpose,
            so that there is nothing to optimize for.

    Raises:
        ConfigError: a term is unknown, or a value is out of range or contradicts another.
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
        except ConfigError as error:
            raise ConfigError(f"{about}: {error}") from None
        if self.flip not in get_args(Flip):
            raise ConfigError(
                f"{about}: flip {self.flip!r} is none of: {', '.join(get_args(Flip))}"
            )
        try:
            object.__setattr__(self, "weights", check_weights(self.weights))
        except ConfigError as error:
            raise ConfigError(f"{about}: {error}") from None
        if not 0 <= self.alpha <= 1 or self.input_channels < 0:
            raise ConfigError(
                f"{about}: alpha is 0 to 1 and input_channels 0 or more,"
                f" not {self.alpha} and {self.input_channels}"
            )
        if self.factors and "factor" not in source.options:
            raise ConfigError(f"{about}: factors belong to low_resolution, and to nothing else")
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
            # A pass alone makes a face like the one around the hole, not one that continues it.
            refinement=RefinementSchedule(
                {**PHOTOGRAPH, "prior": 0.03, "spread": 0.3},
                {"mean": 80, "inversion": 50, "encoder": 50},
            ),
        ),
        Task(
            "domain", "photo", {"l2": 1.0, "lpips": 0.8, "similarity": 0.5},
            "anything else that a generator makes (cats, cars, churches) to its code",
            section="4.5", refinement=RefinementSchedule(from_encoder=FromEncoder(identity=0.0)),
        ),
    ),
)  # fmt: skip
"""Every task by its name, with the weights of the paper."""
