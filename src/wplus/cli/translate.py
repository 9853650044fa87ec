"""The command that runs every task of the paper on files."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.table import Column

from wplus.cli.app import FACES, Device, Flag, Json, app, device_of
from wplus.cli.memory import keep_freed_memory
from wplus.cli.terminal import print_table, report
from wplus.inference.options import Options

if TYPE_CHECKING:
    from wplus.inference.results import Result


@Parameter(name="*")
@dataclass(frozen=True)
class TranslateFlags(Options):  # noqa: D101 (its help is the base's)
    all_faces: Flag = False
    overwrite: Flag = False
    compare: Flag = False
    paste: Flag = False
    mask: Path | None = None
    box: str | None = None


@app.command(group=FACES)
def translate(
    inputs: Annotated[
        list[str], Parameter(required=True, negative=(), help="Images, or folders of them.")
    ],
    /,
    *,
    task: str,
    out: Path,
    model: str | None = None,
    options: TranslateFlags | None = None,
    device: Device = "auto",
    json_output: Json = False,
) -> int:
    """Translate images to faces: one command for every task of the paper.

    For every input, writes NAME.png (the output) and NAME.codes.safetensors (its code) into the
    output folder; further outputs are NAME-out1.png, NAME-out2.png, ….

    Example: wplus translate --task super_resolution small.jpg --out out --compare

    Example: wplus translate --task inversion photo.jpg --refine 30 --paste --out out

    Example: wplus translate --task inpainting photo.jpg --box 120,80,60,40 --out out

    Example: wplus translate --task sketch drawing.png --outputs 4 --seed 1 --out out

    Parameters
    ----------
    task
        inversion, frontalization, sketch, labels, super_resolution, toonify, inpainting or domain.
    out
        Folder for the results; it is made.
    model
        A shipped model's name, or a model file of any known kind; without it, the shipped model of
        the task.
    json_output
        Print the results as JSON, for programs.
    """
    from wplus.inference.run import open_inference
    from wplus.tasks import TASKS

    options = options or TranslateFlags()
    row = TASKS.find(task.replace("-", "_"))
    inference = open_inference(row, model, device_of(device), options)
    if inference.steps:
        keep_freed_memory()
    return report(
        lambda progress: inference.run(inputs, out, progress), _show, json_output, _to_json
    )


def _to_json(result: Result) -> dict[str, Any]:
    entry = asdict(result)
    figures = entry.pop("figures")
    names = ("factor", "consistency_before", "consistency", "steps", "warmup_steps")
    return {"input": entry.pop("input"), "pictures": entry.pop("images"), **entry} | {
        name: figures[name] for name in names
    }


def _show(results: list[Result]) -> None:
    names = ("input", "output", "outputs", "factor", "consistency (dB)", "steps", "seconds")
    rows = []
    for r in results:
        made = r.figures
        factor = "" if made.factor is None else f"×{made.factor:.3g}"
        agreement = "" if made.consistency is None else f"{made.consistency:.1f}"
        if made.steps and made.consistency_before is not None:
            agreement = f"{made.consistency_before:.1f} → {agreement}"
        figures = (len(r.images), factor, agreement, made.steps, f"{r.seconds:.1f}")
        rows.append((r.input, r.images[0], *figures))
    print_table([Column(name, overflow="fold") for name in names], rows)
