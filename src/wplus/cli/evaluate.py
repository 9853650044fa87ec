"""The command that scores a model, or a folder of outputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.table import Column

from wplus.cli.app import DEFAULT_MODEL, MODELS, Device, Json, app, device_of, load_model
from wplus.cli.memory import keep_freed_memory
from wplus.cli.terminal import print_error, print_json, print_line, print_table, progress_bar
from wplus.evaluate.options import Options


@app.command(group=MODELS, default_parameter=Parameter(negative=(), consume_multiple=True))
def evaluate(
    *,
    options: Annotated[Options | None, Parameter(name="*")] = None,
    out: Path | None = None,
    device: Device = "auto",
    json_output: Json = False,
) -> int:
    """Score reconstructions: LPIPS, MSE, PSNR, identity, FID and time, with 95 % intervals.

    Images are compared at 256². Photographs must be cropped as FFHQ is; else say --align. A model
    without an encoder is scored at its mean code. Images that cannot be read or scored are named.

    Example: wplus evaluate --data photos256 --refine 30 --out scores

    Example: wplus evaluate --pairs photos256 reconstructions

    Parameters
    ----------
    out
        Folder for report.json, images.csv and sheets of the worst ten and the first twenty images.
    json_output
        Print the report as JSON instead of the table.
    """
    from wplus.evaluate import evaluate_files, remarks, table

    options, model = options or Options(), None
    if options.pairs is None:
        options = replace(options, model=options.model or DEFAULT_MODEL)
        precision = "float32" if options.precision == "auto" else options.precision
        model = load_model(options.model or DEFAULT_MODEL, device, precision)
    if options.refine:
        keep_freed_memory()
    with progress_bar(json_output) as bars:
        report, files = evaluate_files(options, model, out, device_of(device), progress=bars)
    for failure in report.failures:
        print_error(failure.line)
    if json_output:
        print_json(report.to_dict())
    else:
        (first, *heads), rows = table(report)
        print_table([first, *(Column(head, justify="right") for head in heads)], rows)
        for line in (*remarks(report), *files):
            print_line(line)
    return 1 if report.failures else 0
