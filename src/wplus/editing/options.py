"""Options of the editing commands. Nothing here needs torch: the fields are the commands' flags."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from wplus.errors import ConfigError


def _check(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"--{name} {value:g}: use {low:g} to {high:g}")


@dataclass(frozen=True)
class EditOptions:
    """Which directions move a code, and how far.

    Attributes:
        smile: In standard deviations among photographs, as all that are no angles: 2 for a broad
            smile, -2 for a closed mouth.
        age: 1 is about 16 years; 1 and -1 keep the person.
        yaw: Degrees to the side.
        pitch: Degrees up or down.
        glasses: 1.5 puts on glasses. Not below 0 where there are none.
        gender: From female to male, as the table of attributes had it: 2 from one to the other.
        facial_hair: A beard from 2 up, on anybody.
        bald: Less hair with larger amounts; 2 leaves hardly any. It changes the color of the skin
            too, less with --layers 4-32px.
        directions: File of directions to look these names up in, instead of the shipped one.
        direction: Another direction: NAME of --directions, FILE or FILE:NAME, sefaK, or pcaK. Each
            needs its own --amount, in the same order.
        sefa: The K-th closed-form direction of the generator's weights at --layers; with --amount.
        pca: The K-th principal component of W; with --amount.
        amount: Of --direction, --sefa and --pca, in this order.
        layers: Styles that may move: all, coarse, medium, fine, 64-256px, 8-17, …

    Raises:
        ConfigError: no edit, a direction twice, or not one amount for each.
    """

    smile: float | None = None
    age: float | None = None
    yaw: float | None = None
    pitch: float | None = None
    glasses: float | None = None
    gender: float | None = None
    facial_hair: float | None = None
    bald: float | None = None
    directions: Path | None = None
    direction: tuple[str, ...] = ()
    sefa: tuple[int, ...] = ()
    pca: tuple[int, ...] = ()
    amount: tuple[float, ...] = ()
    layers: str = "all"

    def __post_init__(self) -> None:
        if len(self._others) != len(self.amount):
            raise ConfigError(
                f"{len(self._others)} of --direction, --sefa and --pca, and {len(self.amount)} of"
                " --amount: each needs its own"
            )
        if len(set(self._others)) < len(self._others):
            raise ConfigError("a direction is named twice; add its amounts")
        if not self.amounts:
            raise ConfigError("nothing to edit; say --smile 2, for example: wplus edit --help")

    @property
    def _others(self) -> list[str]:
        closed_form = [f"sefa{k}" for k in self.sefa] + [f"pca{k}" for k in self.pca]
        return [*self.direction, *closed_form]

    @property
    def amounts(self) -> dict[str, float]:
        """Amounts by the names of directions, see `lookup.moves`."""
        named = ("smile", "age", "yaw", "pitch", "glasses", "gender", "facial_hair", "bald")
        amounts = {name: getattr(self, name) for name in named}
        chosen = {name: amount for name, amount in amounts.items() if amount is not None}
        return chosen | dict(zip(self._others, self.amount))


@dataclass(frozen=True)
class ExploreOptions:
    """Which directions are shown, at which amounts.

    Attributes:
        what: The named directions, those of the generator's weights (sefa), or those of W (pca).
        directions: File of named directions, instead of the shipped one.
        count: Number of sefa or pca directions, the strongest first.
        columns: Number of amounts of each, 0 in the middle; odd.
        reach: The largest amount of either sign; by default each direction's own range.
        layers: Styles that may move: all, coarse, medium, fine, 64-256px, 8-17, …
        size: Side of each image in pixels.
    """

    what: Literal["named", "sefa", "pca"] = "named"
    directions: Path | None = None
    count: int = 8
    columns: int = 5
    reach: float | None = None
    layers: str = "all"
    size: int = 192

    def __post_init__(self) -> None:
        _check("size", self.size, 16, 1024)


@dataclass(frozen=True)
class MixOptions:
    """Which styles are taken from another face.

    Attributes:
        layers: Which styles: coarse (pose, shape of the face), medium (features), fine (colors),
            all, 64-256px, 8-17, …, or several with commas.
        alpha: Weight of the other face's styles in the mix with the content's, 0 to 1.
        grid: Make a table of all pairs instead, with every input as content.
        columns: Photographs or codes files along the top of the table; by default the inputs.
        size: Side of the table's images in pixels.
    """

    layers: str = "fine"
    alpha: float = 1.0
    grid: bool = False
    columns: tuple[str, ...] = ()
    size: int = 256

    def __post_init__(self) -> None:
        _check("alpha", self.alpha, 0, 1)
        _check("size", self.size, 16, 1024)
        if self.columns and not self.grid:
            raise ConfigError("--columns is for --grid")


@dataclass(frozen=True)
class MorphOptions:
    """How a morph is filmed.

    Attributes:
        frames: Number of frames over the whole path.
        fps: Frames per second.
        size: Side of the frames in pixels.
        ending: stop at the last face, go back the same way, or loop straight to the first.
        even: Measure the path with LPIPS; --no-even for equal steps in W+, which is faster.
    """

    frames: int = 60
    fps: float = 30.0
    size: int = 512
    ending: Literal["stop", "back", "loop"] = "stop"
    even: bool = True

    def __post_init__(self) -> None:
        _check("size", self.size, 16, 4096)
        _check("frames", self.frames, 2, 10_000)


@dataclass(frozen=True)
class TransplantOptions:
    """Which region is transplanted.

    Attributes:
        region: eyes, brows, nose, mouth, chin, face or hair, or several with commas.
        mask: Instead, a square image that is white in the region, laid over the aligned face.
        steps: Steps of optimization; --refine is for the photographs, before.
        blend: Take the pixels outside of the region from the receiving face itself.
    """

    region: str | None = None
    mask: Path | None = None
    steps: int = 60
    blend: bool = False

    def __post_init__(self) -> None:
        if (self.region is None) == (self.mask is None):
            raise ConfigError("use one of --region and --mask")
        _check("steps", self.steps, 1, 10_000)


@dataclass(frozen=True)
class SearchOptions:
    """How directions are found.

    Attributes:
        data: Folders of photographs, cropped as FFHQ is.
        attributes: CSV; the first column names photographs without their suffix, the others are
            attributes.
        only: These columns of the table; by default all that can be used.
        contrast: For columns of words, which word is 0 and which is 1, as in
            glasses=NoGlasses/ReadingGlasses; photographs with other words are left out.
        samples: Find them on this many samples of the generator. By default 0 with an encoder, and
            4000 without one.
        seed: Of the samples.
        layers: Styles that may move: all, coarse, medium, fine, 64-256px, 8-17, …, or several with
            commas.
    """

    data: tuple[Path, ...]
    attributes: Path
    only: tuple[str, ...] = ()
    contrast: tuple[str, ...] = ()
    samples: int | None = None
    seed: int = 0
    layers: str = "all"

    @property
    def contrasts(self) -> dict[str, tuple[str, str]]:
        """The words for 0 and 1 by column. Raises ConfigError."""
        found = {}
        for text in self.contrast:
            column, equals, words = text.partition("=")
            zero, slash, one = words.partition("/")
            if not (equals and slash and column and zero and one):
                raise ConfigError(f"--contrast {text}: use COLUMN=WORD/OTHER")
            found[column] = (zero, one)
        return found
