"""Commands on pictures and codes: invert, align, decode, sample."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from rich.table import Column, Table

from wplus.cli.app import (
    DEFAULT_MODEL,
    FACES,
    Device,
    Json,
    Model,
    Precision,
    app,
    load_model,
)
from wplus.cli.memory import keep_freed_memory
from wplus.cli.results import tell
from wplus.errors import WplusError

if TYPE_CHECKING:
    from wplus.invert import Inversion


@app.command(group=FACES)
def invert(
    photos: Annotated[list[str], Parameter(required=True, negative=(), help="Photographs.")],
    /,
    *,
    out: Path,
    model: Model = DEFAULT_MODEL,
    refine: int | None = None,
    align: bool = True,
    all_faces: Annotated[bool, Parameter(negative=())] = False,
    device: Device = "auto",
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    json_output: Json = False,
) -> int:
    """Turn photographs into W+ codes and reconstructions.

    For every face, writes NAME.png (the reconstruction), NAME.codes.safetensors (the code, with the
    crop's geometry) and NAME.compare.png (both side by side) into the output folder.

    Example: wplus invert photo.jpg --out out

    Example: wplus invert crops/*.png --no-align --refine 30 --out out

    Parameters
    ----------
    out
        Folder for the results; it is made.
    refine
        Steps of optimization from the encoder's code (or from the mean code). Without it: none with
        an encoder, 100 without one.
    align
        Find the face and crop it as FFHQ is cropped; --no-align for pictures that are so already.
    all_faces
        Invert every face of a picture, not only the largest.
    precision
        Of the convolutions. auto refines in bfloat16 where the processor has it, which takes less
        than half the time, and makes the final picture in float32.
    json_output
        Print the results as JSON, for programs.
    """
    from wplus.invert import Options, invert_files
    from wplus.optimize import fast_precision

    if refine is not None and refine < 0:
        raise WplusError(f"--refine {refine}: the number of steps cannot be negative")
    if out.exists() and not out.is_dir():
        raise WplusError(f"{out}: is a file; --out needs a folder")
    network = load_model(model, device, "float32" if precision == "auto" else precision)
    on_the_way = fast_precision(network.device) if precision == "auto" else None
    if refine or network.encoder is None:
        keep_freed_memory()
    options = Options(refine, align, all_faces, on_the_way)
    return tell(
        lambda report: invert_files(photos, out, network, model, options, report),
        _table,
        json_output,
    )


def _table(good: list[Inversion]) -> Table:
    names = ("input", "face", "reconstruction", "LPIPS", "MSE", "steps", "seconds")
    table = Table(*(Column(name, overflow="fold") for name in names))
    for r in good:
        lpips = "" if r.lpips is None else f"{r.lpips:.3f}"
        row = (r.input, f"{r.face}", r.reconstruction, lpips, f"{r.mse:.4f}", f"{r.steps}")
        table.add_row(*map(str, row), f"{r.seconds:.1f}")
    return table


@app.command(group=FACES)
def align(
    photos: Annotated[list[str], Parameter(required=True, negative=(), help="Photographs.")],
    /,
    *,
    out: Path,
    size: int = 1024,
    all_faces: Annotated[bool, Parameter(negative=())] = False,
    json_output: Json = False,
) -> int:
    """Find faces and crop them as FFHQ is cropped.

    Example: wplus align holiday/*.jpg --out crops --all-faces

    Parameters
    ----------
    out
        Folder for the crops (PNG); it is made.
    size
        Side of a crop in pixels.
    all_faces
        Crop every face of a picture, not only the largest.
    json_output
        Print the crops' geometry as JSON.
    """
    from wplus.faces.batch import align_files

    if not 16 <= size <= 8192:
        raise WplusError(f"--size {size}: a crop has 16 to 8192 pixels a side")
    results = list(align_files(photos, out, size, all_faces))
    for result in results:
        if result.error:
            print(f"error: {result.error}", file=sys.stderr)
        elif not json_output:
            print(result.crop)
    if json_output:
        print(json.dumps([asdict(result) for result in results], indent=2))
    return 1 if any(result.error for result in results) else 0


@app.command(group=FACES)
def decode(
    codes: Annotated[list[Path], Parameter(required=True, negative=(), help="Codes files.")],
    /,
    *,
    out: Path,
    model: Model = DEFAULT_MODEL,
    device: Device = "auto",
    precision: Precision = "float32",
) -> int:
    """Turn codes files into images.

    Writes NAME.png for every NAME.codes.safetensors, at the generator's full size.

    Example: wplus decode out/photo.codes.safetensors --out again

    Parameters
    ----------
    out
        Folder for the images; it is made.
    """
    from wplus import codes as code_files
    from wplus import images

    network = load_model(model, device, precision)
    failed = False
    for path in codes:
        try:
            code, _ = code_files.load(path)
            file = out / f"{path.name.removesuffix(code_files.SUFFIX)}.png"
            images.save(network.decode(code[None])[0], file)
            print(file)
        except WplusError as error:
            failed = True
            reason = str(error)
            print(
                f"error: {reason if str(path) in reason else f'{path}: {reason}'}", file=sys.stderr
            )
    return int(failed)


@app.command(group=FACES)
def sample(
    *,
    out: Path,
    count: int = 4,
    truncation: float = 0.7,
    seed: int = 0,
    model: Model = DEFAULT_MODEL,
    device: Device = "auto",
    precision: Precision = "float32",
) -> None:
    """Make random images, with their codes.

    Writes seedS-N.png and seedS-N.codes.safetensors.

    Example: wplus sample --out faces --count 8 --seed 1

    Parameters
    ----------
    out
        Folder for the images and codes; it is made.
    count
        How many.
    truncation
        1 for all the variety, less for cleaner images nearer to the mean.
    seed
        The same seed gives the same images.
    """
    from wplus import codes as code_files
    from wplus import images

    if count < 1:
        raise WplusError(f"--count {count}: at least 1")
    network = load_model(model, device, precision)
    for i, code in enumerate(network.sample(count, truncation, seed)):
        name = f"seed{seed}-{i:0{len(str(count - 1))}d}"
        images.save(network.decode(code[None])[0], out / f"{name}.png")
        metadata = {"model": model, "seed": seed, "index": i, "truncation": truncation}
        code_files.save(code, out / f"{name}{code_files.SUFFIX}", metadata)
        print(out / f"{name}.png")
