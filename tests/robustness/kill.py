"""Kill commands at random moments, and compare what the next run makes of it with an unkilled one.

    PYTHONPATH=tests:tests/weights OMP_NUM_THREADS=1 python tests/robustness/kill.py --times 100

Every trial forks this process (so torch is imported once), runs the command in it, kills it after a
random share of the time that the whole command takes, looks at what is left (every visible file
must be whole), runs the command to its end, and compares all files with those of the whole run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from toy_index import Index, handler, sha256, wheel

import tiny
from wplus import models
from wplus.cli import main, signals
from wplus.errors import FormatError, WeightsError
from wplus.files import PREFIX
from wplus.registry import Registry
from wplus.training import state
from wplus.weights import table
from wplus.weights.table import Archive, Asset

SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGTERM": signal.SIGTERM}
ENDS = {  # of a run that was sent the signal, or had ended before
    "SIGKILL": (-signal.SIGKILL, 0),
    "SIGTERM": (128 + signal.SIGTERM, 0),
}
SMALL = {"width": 8, "narrow": 2, "stem": 8, "stages": ((8, 8, 1), (8, 8, 1), (8, 8, 1))}


@dataclass(frozen=True)
class Command:
    """What is killed.

    Attributes:
        tokens: of the command line, for an output folder.
        whole: raises if a visible file is not whole.
    """

    tokens: Callable[[Path], list[str]]
    whole: Callable[[Path], None]


def commands(place: Path) -> dict[str, Command]:
    """The commands, and in `place` their inputs."""
    torch.manual_seed(0)
    photos = place / "photos"
    photos.mkdir()
    for number in range(6):
        noise = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(noise).resize((96, 96)).save(photos / f"{number}.png")
    models.save(tiny.model("mobilestylegan", None), place / "generator.safetensors")
    models.save(tiny.model(), place / "model.safetensors")
    settings = {
        **{"data": photos, "hold-out": 2, "workers": 0, "trunk": "none", "device": "cpu"},
        **{"generator": place / "generator.safetensors", "encoder-options": json.dumps(SMALL)},
        **{"lpips": 0, "identity": 0, "batch": 2, "steps": 8, "previews": 1, "log-every": 1},
        **{"save-every": 2, "validate-every": 4},
    }
    flags = [str(word) for name, value in settings.items() for word in (f"--{name}", value)]
    invert = ["invert", str(photos), "--no-align", "--model", str(place / "model.safetensors")]
    return {
        "train": Command(lambda out: ["train", *flags, "--out", str(out)], whole_run),
        "prepare": Command(
            lambda out: ["prepare", "sketches", str(photos), "--out", str(out)], whole_files
        ),
        "models fetch": Command(
            lambda out: ["models", "fetch", *(f"{n}.bin" for n in range(3))], whole_assets
        ),
        "invert": Command(lambda out: [*invert, "--out", str(out)], whole_files),
    }


def whole_files(folder: Path) -> None:
    """Read every visible file."""
    for file in visible(folder):
        if file.suffix in (".png", ".jpg"):
            with Image.open(file) as image:
                image.load()
        elif file.suffix == ".safetensors":
            with safe_open(file, framework="pt") as tensors:
                for name in tensors.keys():  # noqa: SIM118 (not a dict)
                    tensors.get_tensor(name)
        elif file.suffix == ".json":
            json.loads(file.read_text())


def whole_run(folder: Path) -> None:
    """Also read states; the log's last line may be cut."""
    whole_files(folder)
    for file in state.states(folder):
        state.read(file)


def whole_assets(folder: Path) -> None:
    """Compare sums of what is in the cache."""
    for row in table.ASSETS.values():
        file = folder / row.name
        if file.exists() and sha256(file.read_bytes()) != row.sha256:
            raise FormatError(f"{file}: is not whole")


