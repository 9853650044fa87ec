"""Commands on directions: find them, list those of a file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.table import Table

from wplus.cli.app import (
    DEFAULT_MODEL,
    EDITING,
    Device,
    Json,
    Model,
    app,
    bar,
    load_model,
    show,
    stages,
)
from wplus.errors import WplusError

directions_app = App(name="directions", help="Directions of editing: find, list.", group=EDITING)
app.command(directions_app)


@directions_app.command(name="find")
def directions_find(
    *,
    data: Annotated[list[Path], Parameter(negative=(), consume_multiple=True)],
    attributes: Path,
    out: Path,
    model: Model = DEFAULT_MODEL,
    only: Annotated[list[str] | None, Parameter(negative=(), consume_multiple=True)] = None,
    contrast: Annotated[list[str] | None, Parameter(negative=(), consume_multiple=True)] = None,
    samples: int | None = None,
    seed: int = 0,
    layers: str = "all",
    device: Device = "auto",
) -> int:
    """Find a direction for every attribute of a table, each leaving the others as they are.

    Learns to read the attributes from the photographs, finds the directions on their codes (or on
    samples of the generator, whose codes are exact), and tries each on 16 faces, so that amount 1
    changes its attribute by 1: by a degree of yaw, pitch and roll, by a standard deviation else.

    Example: wplus directions find --data photos --attributes faces.csv --out my.safetensors

    Parameters
    ----------
    data
        Folders of photographs, cropped as FFHQ is.
    attributes
        CSV; the first column names photographs without their suffix, the others are attributes.
    out
        The file to be written.
    only
        These columns of the table; by default all that can be used.
    contrast
        For columns of words, which word is 0 and which is 1, as in
        glasses=NoGlasses/ReadingGlasses; photographs with other words are left out.
    samples
        Find them on so many samples of the generator. By default 0 with an encoder, and 4000
        without one.
    seed
        Of the samples.
    layers
        Styles that may move: all, coarse, medium, fine, 64-256px, 8-17, …, or several with commas.
    """
    from wplus.editing import directions as files
    from wplus.editing.attributes import read_attributes
    from wplus.editing.search import search
    from wplus.latents import layers_of

    table = read_attributes(attributes, only or (), _contrasts(contrast or []))
    photographs = [path for folder in data for path in _pictures(folder)]
    network = load_model(model, device)
    count = (0 if network.encoder is not None else 4000) if samples is None else samples
    styles = tuple(layers_of(layers, network.generator.style_resolutions))
    with bar(False) as progress:
        found = search(
            network,
            photographs,
            table,
            count,
            seed,
            None if layers == "all" else styles,
            progress=stages(progress),
        )
    for line in found.unreadable:
        print(f"error: {line}", file=sys.stderr)
    about = {
        "model": model,
        "photographs": found.photographs,
        "samples": count,
        "seed": seed,
        "read": {name: round(share, 3) for name, share in found.shares.items()},
    }
    files.save(found.directions, out, about)
    show(_table(found.directions))
    print(out)
    return 1 if found.unreadable else 0


def _contrasts(texts: list[str]) -> dict[str, tuple[str, str]]:
    contrasts = {}
    for text in texts:
        column, equals, words = text.partition("=")
        zero, slash, one = words.partition("/")
        if not (equals and slash and column and zero and one):
            raise WplusError(f"--contrast {text}: say COLUMN=WORD/OTHER")
        contrasts[column] = (zero, one)
    return contrasts


def _pictures(folder: Path) -> list[Path]:
    suffixes = {".jpg", ".jpeg", ".png", ".webp"}
    if not folder.is_dir():
        raise WplusError(f"{folder}: is no folder of photographs")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes)
    if not found:
        raise WplusError(f"{folder}: has no photographs (JPEG, PNG or WebP)")
    return found


@directions_app.command(name="list")
def directions_list(
    file: Annotated[Path | None, Parameter(help="File of directions.")] = None,
    /,
    *,
    json_output: Json = False,
) -> None:
    """List the directions of a file, or those that come with the default generator.

    Example: wplus directions list

    Example: wplus directions list my.safetensors
    """
    from wplus.editing import directions as files

    found = files.shipped() if file is None else files.load(file)[0]
    if json_output:
        rows = [
            {
                "name": d.name,
                "unit": d.unit,
                "range": [d.low, d.high],
                "layers": d.layers,
                "found": d.found,
                "figures": dict(d.figures or {}),
            }
            for d in found.values()
        ]
        print(json.dumps(rows, indent=2))
        return
    show(_table(list(found.values())))


def _table(directions: list) -> Table:  # type: ignore[type-arg]
    table = Table("name", "amount 1", "range", "readable", "changes most of the others", "found")
    for d in directions:
        figures = d.figures or {}
        others = sorted(figures.get("others", {}).items(), key=lambda item: -abs(item[1]))
        most = ", ".join(f"{name} {value:+.2f}" for name, value in others[:2])
        readable = f"{figures['readable']:.2f}" if "readable" in figures else ""
        table.add_row(d.name, d.unit, f"{d.low:g} to {d.high:g}", readable, most, d.found)
    return table
