"""The command `wplus`: parse, call one library function, print."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from wplus import __version__
from wplus.errors import WplusError

if TYPE_CHECKING:  # torch takes seconds to import: help and file lists go without it
    import torch

    from wplus.invert import Inversion
    from wplus.psp import PSP

app = App(
    name="wplus",
    help="Photographs to the W+ codes of a pretrained StyleGAN, and back.",
    version=__version__,
)
models_app = App(name="models", help="The pretrained files: list, fetch, verify, where.")
app.command(models_app)

console = Console(stderr=True)
Model = Annotated[str, Parameter(help="A shipped model's name, or a model file of any known kind.")]
Device = Annotated[str, Parameter(help="auto, cpu, cuda, cuda:1, mps, ….")]
Precision = Literal["float32", "bfloat16"]
DEFAULT_MODEL = "mobilestylegan-ffhq"


def main() -> None:
    """Entry point: errors become one line on standard error and a non-zero exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        app()
    except WplusError as error:
        _fail(error)
    except KeyboardInterrupt:
        console.print("stopped")
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (OSError, MemoryError) as error:
        _fail(error if str(error) else "out of memory; close other programs or use --device")
    except Exception as error:
        if os.environ.get("WPLUS_DEBUG"):
            raise
        _fail(f"{type(error).__name__}: {error} (set WPLUS_DEBUG=1 to see where)")


def _fail(reason: object) -> None:
    print(f"error: {' '.join(str(reason).split())}", file=sys.stderr)
    sys.exit(1)


def _load(model: str, device: str, precision: Precision = "float32") -> PSP:
    import torch

    from wplus.models import load
    from wplus.psp import PSP

    network = load(model, _device(device), getattr(torch, precision))
    if not isinstance(network, PSP):
        raise WplusError(f"{model}: holds a {type(network).__name__}, not a model that makes faces")
    return network


def _device(name: str) -> torch.device:
    import torch

    if name != "auto":
        try:
            return torch.device(name)
        except RuntimeError:
            raise WplusError(f"--device {name}: use auto, cpu, cuda, cuda:1 or mps") from None
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


@contextmanager
def _bar(quiet: bool) -> Iterator[Progress]:
    columns = [TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()]
    hidden = quiet or not console.is_terminal
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=hidden) as progress:
        yield progress


@app.command
def invert(
    photos: Annotated[list[str], Parameter(required=True, negative=(), help="Photographs.")],
    /,
    *,
    out: Path,
    model: Model = DEFAULT_MODEL,
    refine: int | None = None,
    align: bool = True,
    all_faces: bool = False,
    device: Device = "auto",
    precision: Precision = "float32",
    json_output: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Turn photographs into W+ codes and reconstructions.

    For every face, writes NAME.png (the reconstruction), NAME.codes.safetensors (the code, with the
    crop's geometry) and NAME.compare.png (both side by side) into the output folder.

    Example: wplus invert portrait.jpg --out out

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
        bfloat16 is about twice as fast and slightly less exact.
    json_output
        Print the results as JSON, for programs.
    """
    from wplus.invert import Options, invert_files

    if refine is not None and refine < 0:
        raise WplusError(f"--refine {refine}: the number of steps cannot be negative")
    if out.exists() and not out.is_dir():
        raise WplusError(f"{out}: is a file; --out needs a folder")
    network = _load(model, device, precision)
    done = []
    with _bar(json_output) as progress:
        task = progress.add_task("", total=None)

        def report(path: str, step: int, steps: int) -> None:
            progress.update(task, description=Path(path).name, completed=step, total=steps)

        options = Options(refine, align, all_faces)
        for result in invert_files(photos, out, network, model, options, report):
            done.append(result)
            if result.error:
                print(f"error: {result.error}", file=sys.stderr)
    if json_output:
        print(json.dumps([asdict(result) for result in done], indent=2))
    else:
        _table(done)
    return 1 if any(result.error for result in done) else 0


def _table(done: list[Inversion]) -> None:
    good = [result for result in done if not result.error]
    if not good:
        return
    names = ("input", "face", "reconstruction", "LPIPS", "MSE", "steps", "seconds")
    table = Table(*(Column(name, overflow="fold") for name in names))
    for r in good:
        lpips = "" if r.lpips is None else f"{r.lpips:.3f}"
        row = (r.input, f"{r.face}", r.reconstruction, lpips, f"{r.mse:.4f}", f"{r.steps}")
        table.add_row(*map(str, row), f"{r.seconds:.1f}")
    Console().print(table)


@app.command
def align(
    photos: Annotated[list[str], Parameter(required=True, negative=(), help="Photographs.")],
    /,
    *,
    out: Path,
    size: int = 1024,
    all_faces: bool = False,
    json_output: Annotated[bool, Parameter(name="--json", negative=())] = False,
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


@app.command
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

    Example: wplus decode out/portrait.codes.safetensors --out again
    """
    from wplus import codes as code_files
    from wplus import images

    network = _load(model, device, precision)
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


@app.command
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
    network = _load(model, device, precision)
    for i, code in enumerate(network.sample(count, truncation, seed)):
        name = f"seed{seed}-{i:0{len(str(count - 1))}d}"
        images.save(network.decode(code[None])[0], out / f"{name}.png")
        metadata = {"model": model, "seed": seed, "index": i, "truncation": truncation}
        code_files.save(code, out / f"{name}{code_files.SUFFIX}", metadata)
        print(out / f"{name}.png")


@app.command
def convert(source: Path, destination: Path, /) -> None:
    """Convert a foreign model file to safetensors, safely.

    Reads published pSp, StyleGAN2 (.pt, NVIDIA .pkl), MobileStyleGAN (OpenVINO), ArcFace,
    CurricularFace, MoCo, LPIPS and MobileFaceNet (.onnx) files. No code of the file is run.

    Example: wplus convert psp_ffhq_encode.pt psp.safetensors
    """
    from wplus import checkpoints

    config = checkpoints.convert(source, destination)
    print(f"{destination}: {config}")


@models_app.command(name="list")
def models_list(
    *, json_output: Annotated[bool, Parameter(name="--json", negative=())] = False
) -> None:
    """List the files that can be fetched, and whether they are here."""
    from wplus import weights

    rows = [(asset, weights.cached(name)) for name, asset in weights.ASSETS.items()]
    if json_output:
        entries = [{**asdict(asset), "cached": str(path) if path else None} for asset, path in rows]
        print(json.dumps(entries, indent=2))
        return
    table = Table(Column("name", no_wrap=True), "role", Column("MB", justify="right"), "here")
    for asset, path in rows:
        table.add_row(asset.name, asset.role, f"{asset.size / 1e6:.1f}", "yes" if path else "")
    Console().print(table)


@models_app.command(name="fetch")
def models_fetch(names: list[str] | None = None, /) -> int:
    """Fetch files now (all of them without a name), for machines that will be offline."""
    from wplus import weights

    failed = False
    for name in names or list(weights.ASSETS):
        try:
            print(weights.fetch(name))
        except WplusError as error:
            failed = True
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    return int(failed)


@models_app.command(name="verify")
def models_verify() -> int:
    """Check the sums of all files that are here."""
    from wplus import weights

    states = [weights.verify(name) for name in weights.ASSETS]
    for status in states:
        print(f"{status.state:8} {status.name} {status.detail}".rstrip())
    return int(any(status.state == "damaged" for status in states))


@models_app.command(name="where")
def models_where() -> None:
    """Print the folder that the files are kept in."""
    from wplus import weights

    print(weights.cache_folder())
