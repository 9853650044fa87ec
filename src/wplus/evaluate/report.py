"""A report as a table, as lines below it, and as files: JSON, CSV."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from wplus.evaluate.bootstrap import LEVEL, Interval
from wplus.evaluate.metrics import METRICS
from wplus.evaluate.results import MethodScores, Report
from wplus.files import atomic

JSON_FILE = "report.json"
CSV_FILE = "images.csv"
_NAMED = 5  # failures in a line of the summary


def table(report: Report) -> tuple[list[str], list[list[str]]]:
    """Columns and rows: a row for each metric, a column for each method and change from the first.

    The change of a metric is the mean difference to the first method on the same images.
    """
    heads = [""]
    for result in report.results:
        heads.append(f"{result.data}\n{result.method}")
        first = report.baseline(result.data)
        if first is not result:
            heads.append(f"change\nfrom {first.method}")
    rows: list[list[str]] = []

    def add(title: str, cell: Callable[[MethodScores], str], metric: str = "") -> None:
        cells = []
        for result in report.results:
            cells.append(cell(result))
            first = report.baseline(result.data)
            if first is not result:
                change = result.change_from(first)[metric] if metric else None
                cells.append(_interval(change, METRICS[metric].digits, "+") if change else "")
        if any(cells):
            rows.append([title, *cells])

    for name in report.results[0].values:
        digits = METRICS[name].digits
        add(report.title(name), lambda r, n=name, d=digits: _interval(r.means[n], d), name)  # type: ignore[misc]
    for name in report.results[0].sets:
        add(report.title(name), lambda r, n=name: _of_set(r, n))  # type: ignore[misc]
    add("seconds per image ↓", _seconds)
    add("images", lambda result: f"{len(result.names)}")
    return heads, rows


def _interval(interval: Interval, digits: int, sign: str = "") -> str:
    if interval.mean is None:
        return "–"
    mean = f"{interval.mean:{sign}.{digits}f}"
    if interval.low is None or interval.high is None:
        return mean
    return f"{mean} [{interval.low:{sign}.{digits}f}, {interval.high:{sign}.{digits}f}]"


def _of_set(result: MethodScores, metric: str) -> str:
    of_set = result.sets[metric]
    if of_set.value is None:
        return ""
    return f"{of_set.value:.{METRICS[metric].digits}f} (of {of_set.images} images)"


def _seconds(result: MethodScores) -> str:
    return "" if result.median_seconds is None else f"{result.median_seconds:.3g}"


def remarks(report: Report) -> list[str]:
    """Lines below the table: definitions, images without a score, caveats."""
    lines = [f"mean [{LEVEL:.0%} bootstrap interval over images]"]
    timed = next((result for result in report.results if result.seconds is not None), None)
    if timed is not None:
        size = f"batches of {timed.batch}" if timed.batch > 1 else "one at a time"
        lines[0] += f"; seconds: median, {size}, after a warm-up"
    for kind, count in Counter(failure.kind for failure in report.failures).items():
        labels = [failure.label for failure in report.failures if failure.kind == kind]
        more = f" and {count - _NAMED} more" if count > _NAMED else ""
        lines.append(f"{count} {kind}: {', '.join(labels[:_NAMED])}{more}")
    for name in report.results[0].sets:
        sets = [result.sets[name] for result in report.results]
        if any(s.value is not None and s.images < METRICS[name].unbiased_from for s in sets):
            lines.append(METRICS[name].caveat)
    return lines + report.notes


def write(report: Report, folder: Path) -> list[Path]:
    """Write `report.json` (everything) and `images.csv` (a row for each image and method).

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
        rows.writerow(["data", "method", "name", *metrics, "seconds"])
        for result in report.results:
            for i, name in enumerate(result.names):
                values = [result.values[metric][i] for metric in metrics]
                seconds = math.nan if result.seconds is None else result.seconds[i]
                cells = ["" if math.isnan(x) else repr(float(x)) for x in (*values, seconds)]
                rows.writerow([result.data, result.method, name, *cells])
    return [folder / JSON_FILE, folder / CSV_FILE]
