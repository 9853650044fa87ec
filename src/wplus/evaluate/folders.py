"""From settings to a report and its files: wires sets, ways and judge together."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from wplus import __version__
from wplus.errors import ConfigError
from wplus.evaluate import report as report_files
from wplus.evaluate.data import DataSet, Pairs, Photographs, Samples
from wplus.evaluate.metrics import Judge, load_judge
from wplus.evaluate.results import Report
from wplus.evaluate.run import evaluate
from wplus.evaluate.settings import Settings
from wplus.evaluate.sheets import First, Sheet, Worst
from wplus.evaluate.ways import Given, OnePass, Refined, Way
from wplus.losses import load_lpips
from wplus.psp import PSP
from wplus.reconstruct import load_identity
from wplus.refine import fast_precision

WORST, FIRST = 10, 20  # pictures on the sheets


def evaluate_folders(
    settings: Settings,
    model: PSP | None,
    out: Path | None = None,
    device: torch.device | str = "cpu",
    judge: Judge | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[Report, list[Path]]:
    """Score what the settings name, and write what was found.

    Args:
        settings: what and how.
        model: what `settings.model` names, in the precision of the settings; None for pairs.
        out: folder for `report.json`, `images.csv` and, for each set, pictures of the worst ten and
            the first twenty; None writes nothing.
        device: where pictures are judged.
        judge: the metrics; None fetches those that the settings ask for.
        progress: see `run.evaluate`.

    Returns:
        The report, and the files that were written.

    Raises:
        ConfigError: a folder is missing, empty or not paired, or `out` cannot be used.
        FormatError, WeightsError: see `metrics.load_judge`.
        OSError: `out` cannot be written.
    """
    sets: list[DataSet] = []  # before the judge: a wrong folder shows before anything is fetched
    align, limit = settings.align, settings.limit
    if settings.data is not None:
        sets.append(Photographs(settings.data, align=align, limit=limit))
    if settings.pairs is not None:
        sets.append(Pairs(*settings.pairs, settings.suffixes, align=align, limit=limit))
    if out is not None:
        _prepare(out, settings)
    if judge is None:
        face_net = None if settings.face_net is None else str(settings.face_net)
        judge = load_judge(device, face_net, settings.without)
    ways: list[Way] = [Given()]
    if model is not None:
        ways = [OnePass(model)]
        if settings.refine:
            lpips = judge.lpips.get("alexnet") or load_lpips().to(device)
            on_the_way = fast_precision(model.device) if settings.precision == "auto" else None
            ways.append(Refined(model, settings.refine, lpips, on_the_way, load_identity(model)))
        if settings.samples:
            sets.append(Samples(model, settings.samples, settings.truncation))
    sheets = {} if out is None else {one.name: _sheets(judge) for one in sets}
    report = evaluate(
        sets,
        ways,
        judge,
        batch=settings.batch or (1 if torch.device(device).type == "cpu" else 8),
        seed=settings.seed,
        device=device,
        settings=_described(settings, device),
        sheets={name: list(kept.values()) for name, kept in sheets.items()},
        progress=progress,
    )
    return report, [] if out is None else _write(report, out, sheets)


def _described(settings: Settings, device: torch.device | str) -> dict[str, Any]:
    versions = {"wplus": __version__, "torch": torch.__version__}
    return {**settings.to_dict(), "device": str(device), **versions}


def _prepare(out: Path, settings: Settings) -> None:
    """Make the folder now: hours of work must not end in a folder that cannot be written."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out}: is a file; the results need a folder")
    for folder in settings.folders:
        if out.resolve().is_relative_to(folder.resolve()):
            raise ConfigError(
                f"{out}: lies in {folder}, where its pictures would be scored the next time;"
                " choose another folder for the results"
            )
    out.mkdir(parents=True, exist_ok=True)
    if not os.access(out, os.W_OK):
        raise ConfigError(f"{out}: cannot be written")


def _sheets(judge: Judge) -> dict[str, Sheet]:
    metric = next(name for name in judge.metrics if not name.startswith("psnr"))
    return {"worst": Worst(WORST, metric), "first": First(FIRST)}


def _write(report: Report, out: Path, sheets: dict[str, dict[str, Sheet]]) -> list[Path]:
    files = report_files.write(report, out)
    for name, kept in sheets.items():
        for kind, sheet in kept.items():
            file = out / f"{name}-{kind}.png"
            sheet.save(file)
            files.append(file)
    return files
