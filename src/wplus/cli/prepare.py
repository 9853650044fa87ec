"""Commands that make training sources of photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from wplus.cli.app import MODELS, app
from wplus.cli.terminal import print_error, print_line, progress_bar

prepare_app = App(
    name="prepare",
    help="Training sources from photographs: sketches, label maps, masks, low resolution.",
    group=MODELS,
)
app.command(prepare_app)

Photos = Annotated[Path, Parameter(help="Folder of photographs, cropped as FFHQ is.")]
Out = Annotated[
    Path,
    Parameter(
        help="Folder for the sources. What the same settings have made there already is kept;"
        " other settings are refused."
    ),
]
Jobs = Annotated[int, Parameter(help="Processes that work at once.")]
Seed = Annotated[int, Parameter(help="The same seed makes the same of the same photograph.")]


@prepare_app.command
def sketches(photos: Photos, /, *, out: Out, seed: Seed = 0, jobs: Jobs = 1) -> int:
    """Draw every photograph: thin lines, each drawing by another hand.

    Example: wplus prepare sketches photos --out sketches --jobs 8

    Then: wplus train --task sketch --data photos --sources sketches --out run
    """
    return _run(photos, out, jobs, "sketches", seed=seed)


@prepare_app.command
def labels(photos: Photos, /, *, out: Out, jobs: Jobs = 1) -> int:
    """Label the parts of every face by CelebAMask-HQ's 19 classes, as an index PNG in its colors.

    Example: wplus prepare labels photos --out labels

    Then: wplus train --task labels --data photos --sources labels --out run
    """
    return _run(photos, out, jobs, "labels")


@prepare_app.command
def masks(
    photos: Photos,
    /,
    *,
    out: Out,
    seed: Seed = 0,
    jobs: Jobs = 1,
    kind: Literal["mixed", "strokes", "boxes"] = "mixed",
    coverage: Annotated[tuple[float, float], Parameter(negative=())] = (0.05, 0.5),
) -> int:
    """Draw a mask for every photograph: white where it is to be removed.

    Training draws its own masks where it is given photographs alone; this is for fixed ones.

    Example: wplus prepare masks photos --out masks --kind boxes --coverage 0.1 0.3

    Then: wplus train --task inpainting --data photos --sources masks --out run

    Parameters
    ----------
    kind
        strokes of a brush, boxes, or one of the two at random.
    coverage
        Least and largest share of the image that is removed.
    """
    return _run(photos, out, jobs, "masks", seed=seed, masks=kind, coverage=coverage)


@prepare_app.command
def low_resolution(
    photos: Photos,
    /,
    *,
    out: Out,
    seed: Seed = 0,
    jobs: Jobs = 1,
    factors: Annotated[list[int] | None, Parameter(negative=(), consume_multiple=True)] = None,
    size: int = 256,
) -> int:
    """Shrink every photograph by a factor and enlarge it again, as super-resolution is trained.

    Training does so by itself where it is given photographs alone; this is for fixed factors.

    Example: wplus prepare low-resolution photos --out small --factors 8 16

    Then: wplus train --task super_resolution --data photos --sources small --out run

    Parameters
    ----------
    factors
        By how much; one of these for each photograph. Without it, 1, 2, 4, 8, 16 or 32.
    size
        Side of the results in pixels, at which the factors are meant.
    """
    some = {"factors": tuple(factors)} if factors else {}
    return _run(photos, out, jobs, "low_resolution", seed=seed, size=size, **some)


def _run(photos: Path, out: Path, jobs: int, kind: str, **settings: Any) -> int:
    from wplus.prepare import Recipe, prepare_folder

    made = kept = failed = 0
    total, results = prepare_folder(photos, out, Recipe(kind, **settings), jobs)
    with progress_bar() as bars:
        progress = bars(kind.replace("_", " "))
        for done, result in enumerate(results, start=1):
            if result.error:
                failed += 1
                print_error(result.error)
            elif result.kept:
                kept += 1
            else:
                made += 1
            progress(done, total)
    there = f", {kept} were there" if kept else ""
    print_line(f"{out}: {made} made{there}" + (f", {failed} failed" if failed else ""))
    return 1 if failed else 0
