"""Commands on model files: convert, and the pretrained files that can be fetched."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.table import Column

from wplus.cli.app import MODELS, Json, app
from wplus.cli.terminal import print_error, print_json, print_line, print_table
from wplus.errors import WplusError

models_app = App(
    name="models", help="The pretrained files: list, fetch, verify, where.", group=MODELS
)
app.command(models_app)


@app.command(group=MODELS)
def convert(
    source: Annotated[Path, Parameter(help="The foreign file, or the folder of OpenVINO files.")],
    destination: Annotated[Path, Parameter(help="The file to be written: NAME.safetensors.")],
    /,
) -> None:
    """Convert a foreign model file to safetensors, safely.

    Reads published pSp, StyleGAN2 (.pt, NVIDIA .pkl), MobileStyleGAN (OpenVINO), ArcFace,
    CurricularFace, MoCo, LPIPS, MobileFaceNet (.onnx) and BiSeNet files. No code of the file is
    run.

    `wplus.load` reads what it gives; what has a generator can be given as --model.

    Example: wplus convert psp_ffhq_encode.pt psp.safetensors

    Example: wplus convert 79999_iter.pth parser.safetensors
    """
    from wplus import models

    config = models.convert(source, destination)
    print_line(f"{destination}: {config}")


@models_app.command(name="list")
def models_list(*, json_output: Json = False) -> None:
    """List the files that can be fetched, and whether they are here.

    Example: wplus models list
    """
    from wplus import weights

    rows = [(asset, weights.cached(name)) for name, asset in weights.ASSETS.items()]
    if json_output:
        entries = [{**asdict(asset), "cached": str(path) if path else None} for asset, path in rows]
        print_json(entries)
        return
    columns = (Column("name", no_wrap=True), "role", Column("MB", justify="right"), "here")
    print_table(
        columns,
        [(a.name, a.role, f"{a.size / 1e6:.1f}", "yes" if path else "") for a, path in rows],
    )


@models_app.command(name="fetch")
def models_fetch(
    names: Annotated[
        list[str] | None, Parameter(help="Files as `wplus models list` names them; else all.")
    ] = None,
    /,
) -> int:
    """Fetch files now (all of them without a name), for machines that will be offline.

    Example: wplus models fetch scrfd-500m.onnx bisenet-faces.pth
    """
    from wplus import weights

    failed = False
    for name in names or list(weights.ASSETS):
        try:
            print_line(weights.fetch(name))
        except WplusError as error:
            failed = True
            print_error(error)
    return int(failed)


@models_app.command(name="verify")
def models_verify() -> int:
    """Check the sums of all files that are here.

    Example: wplus models verify
    """
    from wplus import weights

    states = [weights.verify(name) for name in weights.ASSETS]
    for status in states:
        print_line(f"{status.state:8} {status.name} {status.detail}".rstrip())
    return int(any(status.state == "damaged" for status in states))


@models_app.command(name="where")
def models_where() -> None:
    """Print the folder that the files are kept in; WPLUS_CACHE moves it.

    Example: wplus models where
    """
    from wplus import weights

    print_line(weights.cache_folder())
