"""The fuzzer: mutated files of every kind through their readers, in processes with limits.

    PYTHONPATH=src python tests/fuzz/run_fuzz.py --count 100000 --seed 0

A reader may read a file or refuse it with one line. Everything else is a failure: another
exception, a signal, more than 10 s of processor time, more than 1 GiB of memory.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
PATHS = [HERE, HERE.parent, HERE.parent / "formats", HERE.parent / "reference"]
sys.path[:0] = [str(path) for path in PATHS]

Counts = dict[str, collections.Counter[str]]


def fuzz(
    count: int, seed: int = 0, kinds: str = "", timeout: float = 600
) -> tuple[Counts, list[str]]:
    """Read `count` mutated files.

    Args:
        count: how many.
        seed: of the first; the others follow it.
        kinds: parts of the corpus, with commas; empty for all.
        timeout: seconds of one process, which reads up to 5,000 files.

    Returns:
        Outcomes by file of the corpus, and one line for each failure.
    """
    import corpus

    counts: Counts = collections.defaultdict(collections.Counter)
    failures: list[str] = []
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
    environment["PYTHONPATH"] = os.pathsep.join(map(str, [*PATHS, *sys.path]))
    with tempfile.TemporaryDirectory() as name:
        environment["TMPDIR"] = name
        files, log, last = Path(name, "corpus"), Path(name, "log"), Path(name, "last")
        files.write_bytes(pickle.dumps(corpus.build()))
        place, end = seed, seed + count
        while place < end:
            log.write_text("")
            last.write_text("")
            number = min(5000, end - place)
            command = [sys.executable, str(HERE / "worker.py"), str(files), str(log)]
            command += [str(place), str(number), kinds]
            with last.open("r+b") as stderr:
                try:
                    code = subprocess.run(command, env=environment, stderr=stderr, timeout=timeout)
                    status = code.returncode
                except subprocess.TimeoutExpired:
                    status = 124
            entries = [json.loads(line) for line in log.read_text().splitlines()]
            for entry in entries:
                outcome = entry["outcome"]
                kind = outcome if outcome in ("read", "refused") else "failed"
                counts[entry["name"]][kind] += 1
                if kind == "failed":
                    failures.append(f"seed {entry['seed']}, {entry['name']}: {outcome}")
            place += len(entries)
            if status:
                said = last.read_text(errors="replace")
                if not entries and not said.partition(" ")[0].isdigit():
                    raise RuntimeError(said[-2000:])
                failures.append(f"seed {place}: the process ended with {status} ({said[:80]!r})")
                place += 1
    return counts, failures


def main() -> None:
    """Run and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default="")
    arguments = parser.parse_args()
    counts, failures = fuzz(arguments.count, arguments.seed, arguments.kinds)
    report(counts, failures)
    sys.exit(bool(failures))


def report(counts: Counts, failures: list[str]) -> None:
    """Print the outcomes as a table, and every failure."""
    print("| file | mutated | read | refused | failed |\n|---|--:|--:|--:|--:|")
    for name in sorted(counts):
        numbers = [counts[name][kind] for kind in ("read", "refused", "failed")]
        print(f"| {name} | {sum(numbers)} | " + " | ".join(map(str, numbers)) + " |")
    print(
        f"\n{sum(sum(each.values()) for each in counts.values())} files, {len(failures)} failures"
    )
    print("\n".join(failures))


if __name__ == "__main__":
    main()
