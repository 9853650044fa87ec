"""From options to a report and its files."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path

import torch

from wplus import __version__, images
from wplus.errors import ConfigError
from wplus.evaluate import report as report_files
from wplus.evaluate.datasets import Dataset, Pairs, Photographs, Samples
from wplus.evaluate.methods import Method, codes_only, one_pass, refined
from wplus.evaluate.metrics import Scorer, load_scorer
from wplus.evaluate.options import Options
from wplus.evaluate.results import Report
from wplus.evaluate.run import evaluate
from wplus.evaluate.sheets import Sheet
from wplus.losses import LPIPS, LossNetworks
from wplus.optimize import fast_precision
from wplus.progress import ProgressFor, silent
from wplus.psp import PSP

WORST, FIRST = 10, 20  # images on the sheets


def evaluate_files(
    options: Options,
    model: PSP | None,
    out: Path | None = None,
    device: torch.device | str = "cpu",
    scorer: Scorer | None = None,
    lpips: LPIPS | None = None,
    progress: ProgressFor = lambda name: silent,
) -> tuple[Report, list[Path]]:
    """Evaluate a model or pairs of images, and write the results.

    Args:
        options: of the evaluation.
        model: the model of the options, in their precision; None for pairs.
        out: folder for `report.json`, `images.csv` and, for each dataset, sheets of the worst ten
            images and the first twenty; None writes nothing.
        device: where images are compared.
        scorer: the metrics; None loads those of the options.
        lpips: part of the loss of refinement; None loads it where it is needed.
        progress: see `run.evaluate`.

    Returns:
        The report, and the files that were written.

    Raises:
        ConfigError: a folder is missing, empty or not paired, or `out` cannot be used.
        FormatError, WeightsError: see `metrics.load_scorer`.
        OSError: `out` cannot be written.
    """
    datasets = _files(options)  # first: report a wrong folder before fetching anything
    if out is not None:
        _prepare(out, options)
    if scorer is None:
        face_net = None if options.face_net is None else str(options.face_net)
        scorer = load_scorer(device, face_net, [n.replace("-", "_") for n in options.without])
    if not scorer.names():
        raise ConfigError("without every metric of images there is nothing to score")
    methods: list[Method] = []
    if model is not None:
        methods.append(one_pass(model))
        if model.corrector is not None:
            methods.append(codes_only(model))
        if options.refine:
            networks = LossNetworks(model.device, lpips)
            precision = fast_precision(model.device) if options.precision == "auto" else None
            methods.append(refined(model, options.refine, networks, precision))
        if options.samples:
            datasets.append(Samples(model, options.samples, options.truncation))
    worst_by = scorer.names()[0]
    sheets = {d.name: [Sheet("worst", WORST, worst_by), Sheet("first", FIRST)] for d in datasets}
    batch = options.batch or (1 if torch.device(device).type == "cpu" else 8)
    report = evaluate(
        datasets, methods, scorer, batch=batch, seed=options.seed, sheets=sheets, progress=progress
    )
    versions = {"wplus": __version__, "torch": torch.__version__}
    report = replace(report, settings={**asdict(options), "device": str(device), **versions})
    files = []
    if out is not None:
        files = report_files.write(report, out)
        for name, both in sheets.items():
            for sheet in both:
                files.append(out / f"{name}-{sheet.kind}.png")
                images.save(sheet.draw(), files[-1])
    return report, files


def _files(options: Options) -> list[Dataset]:
    align, limit = options.align, options.limit
    datasets: list[Dataset] = []
    if options.data is not None:
        datasets.append(Photographs(options.data, align=align, limit=limit))
    if options.pairs is not None:
        datasets.append(Pairs(*options.pairs, options.suffixes, align=align, limit=limit))
    return datasets


def _prepare(out: Path, options: Options) -> None:
    """Make the folder first, so that hours of work do not end with one that cannot be written."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out}: is a file; the results need a folder")
    for folder in (options.data, *(options.pairs or ())):
        if folder is not None and out.resolve().is_relative_to(folder.resolve()):
            raise ConfigError(
                f"{out}: lies in {folder}, where its images would be scored the next time;"
                " choose another folder for the results"
            )
    out.mkdir(parents=True, exist_ok=True)
    if not os.access(out, os.W_OK):
        raise ConfigError(f"{out}: cannot be written")
