"""Commands on photographs and codes: invert, align, decode, sample, paste."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.table import Column

from wplus.cli.app import (
    DEFAULT_MODEL,
    FACES,
    Device,
    Flag,
    Json,
    Model,
    Precision,
    app,
    device_of,
    load_model,
)
from wplus.cli.memory import keep_freed_memory
from wplus.cli.terminal import print_line, print_table, report
from wplus.errors import WplusError
from wplus.inference.options import InversionOptions

if TYPE_CHECKING:
    from wplus.inference.files import CropResult
    from wplus.inference.results import Result

Photos = Annotated[
    list[str], Parameter(required=True, negative=(), help="Photographs, or folders of them.")
]


@Parameter(name="*")
@dataclass(frozen=True)
class InvertFlags(InversionOptions):  # noqa: D101 (its help is the base's)
    all_faces: Flag = False
    overwrite: Flag = False


@app.command(group=FACES)
def invert(
    photos: Photos,
    /,
    *,
    out: Path,
    model: Model = DEFAULT_MODEL,
    options: InvertFlags | None = None,
    device: Device = "auto",
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
    json_output
        Print the results as JSON, for programs.
    """
    from wplus.inference.run import open_inversion

    options = options or InvertFlags()
    inference = open_inversion(model, device_of(device), options)
    if inference.steps:
        keep_freed_memory()
    return report(
        lambda progress: inference.run(photos, out, progress, "reconstruction"),
        _show_inversions,
        json_output,
        _inversion_json,
    )


def _show_inversions(results: list[Result]) -> None:
    names = ("input", "face", "reconstruction", "LPIPS", "MSE", "steps", "seconds")
    rows = []
    for r in results:
        lpips = "" if r.figures.lpips is None else f"{r.figures.lpips:.3f}"
        figures = (lpips, f"{r.figures.mse:.4f}", r.figures.steps, f"{r.seconds:.1f}")
        rows.append((r.input, r.face, r.images[0], *figures))
    print_table([Column(name, overflow="fold") for name in names], rows)


def _inversion_json(result: Result) -> dict[str, Any]:
    """One reconstruction, and the figures of inversion."""
    entry = asdict(result)
    for name, key in (("images", "reconstruction"), ("codes", "codes")):
        entry[key] = next(iter(entry.pop(name)), None)
    figures = entry.pop("figures")
    del entry["pasted"]
    return entry | {name: figures[name] for name in ("mse", "lpips", "steps", "warmup_steps")}


@app.command(group=FACES)
def align(
    photos: Photos,
    /,
    *,
    out: Path,
    size: int = 1024,
    all_faces: Flag = False,
    overwrite: Flag = False,
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
        Crop every face of a photograph, not only the largest.
    overwrite
        Replace crops of other photographs that have the same names, instead of numbering.
    json_output
        Print the crops' geometry as JSON.
    """
    from wplus.inference.files import align_files

    if not 16 <= size <= 8192:
        raise WplusError(f"--size {size}: a crop has 16 to 8192 pixels a side")
    return report(
        lambda _: align_files(photos, out, size, all_faces, overwrite),
        _print_crops,
        json_output,
    )


def _print_crops(results: list[CropResult]) -> None:
    for result in results:
        print_line(result.crop)


@app.command(group=FACES)
def decode(
    codes: Annotated[list[str], Parameter(required=True, negative=(), help="Codes files.")],
    /,
    *,
    out: Path,
    model: Model = DEFAULT_MODEL,
    overwrite: Flag = False,
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
    overwrite
        Replace images of other codes that have the same names, instead of numbering.
    """
    from wplus.inference.files import decode_files

    network = load_model(model, device, precision)
    return report(lambda _: decode_files(codes, out, network, overwrite), _print_images)


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
) -> int:
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
    from wplus.inference.files import sample_files

    if not 1 <= count <= 10_000:
        raise WplusError(f"--count {count}: 1 to 10,000 at a time; another --seed gives others")
    network = load_model(model, device, precision)
    return report(
        lambda _: sample_files(out, network, model, count, truncation, seed), _print_images
    )


def _print_images(results: list[Result]) -> None:
    for result in results:
        print_line(result.images[0])


@app.command(group=FACES)
def paste(
    photo: Annotated[Path, Parameter(help="The photograph that was inverted.")],
    result: Annotated[
        Path, Parameter(help="Square image of its crop, such as wplus invert makes.")
    ],
    /,
    *,
    codes: Path,
    out: Path,
    mask: Annotated[str, Parameter(help="face, head, ellipse, square, or an image.")] = "face",
    feather: float = 0.04,
    match_light: bool = True,
) -> None:
    """Put a result for an aligned face back into the original photograph.

    Example: wplus paste photo.jpg out/photo.png --codes out/photo.codes.safetensors --out new.jpg

    Parameters
    ----------
    codes
        The codes file written with the result; it says where in the photograph the face was.
    out
        File for the image: .png, .jpg or .webp.
    mask
        What is replaced: the face (found by a face parser, in photograph and result), the head with
        its hair, an ellipse (needs no parser), the whole square, or a square image in the crop's
        frame, white where the result shall show.
    feather
        Width of the fading border, as a share of the crop's side.
    match_light
        Make the result as bright and as tinted as the photograph along the border.
    """
    from wplus.inference.pasting import paste_file

    paste_file(photo, result, codes, out, mask, feather, match_light)
    print_line(out)
