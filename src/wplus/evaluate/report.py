"""A report as a table in the terminal, and as files: JSON, CSV."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from wplus.evaluate.bootstrap import LEVEL, Interval
from wplus.evaluate.frechet import UNBIASED_FROM
from wplus.evaluate.metrics import METRICS
from wplus.evaluate.results import Report, Result
from wplus.files import atomic

if TYPE_CHECKING:
    from rich.table import Table

JSON_FILE = "report.json"
CSV_FILE = "images.csv"
_NAMED = 5  # failures in a line of the summary


def table(report: Report) -> Table:
    """Metrics down, sets and ways across; after the first way of a set, also the change from it."""
    from rich.table import Column, Table

    columns = [Column("")]
    for result in report.results:
        columns.append(Column(f"{result.data}\n{result.way}", justify="right"))
        if report.first_way(result.data) is not result:
            columns.append(
                Column(f"change\nfrom {report.first_way(result.data).way}", justify="right")
            )
    shown = Table(*columns)
    for name in report.results[0].values:
        metric = METRICS[name]
        cells = [metric.title.format(face=report.face_net) + (" ↓" if metric.lower else " ↑")]
        for result in report.results:
            cells.append(_interval(result.mean(name), metric.digits))
            first = report.first_way(result.data)
            if first is not result:
                cells.append(_interval(result.change_from(first)[name], metric.digits, sign="+"))
        shown.add_row(*cells)
    _add_row(shown, report, "FID ↓", _fid)
    _add_row(shown, report, "seconds a picture ↓", _seconds)
    _add_row(shown, report, "pictures", lambda result: f"{len(result.names)}")
    return shown


def _add_row(shown: Table, report: Report, title: str, cell: Callable[[Result], str]) -> None:
    texts = [
        (cell(result), report.first_way(result.data) is not result) for result in report.results
    ]
    if any(text for text, _ in texts):
        shown.add_row(
            title, *(part for text, more in texts for part in ([text, ""] if more else [text]))
        )


def _interval(interval: Interval, digits: int, sign: str = "") -> str:
    if interval.mean is None:
        return "–"
    mean = f"{interval.mean:{sign}.{digits}f}"
    if interval.low is None or interval.high is None:
        return mean
    return f"{mean} [{interval.low:{sign}.{digits}f}, {interval.high:{sign}.{digits}f}]"


def _fid(result: Result) -> str:
    return "" if result.fid is None else f"{result.fid:.1f} (of {result.fid_images} pictures)"


def _seconds(result: Result) -> str:
    return "" if result.median_seconds is None else f"{result.median_seconds:.3g}"


def remarks(report: Report) -> list[str]:
    """Lines to stand under the table: what its numbers are, what was not scored, and caveats."""
    lines = [f"mean [{LEVEL:.0%} bootstrap interval over pictures]"]
    timed = next((result for result in report.results if result.seconds is not None), None)
    if timed is not None:
        size = f"batches of {timed.batch}" if timed.batch > 1 else "one at a time"
        lines[0] += f"; seconds: median, {size}, after a warm-up"
    kinds = Counter(failure.kind for failure in report.failures)
    for kind, count in kinds.items():
        found = [failure for failure in report.failures if failure.kind == kind]
        names = ", ".join(_name(failure.name, failure.way) for failure in found[:_NAMED])
        more = f" and {count - _NAMED} more" if count > _NAMED else ""
        lines.append(f"{count} {kind}: {names}{more}")
    few = sorted({result.fid_images for result in report.results if result.fid is not None})
    if few and few[0] < UNBIASED_FROM:
        lines.append(
            f"FID of fewer than {UNBIASED_FROM:,} pictures is too large, and the more so the fewer"
            " there are: compare it only between runs on as many"
        )
    return lines + report.notes


def _name(name: str, way: str) -> str:
    return f"{name} ({way})" if way else name


def write(report: Report, folder: Path) -> list[Path]:
    """Write `report.json` (everything) and `images.csv` (a row for each picture and way).

    Returns:
        Their paths.

    Raises:
        OSError: they cannot be written.
    """
    with atomic(folder / JSON_FILE) as temporary:
        text = json.dumps(report.to_dict(), indent=1, allow_nan=False, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    metrics = list(report.results[0].values)
    with (
        atomic(folder / CSV_FILE) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        rows = csv.writer(file)
        rows.writerow(["data", "way", "name", *metrics, "seconds"])
        for result in report.results:
            for i, name in enumerate(result.names):
                values = [result.values[metric][i] for metric in metrics]
                seconds = math.nan if result.seconds is None else result.seconds[i]
                cells = ["" if math.isnan(x) else repr(float(x)) for x in (*values, seconds)]
                rows.writerow([result.data, result.way, name, *cells])
    return [folder / JSON_FILE, folder / CSV_FILE]
