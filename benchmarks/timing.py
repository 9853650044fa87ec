"""Fair timing on a machine that others use too: the variants take turns, medians are compared."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("torch", "numpy", "pillow", "safetensors", "openvino")
INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")  # of interest


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
        }


@dataclass(frozen=True)
class Turns:
    """How variants are timed.

    Attributes:
        rounds: how often each runs, after one run to warm up.
        threads: of torch and of what it is compared with.
        cpu_time: count processor time instead of wall-clock time. Where two threads have to wait
            for each other on a crowded machine, even ratios of wall-clock times mean little; the
            processor time of one thread still does.
    """

    rounds: int
    threads: int
    cpu_time: bool = False

    def alternate(self, variants: Mapping[str, Callable[[], object]]) -> dict[str, Timing]:
        """Time the variants in turns, which spreads the load of other programs over all alike."""
        clock = time.process_time if self.cpu_time else time.perf_counter
        for run in variants.values():
            run()
        seconds: dict[str, list[float]] = {name: [] for name in variants}
        for _ in range(self.rounds):
            for name, run in variants.items():
                start = clock()
                run()
                seconds[name].append(clock() - start)
        return {name: Timing(values) for name, values in seconds.items()}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of every timed comparison."""
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9, help="of which the median is taken")
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="processor time of one thread: for machines that are busy with other work",
    )
    parser.add_argument("--json", type=Path, help="where to write the figures")


def turns(options: argparse.Namespace) -> Turns:
    """What the options ask for; sets torch's threads."""
    threads = 1 if options.cpu_time else options.threads
    torch.set_num_threads(threads)
    return Turns(options.rounds, threads, options.cpu_time)


def show(title: str, timings: Mapping[str, Timing], base: str) -> dict[str, Any]:
    """Print a table of medians with ratios to the variant `base`; return it for the report."""
    print(f"\n{title}\n{'':52}   median      best  × faster")
    for name, measured in timings.items():
        print(f"{name:52}{measured.row(timings[base])}", flush=True)
    return {name: measured.to_json(timings[base]) for name, measured in timings.items()}


def machine(turns: Turns | None = None) -> dict[str, Any]:
    """What the figures depend on; call it before the measurement, for the load of others."""
    model, flags = platform.processor() or platform.machine(), set[str]()
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else []:
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            model = value.strip()
        elif key.strip() in ("flags", "Features"):
            flags = set(value.split())
    load = os.getloadavg() if hasattr(os, "getloadavg") else ()
    return {
        "cpu": model,
        "cpu_count": os.cpu_count(),
        "instructions": [name for name in INSTRUCTIONS if name in flags],
        "load_average_before": [round(average, 2) for average in load],
        "threads": torch.get_num_threads(),
        "rounds": turns.rounds if turns else 1,
        "clock": "processor time" if turns and turns.cpu_time else "wall clock",
        "system": platform.system(),
        "python": platform.python_version(),
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
