"""The command that runs every task of the paper on files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from rich.table import Column, Table

from wplus.cli.app import FACES, Device, Json, app, device_of
from wplus.cli.results import tell
from wplus.errors import ConfigError

if TYPE_CHECKING:
    from wplus.inference import Translation

Inputs = Annotated[
    list[str], Parameter(required=True, negative=(), help="Pictures, or folders of them.")
]
Flag = Annotated[bool, Parameter(negative=())]


@app.command(group=FACES)
def translate(
    inputs: Inputs,
    /,
    *,
    task: str,
    out: Path,
    model: str | None = None,
    outputs: int = 1,
    layers: str | None = None,
    alpha: float | None = None,
    seed: int = 0,
    refine: int | None = None,
    compare: Flag = False,
    paste: Flag = False,
    align: bool | None = None,
    factor: int | None = None,
    mask: Path | None = None,
    box: str | None = None,
    device: Device = "auto",
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    json_output: Json = False,
) -> int:
    """Translate pictures to faces: one command for every task of the paper.

    For every input, writes NAME.png (the answer) and NAME.codes.safetensors (its code) into the
    output folder; further answers are NAME-out1.png, NAME-out2.png, ….

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
    outputs
        How many answers to each input; in all but the first, styles are drawn at random.
    layers
        Which styles: coarse (pose, shape), medium (features), fine (colors), all, indices like
        8-17, or resolutions like 64-256px. Without it, those that the paper draws for the task.
    alpha
        How much of the random style replaces the code's, 0 to 1.
    seed
        The same seed gives the same answers.
    refine
        Steps of optimization on what is known of the output: the photograph, its small version or
        what lies outside of the hole. Without it: none where the model has an encoder for the task.
    compare
        Write NAME.compare.png: the input and the answers side by side.
    paste
        Photographs only: write NAME.pasted.png, the photograph with the answer in place of the
        face, which a face parser finds. (A filled photograph is always whole.)
    align
        Find the face and crop it as FFHQ is cropped; --no-align for pictures that are so already.
        Small square pictures to be enlarged are taken to be crops, unless --align is given.
    factor
        super_resolution: by how much the face is smaller than 256 pixels: 1, 2, 4, 8, 16 or 32.
        Without it, the size of the face says.
    mask
        inpainting: a picture of the photograph's size, white where something is missing; or a
        folder with one of the same name for every photograph.
    box
        inpainting: the missing region as X,Y,WIDTH,HEIGHT in pixels of the photograph. What is
        painted in pure magenta (255, 0, 255) or erased to transparency is missing too.
    precision
        Of the convolutions. auto refines in bfloat16 where the processor has it, and makes the
        final picture in float32.
    json_output
        Print the results as JSON, for programs.
    """
    import torch

    from wplus import tasks
    from wplus.inference import Options, load_for, translate_files
    from wplus.optimize import fast_precision

    row = tasks.TASKS.find(task.replace("-", "_"))
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out}: is a file; --out needs a folder")
    choice = device_of(device)
    options = Options(
        outputs=outputs,
        layers=layers,
        alpha=alpha,
        seed=seed,
        steps=refine,
        align=align,
        compare=compare,
        paste=paste,
        factor=factor,
        mask=mask,
        box=None if box is None else _box(box),
        precision=fast_precision(choice) if precision == "auto" else None,
    )
    options.check(row)  # before a model is fetched
    kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
    network, name = load_for(row, model, choice, kind)
    return tell(
        lambda report: translate_files(inputs, out, network, name, row, options, report),
        _table,
        json_output,
    )


def _box(text: str) -> tuple[int, int, int, int]:
    try:
        left, top, width, height = (int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(
            f"--box {text}: four whole numbers are needed, X,Y,WIDTH,HEIGHT, like 120,80,60,40"
        ) from None
    return left, top, width, height


def _table(good: list[Translation]) -> Table:
    names = ("input", "output", "answers", "factor", "consistency (dB)", "steps", "seconds")
    table = Table(*(Column(name, overflow="fold") for name in names))
    for r in good:
        factor = "" if r.factor is None else f"×{r.factor:.3g}"
        agreement = "" if r.consistency is None else f"{r.consistency:.1f}"
        if r.steps and r.consistency_before is not None:
            agreement = f"{r.consistency_before:.1f} → {agreement}"
        answers = f"{len(r.pictures)}"
        row = (r.input, r.pictures[0], answers, factor, agreement, f"{r.steps}")
        table.add_row(*row, f"{r.seconds:.1f}")
    return table
