"""The command that scores a model, or a folder of reconstructions."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from wplus.cli.app import (
    DEFAULT_MODEL,
    MODELS,
    Device,
    Json,
    app,
    bar,
    device_of,
    load_model,
    show,
)
from wplus.cli.memory import keep_freed_memory

Left = Literal["lpips-alexnet", "lpips-vgg16", "identity", "fid"]


@app.command(group=MODELS)
def evaluate(
    *,
    model: str | None = None,
    data: Path | None = None,
    pairs: Annotated[tuple[Path, Path] | None, Parameter(negative=())] = None,
    suffixes: Annotated[tuple[str, str], Parameter(negative=())] = ("", ""),
    samples: int = 0,
    truncation: float = 1.0,
    refine: int = 0,
    align: Annotated[bool, Parameter(negative=())] = False,
    limit: int | None = None,
    out: Path | None = None,
    without: Annotated[list[Left] | None, Parameter(negative=(), consume_multiple=True)] = None,
    face_net: Path | None = None,
    batch: int | None = None,
    seed: int = 0,
    device: Device = "auto",
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    json_output: Json = False,
) -> int:
    """Score reconstructions: LPIPS, MSE, PSNR, identity, FID and time, with 95 % intervals.

    Everything is judged at 256². The pictures must be cropped as FFHQ is, or say --align. A model
    without an encoder is scored at its mean code. What cannot be read or scored is named.

    Example: wplus evaluate --data photos256 --refine 30 --out scores

    Example: wplus evaluate --pairs photos256 reconstructions

    Parameters
    ----------
    model
        A shipped model's name, or a model file of any known kind; without it and without --pairs,
        faces.
    data
        Folder of photographs to be reconstructed.
    pairs
        Instead of a model, two folders: what was to be reached, and what came out. Paired by stem.
    suffixes
        What the names in the two folders have after their stems, as in: --suffixes "" _out
    samples
        Also score the model on so many samples of its own generator, of unseen seeds.
    truncation
        Of these samples.
    refine
        Also score after so many steps of optimization from the first pass.
    align
        Find the faces of the photographs and crop them first.
    limit
        Only the first so many photographs, by name.
    out
        Folder for report.json, images.csv and pictures of the worst ten and the first twenty.
    without
        Leave out a score.
    face_net
        ONNX file of another face net for identity: takes (1, 3, S, S), RGB in [-1, 1].
    batch
        Pictures at once; by default 1 on a CPU and 8 on a GPU.
    seed
        Of the bootstrap.
    precision
        Of the convolutions. auto refines in bfloat16 where the processor has it, and makes the
        final pictures in float32, as wplus invert does.
    json_output
        Print everything as JSON instead of the table.
    """
    from wplus.evaluate import Settings, evaluate_folders, remarks, table

    name = model or (DEFAULT_MODEL if pairs is None else None)
    settings = Settings(
        model=name,
        data=data,
        pairs=pairs,
        suffixes=suffixes,
        samples=samples,
        truncation=truncation,
        refine=refine,
        align=align,
        limit=limit,
        without=without or (),
        face_net=face_net,
        batch=batch,
        seed=seed,
        precision=precision,
    )
    if refine:
        keep_freed_memory()
    network = None
    if name is not None:
        network = load_model(name, device, "float32" if precision == "auto" else precision)
    with bar(json_output) as progress:
        task = progress.add_task("", total=None)

        def advance(data_set: str, done: int, total: int) -> None:
            progress.update(task, description=data_set, completed=done, total=total)

        report, files = evaluate_folders(
            settings, network, out, device_of(device), progress=advance
        )
    for failure in report.failures:
        print(f"error: {failure.line}", file=sys.stderr)
    if json_output:
        print(json.dumps(report.to_dict(), indent=2, allow_nan=False))
    else:
        show(table(report))
        print("\n".join([*remarks(report), *map(str, files)]))
    return 1 if report.failures else 0
