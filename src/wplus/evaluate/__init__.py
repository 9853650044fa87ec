"""Scores of a model, or of a folder of outputs, with intervals; tables, reports and sheets.

scorer = wplus.evaluate.load_scorer()
photographs = wplus.evaluate.Photographs("photos", "photos256")
report = wplus.evaluate.evaluate([photographs], [wplus.evaluate.one_pass(model)], scorer)
report.results[0].means["lpips_alexnet"]          # mean and its 95 % interval
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wplus.evaluate.bootstrap import intervals
    from wplus.evaluate.datasets import Dataset, Pairs, Photographs, Samples
    from wplus.evaluate.files import evaluate_files
    from wplus.evaluate.methods import Method, codes_only, one_pass, refined
    from wplus.evaluate.metrics import METRICS, Measure, Metric, Scorer, load_scorer, of_pairs
    from wplus.evaluate.networks import FaceNet
    from wplus.evaluate.options import Options
    from wplus.evaluate.report import remarks, table, write
    from wplus.evaluate.run import evaluate

_NAMES = {
    "bootstrap": "intervals",
    "datasets": "Dataset Pairs Photographs Samples",
    "files": "evaluate_files",
    "methods": "Method codes_only one_pass refined",
    "metrics": "METRICS Measure Metric Scorer load_scorer of_pairs",
    "networks": "FaceNet",
    "options": "Options",
    "report": "remarks table write",
    "run": "evaluate",
}
__all__ = ["METRICS", "Dataset", "FaceNet", "Measure", "Method", "Metric", "Options", "Pairs"]
__all__ += ["Photographs", "Samples", "Scorer", "codes_only", "evaluate", "evaluate_files"]
__all__ += [
    "intervals",
    "load_scorer",
    "of_pairs",
    "one_pass",
    "refined",
    "remarks",
    "table",
    "write",
]


def __getattr__(name: str) -> Any:
    """Import a name on first use, so that the command reads `options` without importing torch."""
    for module, names in _NAMES.items():
        if name in names.split():
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
