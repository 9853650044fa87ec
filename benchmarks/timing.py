"""Fair timing on a machine that others use too: the variants take turns, medians are compared."""

from __future__ import annotations

import argparse
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
    """Seconds of one variant."""

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


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of every timed comparison."""
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9, help="of which the median is taken")
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="one thread, and count its processor time: for machines busy with other work",
    )


def alternate(
    variants: Mapping[str, Callable[[], object]], rounds: int, cpu_time: bool = False
) -> dict[str, Timing]:
    """Run every variant once to warm up, then `rounds` times in turns.

    Taking turns spreads the load of other programs over all variants alike. Where two threads have
    to wait for each other on a crowded machine even ratios of wall-clock times mean little; the
    processor time of a single thread (`cpu_time`) still does.
    """
    clock = time.thread_time if cpu_time else time.perf_counter
    for run in variants.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, run in variants.items():
            start = clock()
            run()
            seconds[name].append(clock() - start)
    return {name: Timing(values) for name, values in seconds.items()}


def show(title: str, timings: Mapping[str, Timing], base: str) -> dict[str, Any]:
    """Print a table of medians with ratios to the variant `base`; return it for the report."""
    print(f"\n{title}\n{'':52}   median      best  × faster")
    for name, measured in timings.items():
        print(f"{name:52}{measured.row(timings[base])}", flush=True)
    return {name: measured.to_json(timings[base]) for name, measured in timings.items()}


def machine(threads: int, cpu_time: bool = False) -> dict[str, Any]:
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
        "clock": "processor time" if cpu_time else "wall clock",
        "load_average_before": [round(load, 2) for load in os.getloadavg()],
        "python": platform.python_version(),
        "system": platform.system(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
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
