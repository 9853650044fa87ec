"""Fair timing on a machine that others use too: the variants take turns, medians are compared."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("torch", "numpy", "safetensors", "openvino")


class Timing:
    """Wall-clock seconds of one variant."""

    def __init__(self, seconds: list[float]) -> None:
        self.seconds = seconds
        self.median = statistics.median(seconds)
        self.best = min(seconds)

    def row(self, base: Timing) -> str:
        """Median, best, and how many times faster than `base` the medians are."""
        return f"{self.median:7.3f} s {self.best:7.3f} s {base.median / self.median:6.2f}×"

    def to_json(self, base: Timing) -> dict[str, float]:
        """The same for the report."""
        return {
            "median": round(self.median, 4),
            "best": round(self.best, 4),
            "times_faster": round(base.median / self.median, 3),
            "rounds": len(self.seconds),
        }


def alternate(variants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Timing]:
    """Run every variant once to warm up, then `rounds` times in turns.

    Taking turns spreads the load of other programs over all variants alike, so the ratios of the
    medians hold on a machine whose absolute times do not.
    """
    for run in variants.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, run in variants.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: Timing(values) for name, values in seconds.items()}


def machine(threads: int) -> dict[str, Any]:
    """What the figures depend on; call it before the measurement, for the load of others."""
    model, flags = "unknown", ""
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else []:
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            model = value.strip()
        elif key.strip() == "flags":
            flags = value
    return {
        "cpu": model,
        "cpu_count": os.cpu_count(),
        "instructions": [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f in flags],
        "threads": threads,
        "load_average_before": [round(load, 2) for load in os.getloadavg()],
        "python": platform.python_version(),
        "system": platform.system(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "mkldnn": torch.backends.mkldnn.is_available(),
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def write(report: Mapping[str, Any], path: Path | None) -> None:
    """Write a report as JSON, if a path was asked for."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
