"""Commands that move codes along directions: edit, explore."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.progress import Progress, TaskID

from wplus.cli import combine, directions
from wplus.cli.app import EDITING, app, bar
from wplus.cli.given import DEFAULTS, Common, Given, Inputs, folder_for, read_given
from wplus.cli.terminal import print_error
from wplus.errors import WplusError

__all__ = ["combine", "directions", "edit", "explore"]

Amount = Annotated[float | None, Parameter(allow_leading_hyphen=True)]


@app.command(group=EDITING)
def edit(
    inputs: Inputs,
    /,
    *,
    out: Path,
    smile: Amount = None,
    age: Amount = None,
    yaw: Amount = None,
    pitch: Amount = None,
    glasses: Amount = None,
    gender: Amount = None,
    facial_hair: Amount = None,
    bald: Amount = None,
    directions: Path | None = None,
    direction: Annotated[list[str] | None, Parameter(negative=())] = None,
    sefa: Annotated[list[int] | None, Parameter(negative=())] = None,
    pca: Annotated[list[int] | None, Parameter(negative=())] = None,
    amount: Annotated[list[float] | None, Parameter(negative=(), allow_leading_hyphen=True)] = None,
    layers: str = "all",
    common: Common = DEFAULTS,
) -> int:
    """Edit faces: smile, age, pose, glasses, …

    For every input, writes NAME.png, NAME.codes.safetensors and NAME.compare.png (before and
    after). `wplus directions list` says what amount 1 of each direction is, and `wplus explore`
    shows it. Take the smallest amount that does it: large ones change who it is.

    Example: wplus edit photo.jpg --smile 2 --yaw 10 --out out

    Example: wplus edit face.codes.safetensors --sefa 1 --amount -3 --layers coarse --out out

    Parameters
    ----------
    out
        Folder for the results; it is made.
    smile
        In standard deviations among photographs, as all that are no angles: 2 for a broad smile,
        -2 for a closed mouth.
    age
        1 is about 16 years; 1 and -1 keep the person.
    yaw
        Degrees to the side.
    pitch
        Degrees up or down.
    glasses
        1.5 puts on glasses. Not below 0 where there are none.
    gender
        From female to male, as the table of attributes had it: 2 from one to the other.
    facial_hair
        A beard from 2 up, on anybody.
    bald
        Less hair with larger amounts; 2 leaves hardly any. It changes the color of the skin too,
        less with --layers 4-32px.
    directions
        File of directions that these names are looked up in, instead of the shipped one.
    direction
        Another direction: NAME of --directions, FILE or FILE:NAME, sefaK, or pcaK. Each needs its
        own --amount, in the same order.
    sefa
        The K-th closed-form direction of the generator's weights at --layers; with --amount.
    pca
        The K-th principal component of W; with --amount.
    amount
        Of --direction, --sefa and --pca, in this order.
    layers
        Styles that may move: all, coarse, medium, fine, 64-256px, 8-17, …
    """
    from wplus import codes as code_files
    from wplus import images
    from wplus.editing import apply, moves

    names = {"smile": smile, "age": age, "yaw": yaw, "pitch": pitch, "glasses": glasses}
    names |= {"gender": gender, "facial_hair": facial_hair, "bald": bald}
    others = [
        *(direction or []),
        *(f"sefa{k}" for k in sefa or []),
        *(f"pca{k}" for k in pca or []),
    ]
    if len(others) != len(amount or []):
        raise WplusError(
            f"{len(others)} of --direction, --sefa and --pca, and {len(amount or [])} of --amount:"
            " each needs its own"
        )
    asked = [(name, value) for name, value in names.items() if value is not None]
    asked += zip(others, amount or [])
    if not asked:
        raise WplusError("nothing to edit; say --smile 2, for example, or see: wplus edit --help")
    folder_for(out)
    network = common.load()
    chosen = moves(network, dict(asked), layers, directions)
    failed = False
    for given in read_given(inputs, network, common):
        if not isinstance(given, Given):
            failed = True
            print_error(given)
            continue
        codes = apply(given.code[None], chosen)
        before, after = (
            images.to_picture(network.decode(code)) for code in (given.code[None], codes)
        )
        images.save(after, out / f"{given.stem}.png")
        metadata = {**given.metadata, "edits": {move.name: value for move, value in chosen}}
        code_files.save(codes[0], out / f"{given.stem}{code_files.SUFFIX}", metadata)
        label = ", ".join(f"{move.name} {value:+g}" for move, value in chosen)
        pair = [picture.resize((512, 512)) for picture in (before, after)]
        images.save(images.side_by_side(pair, ["before", label]), out / f"{given.stem}.compare.png")
        print(out / f"{given.stem}.png")
    return int(failed)


@app.command(group=EDITING)
def explore(
    inputs: Inputs,
    /,
    *,
    out: Path,
    what: Literal["named", "sefa", "pca"] = "named",
    directions: Path | None = None,
    count: int = 8,
    columns: int = 5,
    reach: float | None = None,
    layers: str = "all",
    size: int = 192,
    common: Common = DEFAULTS,
) -> int:
    """See what directions do to a face: a row for each, a column for each amount.

    Writes NAME.explore.png for every input.

    Example: wplus explore photo.jpg --out out

    Example: wplus explore face.codes.safetensors --what sefa --layers coarse --out out

    Parameters
    ----------
    out
        Folder for the pictures; it is made.
    what
        The named directions, those of the generator's weights (sefa), or those of W (pca).
    directions
        File of named directions, instead of the shipped one.
    count
        How many of sefa or pca, the strongest first.
    columns
        How many amounts of each, 0 in the middle; an odd number.
    reach
        The largest amount either way; by default each direction's own range.
    layers
        Styles that may move: all, coarse, medium, fine, 64-256px, 8-17, …
    size
        Side of each picture in pixels.
    """
    from wplus import images
    from wplus.editing import closed_form, shipped
    from wplus.editing import directions as files
    from wplus.editing.tables import amounts_of
    from wplus.editing.tables import explore as draw
    from wplus.latents import layers_of

    folder_for(out)
    if not 16 <= size <= 1024:
        raise WplusError(f"--size {size}: use 16 to 1024 pixels")
    network = common.load()
    styles = layers_of(layers, network.generator.style_resolutions)
    if what == "sefa":
        rows = closed_form.sefa(network.generator, styles, count)
    elif what == "pca":
        rows = closed_form.pca(network.generator, styles, count)
    else:
        known = shipped(network.generator) if directions is None else files.load(directions)[0]
        rows = [d if layers == "all" else d.only(styles) for d in known.values()]
    amounts_of(rows[0], columns, reach)  # refuses before anything is inverted
    failed = False
    for given in read_given(inputs, network, common):
        if not isinstance(given, Given):
            failed = True
            print_error(given)
            continue
        with bar(False) as progress:
            report = partial(_advance, progress, progress.add_task(given.stem, total=len(rows)))
            page = draw(given.code, rows, network, columns, reach, size, report)
        images.save(page, out / f"{given.stem}.explore.png")
        print(out / f"{given.stem}.explore.png")
    return int(failed)


def _advance(progress: Progress, task: TaskID, done: int, total: int) -> None:
    progress.update(task, completed=done, total=total)
