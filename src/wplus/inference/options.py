"""How inputs are inverted and translated: settings of the library and flags of the commands.

The names of the fields are those of the flags and of the keyword arguments of `wplus.invert` and
`wplus.translate`. Nothing here needs torch, so that commands can show their help at once; and
annotations are objects, not strings, so that the commands can read those that they inherit.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

from wplus.errors import ConfigError
from wplus.sources import SOURCES
from wplus.tasks import TASKS, Task

Box = tuple[int, int, int, int]
"""Left, top, width and height in pixels."""
Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True)
class InversionOptions:
    """How photographs are inverted.

    Attributes:
        refine: Steps of optimization from the encoder's code, or from the mean code. From a code
            of inversion, 30 makes 30 steps after 60 warm-up steps through the truncated generator.
            Without it, the default of the task: 0 from most encoders, 50 to 100 otherwise.
        align: Find the face and crop it as FFHQ is cropped; --no-align takes the middle square.
            Without either, faces are found in photographs, but small square images to be enlarged
            are taken to be crops, and drawings that fill a square page are left as they are.
        precision: Of the convolutions. auto refines in bfloat16 where the processor has it, which
            takes less than half the time, and makes the final image in float32.
        correction: Correct the generator's features so that person and background of the
            photograph are kept, where the model can. At full size, hair and beards may get lumpy.
        all_faces: Every face of a photograph, not only the largest.
        overwrite: Replace results of other inputs that have the same names, instead of numbering.

    Raises:
        ConfigError: a value is out of range.
    """

    refine: int | None = None
    align: bool | None = None
    precision: Precision = "auto"
    correction: bool = False
    all_faces: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.refine is not None and self.refine < 0:
            raise ConfigError(f"--refine {self.refine}: the number of steps cannot be negative")


@dataclass(frozen=True)
class Options(InversionOptions):
    """How inputs are translated.

    Attributes:
        outputs: How many outputs for each input; in all but the first, styles are drawn at random.
        layers: Which styles: coarse (pose, shape), medium (features), fine (colors), all, indices
            like 8-17, or resolutions like 64-256px. Without it, those that the paper draws for the
            task.
        alpha: Weight of the random style in the mix with the code's own, 0 to 1; without it, the
            task's.
        seed: The same seed gives the same outputs.
        compare: Write NAME.compare.png: the input and the outputs side by side.
        paste: Photographs only: write NAME.pasted.png, the photograph with the output in place of
            the face, which a face parser finds. (A filled photograph is always whole.)
        factor: super_resolution: by how much the face is smaller than 256 pixels: 1, 2, 4, 8, 16 or
            32. Without it, the size of the face decides.
        mask: inpainting: an image of the photograph's size, white where something is missing; or a
            folder with one of the same name for every photograph.
        label_order: labels: what the numbers of the map mean: celebamask, bisenet (the common face
            parser's own), or lapa (also Helen's).
        box: inpainting: the missing region as X,Y,WIDTH,HEIGHT in pixels of the photograph. What is
            painted in pure magenta (255, 0, 255) or erased to transparency is missing too.

    Raises:
        ConfigError: a value is out of range, or two contradict each other.
    """

    outputs: int = 1
    layers: str | None = None
    alpha: float | None = None
    seed: int = 0
    compare: bool = False
    paste: bool = False
    factor: int | None = None
    mask: Any = None  # a path, or a PIL image
    box: Box | str | None = None
    label_order: Literal["celebamask", "bisenet", "lapa"] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.outputs < 1:
            raise ConfigError(f"--outputs {self.outputs}: use 1 or more")
        if self.alpha is not None and not (math.isfinite(self.alpha) and 0 <= self.alpha <= 1):
            raise ConfigError(f"--alpha {self.alpha}: use 0 (the code's own style) to 1 (random)")
        if self.seed < 0:
            raise ConfigError(f"--seed {self.seed}: use 0 or more")
        if self.mask is not None and self.box is not None:
            raise ConfigError("--mask and --box say the same: use one of them")
        if self.box is not None:
            object.__setattr__(self, "box", _checked_box(self.box))

    def check(self, task: Task) -> None:
        """Refuse settings that the task would ignore.

        Raises:
            ConfigError: names the setting and the task that it belongs to.
        """
        source = SOURCES.find(task.source)
        for other in TASKS.values():
            for name in set(SOURCES.find(other.source).options) - set(source.options):
                if getattr(self, name, None) is not None:
                    raise ConfigError(
                        f"--{name} belongs to --task {other.name}, not to {task.name}"
                    )
        if self.factor is not None and self.factor not in task.factors:
            raise ConfigError(
                f"--factor {self.factor}: use one of {', '.join(map(str, task.factors))}, or leave"
                " it out: it is estimated from the size of the face then"
            )
        if not source.is_photograph:
            for name in ("paste", "all_faces"):
                if getattr(self, name):
                    flag = name.replace("_", "-")
                    raise ConfigError(f"--{flag}: a {source.noun} is no photograph of a face")
        if self.align and not source.crops:
            raise ConfigError(f"--align: a {source.noun} is taken as it is, nothing is cropped")
        if self.refine and task.refinement is None:
            refinable = ", ".join(row.name for row in TASKS.values() if row.refinement)
            raise ConfigError(
                f"--refine: {task.name} changes the image on purpose, so there is nothing to"
                f" optimize for; tasks with --refine: {refinable}"
            )
        if self.outputs == 1 and (self.layers is not None or self.alpha is not None):
            raise ConfigError("--layers and --alpha are for further outputs: add --outputs 2")
        if self.outputs > 1 and task.redraw is None and self.layers is None:
            raise ConfigError(
                f"--outputs {self.outputs}: {task.name} has one output; choose by --layers which"
                " styles are drawn at random (fine: colors; medium: features and expression)"
            )


def _checked_box(box: Box | str) -> Box:
    """Four numbers, or their text with commas."""
    parts = box.split(",") if isinstance(box, str) else box
    text = ",".join(map(str, parts))
    try:
        left, top, width, height = (int(part) for part in parts)
    except ValueError:
        raise ConfigError(
            f"--box {text}: four whole numbers are needed, X,Y,WIDTH,HEIGHT, like 120,80,60,40"
        ) from None
    if min(left, top) < 0 or min(width, height) < 1:
        raise ConfigError(f"--box {text}: left and top are 0 or more, width and height 1 or more")
    return left, top, width, height
