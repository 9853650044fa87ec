"""Reads mutated files in a process of its own, with limits; `run_fuzz` starts it."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import resource
import sys
import tempfile
import time
import warnings
from pathlib import Path

SECONDS = 10.0  # of processor time for one file
MEMORY = 1 << 30  # bytes that reading one file may add


def main() -> None:
    """ARGUMENTS: corpus, log, first seed, number of files, parts of the corpus ("" for all)."""
    corpus_file, log, first, count, kinds = sys.argv[1:6]
    import corpus
    import mutate

    from wplus.errors import WplusError

    files: dict[str, bytes] = pickle.loads(Path(corpus_file).read_bytes())
    names = [name for name in files if not kinds or name.partition(":")[0] in kinds.split(",")]
    same = {n: [m for m in names if m.partition(":")[0] == n.partition(":")[0]] for n in names}
    readers = corpus.readers()
    warnings.simplefilter("ignore")
    folder = Path(tempfile.mkdtemp())
    for name in names:  # everything is imported and allocated before the limit is set
        (folder / "warm").write_bytes(files[name])
        with contextlib.suppress(WplusError):
            readers[name.partition(":")[0]](folder / "warm")
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))
    with open(log, "a", encoding="utf-8") as out:  # noqa: PTH123

        def note(**entry: object) -> None:
            out.write(json.dumps(entry) + "\n")
            out.flush()

        for seed in range(int(first), int(first) + int(count)):
            name = names[seed % len(names)]
            other = same[name][seed // len(names) % len(same[name])]
            data = mutate.mutated(files[name], files[other], seed)
            path = folder / f"f{'.xml' if name.startswith('graph') else ''}"
            path.write_bytes(data)
            if name.startswith("graph"):
                (folder / "f.bin").write_bytes(bytes(4000))
            os.pwrite(2, f"{seed} {name}\n".encode().ljust(80), 0)
            start = time.process_time()
            outcome = "read"
            try:
                readers[name.partition(":")[0]](path)
            except WplusError as error:
                outcome = "refused"
                if "\n" in str(error) or len(str(error)) > 700:
                    outcome = f"message: {str(error)[:200]!r}"
                elif "memory of this machine" in str(error):
                    outcome = "memory"
            except BaseException as error:
                outcome = f"{type(error).__name__}: {str(error)[:200]}"
            if time.process_time() - start > SECONDS:
                outcome = f"slow: {time.process_time() - start:.1f} s"
            note(seed=seed, name=name, outcome=outcome)


if __name__ == "__main__":
    main()
