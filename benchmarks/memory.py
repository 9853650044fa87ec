"""How much memory the whole published-size model takes, from its file to a decoded image.

    python benchmarks/memory.py --threads 2 --json memory.json

A model of the published layout with random weights (IR-SE-50 pyramid, 18 styles, StyleGAN2 1024:
297 M parameters, 267 M of them the encoder's) is written to a temporary folder, 2.4 GB of disk.
Each way of using it then runs in a process of its own, which loads the file, encodes one picture
and decodes the code:

* ours, from the published `.pt` and from our `.safetensors`, in float32 and bfloat16;
* the usual way: read the file into memory, build the networks with their random initialization,
  copy the weights in, forget what was read (the published scripts keep it, another 1.2 GB), decode
  by the plain reading of StyleGAN2.

The peak is what the system says (`VmHWM` of /proc, `ru_maxrss` elsewhere): everything resident,
libraries and mapped pages of the file among it.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import timing
import torch
from plain_stylegan2 import PlainStyleGAN2
from torch import Tensor

import wplus
from wplus import models
from wplus.config import ModelConfig, Part
from wplus.formats import facenets, psp, rosinality
from wplus.formats.strict import inverse
from wplus.nn.irse import STAGES_50

STYLES = 18
TRUNK = {"input_channels": 3, "stages": STAGES_50, "se": True}
PYRAMID = {"num_styles": STYLES, "input_channels": 3, "stages": STAGES_50}
STYLEGAN2 = {"resolution": 1024, "mapping_layers": 8}
CONFIG = ModelConfig(Part("stylegan2", STYLEGAN2), Part("pyramid", PYRAMID))

Report = dict[str, Any]


def write_published(path: Path) -> None:
    """A checkpoint in the published layout, with random weights."""
    torch.manual_seed(0)
    state: dict[str, Tensor] = {}
    encoder = models.build(Part("pyramid", PYRAMID)).state_dict()
    names = psp.head_table(psp.FAMILIES["GradualStyleEncoder"], STYLES)
    names |= {n: f"trunk.{m}" for n, m in facenets.trunk_table(TRUNK, "encoder.").items()}
    for name, theirs in inverse(names).items():
        state[theirs] = encoder[name]
    generator = models.build(Part("stylegan2", STYLEGAN2)).state_dict()
    for name, theirs in inverse(rosinality.table_of(STYLEGAN2, "decoder.")).items():
        state[theirs] = _their_shape(name, generator[name])
    options = {
        "encoder_type": "GradualStyleEncoder",
        "input_nc": 3,
        "label_nc": 0,
        "output_size": 1024,
        "start_from_latent_avg": True,
        "learn_in_w": False,
        "dataset_type": "ffhq_encode",
    }
    content = {"state_dict": state, "opts": options, "latent_avg": torch.randn(STYLES, 512)}
    torch.save(content, path)


def _their_shape(name: str, value: Tensor) -> Tensor:
    """Dimensions of size 1 that the published layout has for broadcasting."""
    if name.endswith("noise_strength"):
        return value.reshape(1)
    if "rgb" in name and name.endswith("bias") and "affine" not in name:
        return value.reshape(1, -1, 1, 1)
    if name.endswith("weight") and value.ndim == 4:
        return value[None]
    return value


def ours(path: Path, dtype: torch.dtype) -> Report:
    """Load, encode and decode with the library."""
    meter = Meter()
    model = wplus.load(path, dtype=dtype)
    meter.mark("load")
    codes = model.encode(photograph())
    meter.mark("encode")
    image = model.decode(codes)
    meter.mark("decode")
    return meter.report(image)


def usual(path: Path) -> Report:
    """The same by the usual way, see above."""
    meter = Meter()
    content = torch.load(path, map_location="cpu", weights_only=True, mmap=False)
    encoder, generator = (models.build(part) for part in (CONFIG.encoder, CONFIG.generator))  # type: ignore[arg-type]
    _, state = psp.translate(content, str(path))
    for network, prefix in ((encoder, "encoder."), (generator, "generator.")):
        own = {n[len(prefix) :]: v for n, v in state.items() if n.startswith(prefix)}
        network.load_state_dict(own)
        network.eval()
    mean_codes = state["mean_codes"].clone()
    del content, state, own
    decode = PlainStyleGAN2(generator.state_dict()).synthesize
    meter.mark("load")
    with patch.object(torch, "channels_last", torch.contiguous_format):
        codes = encoder(photograph()) + mean_codes
    meter.mark("encode")
    image = decode(codes)
    meter.mark("decode")
    return meter.report(image)


def photograph() -> Tensor:
    """(1, 3, 256, 256) in [-1, 1]."""
    return torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(1)) * 2 - 1


class Meter:
    """Seconds and resident memory, stage by stage."""

    def __init__(self) -> None:
        self.start = time.perf_counter()
        self.stages: dict[str, dict[str, float]] = {}
        self.mark("import")

    def mark(self, stage: str) -> None:
        """Note what the stage that ends here took, and the peak so far."""
        now = time.perf_counter()
        self.stages[stage] = {"seconds": round(now - self.start, 3), **resident()}
        self.start = time.perf_counter()

    def report(self, image: Tensor) -> Report:
        """Everything, for the parent process."""
        assert image.shape == (1, 3, 1024, 1024) and bool(image.isfinite().all())
        last = self.stages["decode"]
        after = last.get("anonymous_gb", 0.0) + last.get("file_gb", 0.0)
        return {"peak_gb": last["peak_gb"], "after_gb": round(after, 3), "stages": self.stages}


def resident() -> dict[str, float]:
    """Peak resident memory so far in GB; on Linux also what is resident now, by kind."""
    unit = 1 if platform.system() == "Darwin" else 1024
    found = {"peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9}
    status = Path("/proc/self/status")
    names = {"VmHWM": "peak_gb", "RssAnon": "anonymous_gb", "RssFile": "file_gb"}
    for line in status.read_text().splitlines() if status.exists() else []:
        key, _, value = line.partition(":")
        if key in names:
            found[names[key]] = int(value.split()[0]) * 1024 / 1e9
    return {name: round(value, 3) for name, value in found.items()}


WAYS = {
    "usual way, .pt, float32": lambda folder: usual(folder / "psp.pt"),
    "ours, .pt, float32": lambda folder: ours(folder / "psp.pt", torch.float32),
    "ours, .safetensors, float32": lambda folder: ours(folder / "psp.safetensors", torch.float32),
    "ours, .safetensors, bfloat16": lambda folder: ours(folder / "psp.safetensors", torch.bfloat16),
}


def in_a_process(way: str, folder: Path, threads: int) -> Report:
    """Run one way in a fresh interpreter."""
    command = [sys.executable, __file__, "--way", way, "--folder", str(folder)]
    done = subprocess.run(
        [*command, "--threads", str(threads)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{way} failed:\n{done.stderr}")
    report: Report = json.loads(done.stdout.splitlines()[-1])
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description="Peak memory and time of the whole model.")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="keep the model files here for the next run")
    parser.add_argument("--way", choices=WAYS, help="run this one way, here, and print its figures")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.way:
        with torch.no_grad():
            print(json.dumps(WAYS[options.way](options.folder)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "psp.safetensors").exists():
            write_published(folder / "psp.pt")
            models.save(models.load_network(folder / "psp.pt"), folder / "psp.safetensors")
        report: Report = {"machine": timing.machine()}
        print(f"{'':32} peak GB    after    load s  encode s  decode s")
        for way in WAYS:
            found = report[way] = in_a_process(way, folder, options.threads)
            seconds = [found["stages"][stage]["seconds"] for stage in ("load", "encode", "decode")]
            sizes = f"{found['peak_gb']:8.2f} {found['after_gb']:8.2f}"
            print(f"{way:32}{sizes}" + "".join(f"{s:10.2f}" for s in seconds))
    timing.write(report, options.json)


if __name__ == "__main__":
    main()
