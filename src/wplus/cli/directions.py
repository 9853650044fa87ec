"""Commands on directions: find them, list those of a file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from wplus.cli.app import DEFAULT_MODEL, EDITING, Device, Json, Model, app, device_of
from wplus.cli.terminal import print_error, print_json, print_line, print_table, progress_bar
from wplus.editing.options import SearchOptions

if TYPE_CHECKING:
    from wplus.editing import Direction

directions_app = App(name="directions", help="Directions of editing: find, list.", group=EDITING)
app.command(directions_app)


@directions_app.command(
    name="find", default_parameter=Parameter(negative=(), consume_multiple=True)
)
def directions_find(
    *,
    options: Annotated[SearchOptions, Parameter(name="*")],
    out: Path,
    model: Model = DEFAULT_MODEL,
    device: Device = "auto",
) -> int:
    """Find a direction for every attribute of a table, each leaving the others as they are.

    Learns to read the attributes from the photographs, finds the directions on their codes (or on
    samples of the generator, whose codes are exact), and tries each on 16 faces, so that amount 1
    changes its attribute by 1: a degree of yaw, pitch and roll, else a standard deviation.

    Example: wplus directions find --data photos --attributes faces.csv --out my.safetensors

    Parameters
    ----------
    out
        The file to be written.
    """
    from wplus.editing.search import find_directions
    from wplus.models import load

    network = load(model, device_of(device))
    with progress_bar() as bars:
        result = find_directions(network, options, out, model, bars)
    for line in result.unreadable:
        print_error(line)
    _show(result.directions)
    print_line(out)
    return 1 if result.unreadable else 0


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

    known = files.shipped() if file is None else files.load(file)[0]
    if json_output:
        print_json([{"name": d.name, **d.about} for d in known.values()])
    else:
        _show(known.values())


def _show(directions: Iterable[Direction]) -> None:
    rows = []
    for d in directions:
        figures = d.figures or {}
        others = sorted(figures.get("others", {}).items(), key=lambda item: -abs(item[1]))
        most = ", ".join(f"{name} {value:+.2f}" for name, value in others[:2])
        readable = f"{figures['readable']:.2f}" if "readable" in figures else ""
        rows.append((d.name, d.unit, f"{d.low:g} to {d.high:g}", readable, most, d.found))
    names = ("name", "amount 1", "range", "readable", "changes most of the others", "found")
    print_table(names, rows)
