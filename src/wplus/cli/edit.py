"""Commands on codes: edit, explore, mix, morph, transplant."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from wplus.cli.app import EDITING, app
from wplus.cli.inputs import DEFAULTS, Common, Inputs
from wplus.cli.terminal import print_line, report
from wplus.editing.options import (
    EditOptions,
    ExploreOptions,
    MixOptions,
    MorphOptions,
    TransplantOptions,
)

if TYPE_CHECKING:
    from wplus.inference.results import Result

FLAGS = Parameter(name="*")
LISTS = Parameter(negative_iterable=())


@app.command(group=EDITING, default_parameter=LISTS)
def edit(
    inputs: Inputs,
    /,
    *,
    out: Path,
    options: Annotated[EditOptions | None, FLAGS] = None,
    common: Common = DEFAULTS,
) -> int:
    """Edit faces: smile, age, pose, glasses, …

    For every input, writes NAME.png, NAME.codes.safetensors and NAME.compare.png (before and
    after). `wplus directions list` says what amount 1 of each direction is, and `wplus explore`
    shows it. Take the smallest amount that is enough: large ones change the person.

    Example: wplus edit photo.jpg --smile 2 --yaw 10 --out out

    Example: wplus edit face.codes.safetensors --sefa 1 --amount -3 --layers coarse --out out

    Parameters
    ----------
    out
        Folder for the results; it is made.
    """
    from wplus.editing.files import edit_files

    options = options or EditOptions()
    inference = common.open()
    return report(lambda bars: edit_files(inputs, out, inference, options, bars), _show)


@app.command(group=EDITING)
def explore(
    inputs: Inputs,
    /,
    *,
    out: Path,
    options: Annotated[ExploreOptions | None, FLAGS] = None,
    common: Common = DEFAULTS,
) -> int:
    """See what directions do to a face: a row for each, a column for each amount.

    Writes NAME.explore.png for every input.

    Example: wplus explore photo.jpg --out out

    Example: wplus explore face.codes.safetensors --what sefa --layers coarse --out out

    Parameters
    ----------
    out
        Folder for the tables; it is made.
    """
    from wplus.editing.files import explore_files

    options = options or ExploreOptions()
    inference = common.open()
    return report(lambda bars: explore_files(inputs, out, inference, options, bars), _show)


@app.command(
    group=EDITING, default_parameter=Parameter(negative_iterable=(), consume_multiple=True)
)
def mix(
    inputs: Inputs,
    /,
    *,
    out: Path,
    options: Annotated[MixOptions | None, FLAGS] = None,
    common: Common = DEFAULTS,
) -> int:
    """Give a face some styles of others: the first input is the content, the others the styles.

    Writes CONTENT-with-STYLE.png and its code for every style. With --grid, one table of all pairs,
    mix.png: contents down the side, styles along the top.

    Example: wplus mix one.codes.safetensors two.codes.safetensors --layers medium --out out

    Example: wplus mix faces/*.codes.safetensors --grid --layers fine --out out

    Parameters
    ----------
    out
        Folder for the results; it is made.
    """
    from wplus.editing.files import mix_files

    options = options or MixOptions()
    inference = common.open()
    return report(lambda bars: mix_files(inputs, out, inference, options, bars), _show)


@app.command(group=EDITING)
def morph(
    inputs: Inputs,
    /,
    *,
    out: Path,
    options: Annotated[MorphOptions | None, FLAGS] = None,
    common: Common = DEFAULTS,
) -> int:
    """Morph from face to face, in equal steps of LPIPS.

    Writes the video, and beside it NAME.strip.png with some of its frames in a row.

    Example: wplus morph one.jpg two.jpg --frames 60 --out morph.gif

    Example: wplus morph one.jpg two.jpg three.jpg --ending loop --frames 120 --out morph.mp4

    Parameters
    ----------
    out
        The file: .mp4 (needs pip install 'wplus[video]'), .gif or .webp.
    """
    from wplus.editing.files import morph_files

    options = options or MorphOptions()
    inference = common.open()
    return report(lambda bars: [morph_files(inputs, out, inference, options, bars)], _show)


@app.command(group=EDITING)
def transplant(
    into: Annotated[str, Parameter(help="The face that receives: photograph or codes file.")],
    donor: Annotated[str, Parameter(help="The face that gives: photograph or codes file.")],
    /,
    *,
    out: Path,
    options: Annotated[TransplantOptions | None, FLAGS] = None,
    common: Common = DEFAULTS,
) -> int:
    """Put a region of one face into another, and keep the rest.

    Writes INTO-with-DONOR.png, its code, and all three side by side.

    Example: wplus transplant one.jpg two.jpg --region mouth --out out

    Example: wplus transplant one.jpg two.jpg --mask hat.png --blend --out out

    Parameters
    ----------
    out
        Folder for the results; it is made.
    """
    from wplus.editing.files import transplant_files

    options = options or TransplantOptions()
    inference = common.open()
    return report(
        lambda bars: [transplant_files(into, donor, out, inference, options, bars)], _show
    )


def _show(results: Sequence[Result]) -> None:
    for result in results:
        for image in result.images:
            print_line(image)
