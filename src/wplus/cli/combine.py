"""Commands that combine codes: mix, morph, transplant."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from rich.progress import Progress

from wplus.cli.app import EDITING, app, bar
from wplus.cli.given import DEFAULTS, Common, Inputs, all_given, folder_for
from wplus.errors import WplusError

if TYPE_CHECKING:
    from PIL.Image import Image


@app.command(group=EDITING)
def mix(
    inputs: Inputs,
    /,
    *,
    out: Path,
    layers: str = "fine",
    alpha: float = 1.0,
    grid: Annotated[bool, Parameter(negative=())] = False,
    columns: Annotated[list[str] | None, Parameter(negative=(), consume_multiple=True)] = None,
    size: int = 256,
    common: Common = DEFAULTS,
) -> None:
    """Give a face some styles of others: the first input is the content, the others the styles.

    Writes CONTENT-with-STYLE.png and its code for every style. With --grid, one table of all pairs,
    mix.png: contents down the side, styles along the top.

    Example: wplus mix one.codes.safetensors two.codes.safetensors --layers medium --out out

    Example: wplus mix faces/*.codes.safetensors --grid --layers fine --out out

    Parameters
    ----------
    out
        Folder for the results; it is made.
    layers
        Which styles are taken from the other face: coarse (pose, shape of the face), medium
        (features), fine (colors), all, 64-256px, 8-17, …, or several with commas.
    alpha
        How much of the other face's styles replaces the content's, 0 to 1.
    grid
        Make the table of all pairs instead, with every input as content.
    columns
        Photographs or codes files along the top of the table; by default the inputs.
    size
        Side of the table's pictures in pixels.
    """
    from wplus import codes as code_files
    from wplus import images, latents
    from wplus.editing.tables import mixing_table

    folder_for(out)
    if not 0 <= alpha <= 1:
        raise WplusError(f"--alpha {alpha:g}: use 0 to 1")
    if not 16 <= size <= 1024:
        raise WplusError(f"--size {size}: use 16 to 1024 pixels")
    if columns and not grid:
        raise WplusError("--columns is for --grid")
    if len(inputs) < 2 and not columns:
        raise WplusError("mixing needs a content and a style: give two inputs")
    network = common.load()
    styles = latents.layers_of(layers, network.generator.style_resolutions)
    if not styles:
        raise WplusError(f"--layers {layers}: this generator has no such styles")
    given = all_given([*inputs, *(columns or [])], network, common)
    if grid:
        import torch

        stacked = torch.stack([one.code for one in given])
        rows = stacked[: len(inputs)]
        tops = stacked[len(inputs) :] if columns else rows
        with bar(False) as progress:
            advance = _advance(progress, "mix")
            table = mixing_table(rows, tops, network, styles, alpha, size, advance)
        images.save(table, out / "mix.png")
        print(out / "mix.png")
        return
    content, *others = given
    for other in others:
        mixed = latents.mix(content.code[None], other.code[None], styles, alpha)
        name = f"{content.stem}-with-{other.stem}"
        images.save(network.decode(mixed)[0], out / f"{name}.png")
        metadata = {
            "model": common.model,
            "content": Path(content.path).name,
            "style": Path(other.path).name,
            "layers": styles,
            "alpha": alpha,
        }
        code_files.save(mixed[0], out / f"{name}{code_files.SUFFIX}", metadata)
        print(out / f"{name}.png")


@app.command(group=EDITING)
def morph(
    inputs: Inputs,
    /,
    *,
    out: Path,
    frames: int = 60,
    fps: float = 30.0,
    size: int = 512,
    ending: Literal["stop", "back", "loop"] = "stop",
    even: bool = True,
    common: Common = DEFAULTS,
) -> None:
    """Morph from face to face, in steps that look equally large.

    Writes the moving picture, and beside it NAME.strip.png with some of its frames in a row.

    Example: wplus morph one.jpg two.jpg --frames 60 --out morph.gif

    Example: wplus morph one.jpg two.jpg three.jpg --ending loop --frames 120 --out morph.mp4

    Parameters
    ----------
    out
        The file: .mp4 (needs pip install 'wplus[video]'), .gif or .webp.
    frames
        How many, over the whole path.
    fps
        Frames a second.
    size
        Side of the frames in pixels.
    ending
        stop at the last face, go back the same way, or loop straight to the first.
    even
        Measure the path with LPIPS; --no-even for equal steps in W+, which is quicker.
    """
    import torch

    from wplus import images
    from wplus.editing import morph as morphs
    from wplus.editing import video
    from wplus.editing.rendering import shown
    from wplus.losses import load_lpips

    video.check(out, fps)
    if len(inputs) < 2:
        raise WplusError("a morph needs at least two faces")
    if not 16 <= size <= 4096:
        raise WplusError(f"--size {size}: use 16 to 4096 pixels")
    if not len(inputs) <= frames <= 10_000:
        raise WplusError(f"--frames {frames}: use {len(inputs)} to 10000")
    network = common.load()
    given = all_given(inputs, network, common)
    lpips = load_lpips().to(network.device) if even else None
    strip = []
    with bar(False) as progress:
        path = morphs.morph(
            torch.stack([one.code for one in given]),
            network,
            frames,
            lpips,
            ending,
            progress=_advance(progress, "measuring"),
        )
        in_strip = {round(i * (frames - 1) / 7) for i in range(8)}
        advance = _advance(progress, "frames")

        def film() -> Iterator[Image]:
            """Frames as they are asked for: a long film takes no more memory than a short one."""
            for i, frame in enumerate(shown(path.codes(), network, size)):
                if i in in_strip:
                    strip.append(frame.resize((192, 192)))
                yield frame
                advance(i + 1, len(path.times))

        video.write(film(), out, fps)
    place = out.with_name(f"{out.stem}.strip.png")
    images.save(images.grid(strip, len(strip)), place)
    print(out)
    print(place)


@app.command(group=EDITING)
def transplant(
    into: Annotated[str, Parameter(help="The face that receives: photograph or codes file.")],
    donor: Annotated[str, Parameter(help="The face that gives: photograph or codes file.")],
    /,
    *,
    out: Path,
    region: str | None = None,
    mask: Path | None = None,
    steps: int = 60,
    blend: Annotated[bool, Parameter(negative=())] = False,
    common: Common = DEFAULTS,
) -> None:
    """Put a region of one face into another, and keep the rest.

    Writes INTO-with-DONOR.png, its code, and all three side by side.

    Example: wplus transplant one.jpg two.jpg --region mouth --out out

    Example: wplus transplant one.jpg two.jpg --mask hat.png --blend --out out

    Parameters
    ----------
    out
        Folder for the results; it is made.
    region
        eyes, brows, nose, mouth, chin, face or hair, or several with commas.
    mask
        Instead, a square picture that is white in the region, laid over the aligned face.
    steps
        Steps of optimization; --refine is for the photographs, before.
    blend
        Take the pixels outside of the region from the receiving face itself.
    """
    from wplus import codes as code_files
    from wplus import images
    from wplus.editing import regions
    from wplus.editing.transplant import SCHEDULE
    from wplus.editing.transplant import blend as blended
    from wplus.editing.transplant import transplant as move
    from wplus.losses import load_lpips
    from wplus.optimize import fast_precision

    folder_for(out)
    if (region is None) == (mask is None):
        raise WplusError("say one of --region and --mask")
    if not 1 <= steps <= 10_000:
        raise WplusError(f"--steps {steps}: use 1 to 10000")
    area = regions.region(region or "", 256) if mask is None else regions.read_mask(mask, 256)
    network = common.load()
    receiver, giver = all_given([into, donor], network, common)
    lpips = load_lpips().to(network.device)
    with bar(False) as progress:
        done = move(
            network,
            receiver.code,
            giver.code,
            area,
            lpips,
            schedule=replace(SCHEDULE, steps=steps),
            precision=fast_precision(network.device),
            progress=_advance(progress, "transplant"),
        )
    first, second, result = (
        network.decode(code[None]) for code in (receiver.code, giver.code, done.codes)
    )
    if blend:
        result = blended(first, result, area)
    name = f"{receiver.stem}-with-{giver.stem}"
    images.save(result[0], out / f"{name}.png")
    metadata = {**receiver.metadata, "donor": Path(donor).name, "region": region or str(mask)}
    code_files.save(done.codes, out / f"{name}{code_files.SUFFIX}", metadata)
    row = [images.to_picture(image).resize((384, 384)) for image in (first, second, result)]
    labels = ["into", "from", region or "mask"]
    images.save(images.side_by_side(row, labels), out / f"{name}.compare.png")
    print(out / f"{name}.png")


def _advance(progress: Progress, what: str) -> Callable[[int, int], None]:
    """A callback that moves a bar of its own."""
    task = progress.add_task(what, total=None)
    return lambda done, total: progress.update(task, completed=done, total=total)
