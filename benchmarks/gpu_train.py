"""Training of the full-size pSp on a GPU: pictures a second, share of its peak, memory.

IR-SE-50 pyramid encoder (18 styles), StyleGAN2 at 1024², L2 + LPIPS + identity (IR-SE-50), Ranger,
random weights, bfloat16 under autocast as `wplus train --precision bfloat16` runs it. The share is
that of the multiplications which a step needs, counted once, in what the GPU's data sheet promises
for dense bfloat16; what is computed anew or in float32 does not count as work.

python benchmarks/gpu_train.py --json gpu_train.json
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import timing
import torch
from torch.utils.flop_counter import FlopCounterMode
from train_step import WEIGHTS, pictures, random_face_network

from wplus import losses
from wplus.config import ModelConfig, Part
from wplus.encoders import PyramidEncoder
from wplus.generators import StyleGAN2
from wplus.losses.objective import Objective
from wplus.psp import PSP
from wplus.training.ranger import Ranger
from wplus.training.step import EncoderLosses, Step

# Dense bfloat16 with float32 sums, 10¹² operations a second, by what the device calls itself.
PEAKS = {
    "H200": 989.0,
    "H100 PCIe": 756.0,
    "H100": 989.0,
    "A100": 312.0,
    "L40S": 362.0,
    "L4": 121.0,
    "A10": 125.0,
    "RTX 4090": 165.2,
    "RTX 3090": 71.0,
}


def peak(name: str) -> float | None:
    """What the data sheet says; None for a device that is not in the table."""
    return next((value for part, value in PEAKS.items() if part in name), None)


def make_step(resolution: int, compiled: bool, device: torch.device) -> Step:
    """The step as the training loop makes it."""
    torch.manual_seed(0)
    generator = StyleGAN2(resolution).eval().requires_grad_(False)
    encoder = PyramidEncoder(generator.num_styles).train().to(device)
    lowered = generator.to(device).at_precision(torch.bfloat16)
    networks = {
        "lpips": losses.load_lpips(),
        "identity": losses.IdentityLoss(random_face_network()),
    }
    objective = Objective(WEIGHTS, networks).to(device)
    if compiled:
        encoder.compile()
    decoder = partial(torch.compile(lowered) if compiled else lowered, noise="random")
    model = PSP(encoder, lowered, ModelConfig(Part("stylegan2", {})))
    compare = EncoderLosses(model, objective, decoder, bfloat16=True)
    return Step(encoder, compare, Ranger(encoder.parameters(), 1e-4))


def operations(step: Step, batch: dict[str, torch.Tensor]) -> float:
    """Multiplications and additions of a step, forward and back."""
    with FlopCounterMode(display=False) as counter:
        step(batch)
    return float(counter.get_total_flops())


def measure(
    step: Step, size: int, rounds: int, device: torch.device, flops_of_one: float
) -> dict[str, Any]:
    """Some rounds of five steps, the device waited for after each round."""
    source = pictures(size, seed=1).to(device)
    batch = {"source": source, "target": source}
    for _ in range(5):  # cuDNN chooses its algorithms, and compilation compiles
        step(batch)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(5):
            step(batch)
        torch.cuda.synchronize()
        seconds.append((time.perf_counter() - start) / 5)
    median = statistics.median(seconds)
    terms = step(batch).terms
    highest = peak(torch.cuda.get_device_name())
    per_second = flops_of_one * size / median
    return {
        "batch": size,
        "seconds": round(median, 4),
        "images_per_second": round(size / median, 2),
        "teraflops": round(per_second / 1e12, 1),
        "share_of_peak": None if highest is None else round(per_second / (highest * 1e12), 4),
        "peak_memory_gb": round(torch.cuda.max_memory_allocated() / 1e9, 2),
        "loss": terms["loss"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Training of the full-size pSp on a GPU.")
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--resolution", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=9, help="of five steps each")
    parser.add_argument("--compile", action="store_true", help="torch.compile the networks")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("gpu_train: this needs a GPU with CUDA, and torch sees none here")
    device = torch.device("cuda")
    torch.backends.cudnn.benchmark = True
    name = torch.cuda.get_device_name()
    report: dict[str, Any] = {
        "machine": timing.machine(),
        "gpu": {
            "name": name,
            "memory_gb": round(torch.cuda.get_device_properties(device).total_memory / 1e9, 1),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
            "peak_teraflops": peak(name),
        },
        "settings": {"resolution": options.resolution, "compile": options.compile},
        "batches": [],
    }
    print(f"{name}, peak {peak(name)} Tflop/s in bfloat16, torch {torch.__version__}")
    one = pictures(2, seed=1).to(device)
    counted = make_step(options.resolution, False, device)  # compiled code hides what it computes
    flops_of_one = operations(counted, {"source": one, "target": one}) / 2
    del counted
    step = make_step(options.resolution, options.compile, device)
    report["teraflop_per_image"] = round(flops_of_one / 1e12, 3)
    print(f"{flops_of_one / 1e12:.2f} Tflop a picture\nbatch  images/s  Tflop/s   share  memory")
    for size in options.batches:
        try:
            row = measure(step, size, options.rounds, device, flops_of_one)
        except torch.cuda.OutOfMemoryError:
            row = {"batch": size, "error": "out of memory"}
            step.optimizer.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()
            print(f"{size:5}  out of memory", flush=True)
        else:
            share = "-" if row["share_of_peak"] is None else f"{row['share_of_peak']:.1%}"
            print(
                f"{size:5} {row['images_per_second']:9.1f} {row['teraflops']:8.1f} {share:>7}"
                f" {row['peak_memory_gb']:5.1f} GB",
                flush=True,
            )
        report["batches"].append(row)
    timing.write(report, options.json)


if __name__ == "__main__":
    main()
