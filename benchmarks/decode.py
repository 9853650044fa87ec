"""How fast we decode: StyleGAN2 beside a plain reading of it, MobileStyleGAN beside OpenVINO.

python benchmarks/decode.py --threads 2 --json decode.json
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ablations
import timing
import torch
import torch.nn.functional as F
from plain_stylegan2 import PlainStyleGAN2
from torch import Tensor

import wplus
from wplus import weights
from wplus.generators import Generator, StyleGAN2
from wplus.generators.stylegan2 import Block

Decode = Callable[[Tensor], Tensor]
WITHIN = 1e-3  # how far from the plain reading we may be in float32
EQUAL, EQUAL_BFLOAT16 = 1e-4, 0.05  # mean differences that rounding explains, for ablations


def random_stylegan2(resolution: int) -> StyleGAN2:
    """Random weights with everything switched on: neither noise nor biases are zero."""
    torch.manual_seed(0)
    generator = StyleGAN2(resolution).eval().requires_grad_(False)
    for name, parameter in generator.named_parameters():
        if name.endswith("noise_strength"):
            parameter.fill_(0.1)
        elif name.endswith("bias") and "affine" not in name:
            parameter.normal_(0.0, 0.1)
    return generator


def convolutions(generator: StyleGAN2, dtype: torch.dtype) -> tuple[Callable[[], None], float]:
    """The floor: every 3×3 convolution of the network and nothing else, and its GMAC.

    Channels-last, weights ready, outputs dropped.
    """
    jobs: list[tuple[Callable[..., Tensor], Tensor, Tensor, dict[str, int]]] = []
    macs = 0

    def add(weight: Tensor, size: int, up: bool) -> None:
        nonlocal macs
        out, inner = weight.shape[:2]
        macs += 9 * out * inner * size * size
        weight = weight.transpose(0, 1) if up else weight
        weight = weight.to(dtype).contiguous(memory_format=torch.channels_last)
        x = torch.randn(1, inner, size, size).to(dtype).to(memory_format=torch.channels_last)
        convolve = F.conv_transpose2d if up else F.conv2d
        jobs.append((convolve, x, weight, {"stride": 2} if up else {"padding": 1}))

    add(generator.stem.weight, 4, up=False)
    for block in generator.blocks:
        assert isinstance(block, Block)
        add(block.up.weight, block.resolution // 2, up=True)
        add(block.conv.weight, block.resolution, up=False)

    def run() -> None:
        for convolve, x, weight, options in jobs:
            convolve(x, weight, **options)

    return run, macs / 1e9


def difference(image: Tensor, expected: Tensor) -> dict[str, float]:
    """Largest and mean absolute difference; also in 1/255 of the range [-1, 1]."""
    apart = (image - expected).abs()
    largest, mean = float(apart.max()), float(apart.mean())
    return {"max": largest, "mean": mean, "max_255": largest * 127.5, "mean_255": mean * 127.5}


def show_difference(name: str, apart: Mapping[str, float]) -> None:
    print(
        f"{name}: max {apart['max']:.2g}, mean {apart['mean']:.2g}"
        f" (max {apart['max_255']:.2f}/255, mean {apart['mean_255']:.2f}/255)"
    )


def taken_back(
    table: Mapping[str, ablations.Ablation], decode: Decode, codes: Tensor, mean: float
) -> dict[str, Callable[[], Tensor]]:
    """A run for every row of a table of ablations; its image may differ from ours by `mean`."""

    def row(ablation: ablations.Ablation) -> Callable[[], Tensor]:
        def run() -> Tensor:
            with ablation():
                return decode(codes)

        return run

    expected = decode(codes)
    runs = {name: row(ablation) for name, ablation in table.items()}
    for name, run in runs.items():
        apart = difference(run(), expected)["mean"]
        assert apart <= mean, f"{name}: computes another image (mean difference {apart:.2g})"
    return runs


def stylegan2(resolution: int, rounds: int, steps: bool) -> dict[str, Any]:
    """Random weights: plain, ours in both types, and the convolutions alone."""
    generator = random_stylegan2(resolution)
    half = copy.deepcopy(generator).bfloat16()
    plain = PlainStyleGAN2(generator.state_dict())
    codes = torch.randn(1, generator.num_styles, generator.style_dim)
    floor, gmac = convolutions(generator, torch.float32)
    half_floor, _ = convolutions(generator, torch.bfloat16)

    expected, image = plain.synthesize(codes), generator.synthesize(codes)
    apart = difference(image, expected)
    half_apart = difference(half.synthesize(codes), expected)
    print(f"StyleGAN2 {resolution}², random weights; the image's deviation is {image.std():.2f}")
    show_difference("ours float32 from plain", apart)
    show_difference("ours bfloat16 from plain", half_apart)
    assert apart["max"] <= WITHIN, "our float32 image is not the plain reading's"

    variants = {
        "plain float32": lambda: plain.synthesize(codes),
        "ours float32": lambda: generator.synthesize(codes),
        "floor float32: its convolutions alone": floor,
        "ours bfloat16": lambda: half.synthesize(codes),
        "floor bfloat16: its convolutions alone": half_floor,
    }
    timings = timing.alternate(variants, rounds)
    report: dict[str, Any] = {
        "resolution": resolution,
        "gmac": round(gmac, 2),
        "float32_from_plain": apart,
        "bfloat16_from_plain": half_apart,
        "timings": show(f"StyleGAN2 decode ({gmac:.1f} GMAC)", timings, "plain float32"),
    }
    if not steps:
        return report

    climbed = {"plain float32": lambda: plain.synthesize(codes)} | taken_back(
        ablations.STAIRS, generator.synthesize, codes, EQUAL
    )
    timings = timing.alternate(climbed, rounds)
    report["stairs"] = timing.show("Step by step, float32", timings, "plain float32")
    for network, kind, mean in ((generator, "float32", EQUAL), (half, "bfloat16", EQUAL_BFLOAT16)):
        report[f"without_{kind}"] = without(ablations.STYLEGAN2, network, codes, mean, rounds)
    return report


def without(
    table: Mapping[str, ablations.Ablation],
    network: Generator,
    codes: Tensor,
    mean: float,
    rounds: int,
) -> dict[str, Any]:
    """Ours, and ours with one thing after the other taken back."""
    runs = {"ours": lambda: network.synthesize(codes)}
    runs |= taken_back(table, network.synthesize, codes, mean)
    kind = str(network.mean_w.dtype).removeprefix("torch.")
    timings = timing.alternate(runs, rounds)
    return timing.show(f"{type(network).__name__} with one thing taken back, {kind}", timings, "ours")


def mobilestylegan(threads: int, rounds: int, steps: bool) -> dict[str, Any]:
    """The default weights: ours in both types, and OpenVINO with the same files and threads."""
    model = wplus.load("mobilestylegan-ffhq")
    generator = model.generator
    half = copy.deepcopy(generator).bfloat16()
    codes = model.sample(1, truncation=0.7, seed=0)
    image = generator.synthesize(codes)
    half_apart = difference(half.synthesize(codes), image)
    variants = {
        "ours float32": lambda: generator.synthesize(codes),
        "ours bfloat16": lambda: half.synthesize(codes),
    }
    base = "ours float32"
    report: dict[str, Any] = {"bfloat16_from_float32": half_apart}
    print(f"\nMobileStyleGAN {generator.resolution}², FFHQ weights")
    try:
        reference = openvino_decoder(threads)
    except ImportError:
        print("openvino is not installed: no comparison with it (pip install openvino)")
    else:
        base = "OpenVINO float32"
        variants = {base: lambda: reference(codes), **variants}
        report["float32_from_openvino"] = difference(image, reference(codes))
        show_difference("ours float32 from OpenVINO", report["float32_from_openvino"])
        assert report["float32_from_openvino"]["max"] <= WITHIN, "not OpenVINO's image"
    show_difference("ours bfloat16 from ours float32", half_apart)
    timings = timing.alternate(variants, rounds)
    report["timings"] = timing.show("MobileStyleGAN decode", timings, base)
    if steps:
        for net, kind, mean in ((generator, "float32", EQUAL), (half, "bfloat16", EQUAL_BFLOAT16)):
            report[f"without_{kind}"] = without(ablations.MOBILE, net, codes, mean, rounds)
    return report


def openvino_decoder(threads: int) -> Decode:
    """The synthesis graph in OpenVINO, in float32 (its own choice on many CPUs is bfloat16).

    Raises:
        ImportError: openvino is not installed.
    """
    import openvino

    core = openvino.Core()
    name = "mobilestylegan-ffhq-synthesis"
    graph = core.read_model(weights.path(f"{name}.xml"), weights.path(f"{name}.bin"))
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    compiled = core.compile_model(graph, "CPU", settings)
    # The graph takes one w and repeats it for all layers.
    return lambda codes: torch.from_numpy(compiled(codes[:, 0].numpy())[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9, help="of which the median is taken")
    parser.add_argument("--resolution", type=int, default=1024, help="of StyleGAN2")
    parser.add_argument("--only", choices=("stylegan2", "mobilestylegan"))
    parser.add_argument("--no-steps", action="store_true", help="leave the ablations out")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    report: dict[str, Any] = {"machine": timing.machine(options.threads)}
    steps = not options.no_steps
    with torch.inference_mode():
        if options.only != "mobilestylegan":
            report["stylegan2"] = stylegan2(options.resolution, options.rounds, steps)
        if options.only != "stylegan2":
            report["mobilestylegan"] = mobilestylegan(options.threads, options.rounds, steps)
    timing.write(report, options.json)


if __name__ == "__main__":
    main()
