"""The tasks as one table: what goes in, what the losses weigh, which styles may be drawn anew.

("Encoding in Style", section 4 and appendix A.) A new task is a new row here, and a function in
`sources` if its input is of a new kind. Nothing here needs torch, so that the command can list
tasks at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

from wplus.config import SOURCES
from wplus.errors import ConfigError

Flip = Literal["none", "both", "independent"]
TERMS = (
    "l2",
    "lpips",
    "identity",
    "regularization",
    "crop_l2",
    "crop_lpips",
    "similarity",
    "code",
)
"""Names of the loss terms that a task weighs."""


@dataclass(frozen=True)
class Task:
    """One use of the method.

    Attributes:
        name: what it is called on the command line and in model files.
        source: how a file becomes the encoder's input, one of `config.SOURCES`.
        input_channels: of the encoder's input.
        weights: the λ of every term of `TERMS`; 0 leaves a term out. l2, lpips: on the whole
            picture; identity: cosine of face embeddings; regularization: length of the code's
            offset from the mean; crop_l2, crop_lpips: on the inner face; similarity: cosine of
            self-supervised features; code: distance from the true code of a synthetic source.
        flip: left and right in training: "none", "both" (source and target together), or
            "independent" (each for itself, so that the side says nothing: frontalization).
        description: one line for people.
        section: of the paper.
        redraw: the styles that are drawn at random for several answers to one input, as
            `latents.layers_of` reads them; None if there is one answer.
        alpha: how much of the random style replaces the encoded one there.
        factors: by how much training shrinks its photographs (low_resolution only).

    Raises:
        ConfigError: a term is unknown, or a value is out of range or contradicts another.
    """

    name: str
    source: str
    input_channels: int
    weights: Mapping[str, float]
    flip: Flip
    description: str
    section: str
    redraw: str | None = None
    alpha: float = 1.0
    factors: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        about = f"task {self.name!r}"
        if self.source not in SOURCES:
            raise ConfigError(f"{about}: source {self.source!r} is none of: {', '.join(SOURCES)}")
        if self.flip not in get_args(Flip):
            raise ConfigError(
                f"{about}: flip {self.flip!r} is none of: {', '.join(get_args(Flip))}"
            )
        unknown = sorted(set(self.weights) - set(TERMS))
        if unknown:
            raise ConfigError(
                f"{about}: weights of {', '.join(unknown)}, but the terms are: {', '.join(TERMS)}"
            )
        if not all(math.isfinite(weight) and weight >= 0 for weight in self.weights.values()):
            raise ConfigError(f"{about}: weights must be 0 or more, not {dict(self.weights)}")
        if self.weights.get("identity") and self.weights.get("similarity"):
            raise ConfigError(f"{about}: identity (faces) and similarity (others) exclude another")
        if not 0 <= self.alpha <= 1 or self.input_channels < 1:
            raise ConfigError(
                f"{about}: alpha is 0 to 1 and input_channels 1 or more,"
                f" not {self.alpha} and {self.input_channels}"
            )
        if bool(self.factors) != (self.source == "low_resolution"):
            raise ConfigError(f"{about}: factors belong to low_resolution, and to nothing else")
        object.__setattr__(self, "weights", {name: self.weights.get(name, 0.0) for name in TERMS})


_ROWS = (
    Task(
        "inversion",
        source="photo",
        input_channels=3,
        weights={"l2": 1.0, "lpips": 0.8, "identity": 0.1},
        flip="both",
        description="a photograph of a face to the code that reproduces it",
        section="4.1",
    ),
    Task(
        "frontalization",
        source="photo",
        input_channels=3,
        weights={
            "l2": 0.001,
            "lpips": 0.08,
            "identity": 1.0,
            "regularization": 0.005,
            "crop_l2": 0.01,
            "crop_lpips": 0.8,
        },
        flip="independent",
        description="a face at any angle to the same face from the front",
        section="4.2",
    ),
    Task(
        "sketch",
        source="sketch",
        input_channels=1,
        weights={"l2": 1.0, "lpips": 0.8, "regularization": 0.005},
        flip="both",
        description="a line drawing of a face to photographs of such a face",
        section="4.3",
        redraw="fine",
    ),
    Task(
        "labels",
        source="labels",
        input_channels=19,
        weights={"l2": 1.0, "lpips": 0.8, "regularization": 0.005},
        flip="both",
        description="a map of a face's parts to photographs of such a face",
        section="4.3",
        redraw="fine",
    ),
    Task(
        "super_resolution",
        source="low_resolution",
        input_channels=3,
        weights={"l2": 1.0, "lpips": 0.8, "identity": 0.1, "regularization": 0.005},
        flip="both",
        description="a small or blurred face to sharp ones that look so from afar",
        section="4.4",
        redraw="medium",
        alpha=0.5,
        factors=(1, 2, 4, 8, 16, 32),
    ),
    Task(
        "toonify",
        source="photo",
        input_channels=3,
        weights={"l2": 1.0, "lpips": 0.8, "identity": 1.0, "regularization": 0.025},
        flip="both",
        description="a face to a drawing of it, by the generator of a drawn style",
        section="appendix (toonification)",
    ),
    Task(
        "inpainting",
        source="masked",
        input_channels=3,
        weights={"l2": 1.0, "lpips": 0.8, "identity": 0.1, "regularization": 0.005},
        flip="both",
        description="a photograph with a region removed to the whole face",
        section="4.4",
    ),
    Task(
        "domain",
        source="photo",
        input_channels=3,
        weights={"l2": 1.0, "lpips": 0.8, "similarity": 0.5},
        flip="both",
        description="anything else a generator can make (cats, cars, churches) to its code",
        section="4.5",
    ),
)
TASKS: Mapping[str, Task] = MappingProxyType({task.name: task for task in _ROWS})
"""Every task by its name, with the weights of the paper."""


def find(name: str) -> Task:
    """The task of that name.

    Raises:
        ConfigError: there is none; the message lists them.
    """
    try:
        return TASKS[name]
    except KeyError:
        raise ConfigError(f"no task {name!r}; there are: {', '.join(TASKS)}") from None