def visible(folder: Path) -> list[Path]:
    """Files whose paths have no hidden part."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return [f for f in files if not any(p.startswith(".") for p in f.relative_to(folder).parts)]


def contents(folder: Path) -> dict[str, str]:
    """A digest for each visible file, without what depends on the clock or on chance."""
    found = {}
    for file in visible(folder):
        content = file.read_bytes()
        if file.name == "metrics.jsonl":
            lines = [json.loads(line) for line in content.splitlines()]
            content = repr([{**x, "images_per_second": 0} for x in lines]).encode()
        elif file.suffix == ".safetensors":  # safetensors writes metadata in any order
            with safe_open(file, framework="pt") as tensors:
                content = repr(sorted((tensors.metadata() or {}).items())).encode()
                for name in sorted(tensors.keys()):
                    content += name.encode() + tensors.get_tensor(name).numpy().tobytes()
        if "tensorboard" not in file.parts:
            found[str(file.relative_to(folder))] = hashlib.sha256(content).hexdigest()
    return found


def fork(tokens: list[str], said: Path) -> int:
    """Start the command in a process of its own; its output goes to a file."""
    said.unlink(missing_ok=True)
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        signals.catch()
        main_in(tokens, said)
        code = 0
    except KeyboardInterrupt:
        code = signals.status()
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.stdout.flush()
        os._exit(code)


def main_in(tokens: list[str], said: Path) -> None:
    """The command, with its output in a file."""
    output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    main(tokens)


def end_of(child: int) -> int:
    """Its exit status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def trial(command: Command, name: str, at: float, place: Path, whole: dict[str, str]) -> str:
    """Kill one run; what happened in a word, or raises."""
    out, said = place / "out", place / "said"
    os.environ["WPLUS_CACHE"] = str(out)
    tokens = command.tokens(out)
    child = fork(tokens, said)
    time.sleep(at)
    os.kill(child, SIGNALS[name])
    status = end_of(child)
    text = said.read_text() if said.exists() else ""
    if not text and status == -SIGNALS[name]:
        status = ENDS[name][0]  # before it began
    assert "Traceback" not in text, text
    assert status in ENDS[name], (status, text)
    assert name == "SIGKILL" or not list(out.rglob(f"{PREFIX}*")), "SIGTERM left a temporary"
    command.whole(out)
    left = "left a temporary" if list(out.rglob(f"{PREFIX}*")) else "left none"
    status = end_of(fork(tokens, said))
    assert status == 0, said.read_text()
    assert contents(out) == whole, set(contents(out).items()) ^ set(whole.items())
    assert not [*out.rglob(f"{PREFIX}*"), *out.rglob("*.part")], "a temporary was not swept"
    shutil.rmtree(out)
    return left


def reference(command: Command, place: Path) -> tuple[dict[str, str], float]:
    """The files of a run that is not killed, and its seconds."""
    out = place / "out"
    os.environ["WPLUS_CACHE"] = str(out)
    began = time.monotonic()
    status = end_of(fork(command.tokens(out), place / "said"))
    assert status == 0, (place / "said").read_text()
    duration, whole = time.monotonic() - began, contents(out)
    shutil.rmtree(out)
    assert whole
    return whole, duration


def attack(chosen: dict[str, Command], given: argparse.Namespace, place: Path) -> bool:
    """Kill each command with each signal in turn; print the counts; whether nothing failed."""
    until = time.monotonic() + 60 * given.minutes
    whole = {name: reference(command, place) for name, command in chosen.items()}
    dice = random.Random(given.seed)
    counts = {(c, s): Counter[str]() for c in chosen for s in given.signals}
    for _ in range(given.times):
        for (name, signal_name), count in counts.items():
            if time.monotonic() > until:
                break
            files, duration = whole[name]
            at = dice.uniform(0, duration)
            try:
                count[trial(chosen[name], signal_name, at, place, files)] += 1
            except (AssertionError, WeightsError, FormatError, OSError, ValueError) as error:
                count["FAILED"] += 1
                print(f"{name}, {signal_name} after {at:.3f} s: {str(error)[:600]}", flush=True)
                shutil.rmtree(place / "out", ignore_errors=True)
    for (name, signal_name), count in counts.items():
        print(f"{name}: {sum(count.values())} x {signal_name}: {dict(count)}")
    return not any(count["FAILED"] for count in counts.values())


def serve(archive: bytes, file: str) -> None:
    """Point the table of assets and the environment at an index of one archive; fork its server."""
    index = Index({file: archive}, {"toy-net": [file]})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(index))
    os.environ["WPLUS_INDEX_URL"] = f"http://127.0.0.1:{server.server_port}/simple/"
    os.environ["NO_PROXY"] = "127.0.0.1"
    context = multiprocessing.get_context("fork")
    context.Process(target=server.serve_forever, daemon=True).start()


def main_of(given: argparse.Namespace) -> bool:
    """All commands, or some; whether nothing failed."""
    body = {f"toy/{n}.bin": random.Random(n).randbytes(2_000_000) for n in range(3)}
    file = "toy_net-1.0-py3-none-any.whl"
    archive = wheel(body)
    row = Archive("toy-net", "1.0", file, len(archive), sha256(archive), "MIT", "any use")
    rows = [
        Asset(f"{n}.bin", "toy", row, f"toy/{n}.bin", len(data), sha256(data))
        for n, data in enumerate(body.values())
    ]
    serve(archive, file)
    table.ASSETS = Registry("pretrained file", rows, WeightsError)
    with tempfile.TemporaryDirectory() as folder:
        chosen = commands(Path(folder))
        return attack({name: chosen[name] for name in given.only or chosen}, given, Path(folder))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=600.0)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--signals", nargs="*", default=list(SIGNALS))
    parser.add_argument("--seed", type=int, default=0)
    sys.exit(not main_of(parser.parse_args()))
