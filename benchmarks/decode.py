"""How fast we decode: StyleGAN2 beside a plain reading of it, MobileStyleGAN beside OpenVINO.

python benchmarks/decode.py --threads 2 --json decode.json
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import ablations
import floors
import timing
import torch
from plain_stylegan2 import PlainStyleGAN2
from torch import Tensor

import wplus
from wplus import weights
from wplus.generators import Generator, MobileStyleGAN, StyleGAN2

Decode = Callable[[Tensor], Tensor]
Run = Callable[[], object]
Report = dict[str, Any]

WITHIN = 1e-3  # how far from the plain reading we may be in float32
DEVIATION = 0.5  # of the pixels of a photograph in [-1, 1]
# Mean differences that rounding explains, for ablations; another image is at 0.5.
EQUAL = {torch.float32: 1e-4, torch.bfloat16: 0.03}


def random_stylegan2(resolution: int, codes: Tensor) -> StyleGAN2:
    """Random weights with everything switched on: neither noise nor biases are zero.

    The layers to RGB are scaled so that the image of `codes` deviates as a photograph does:
    differences in 1/255 mean nothing otherwise.
    """
    generator = StyleGAN2(resolution).eval().requires_grad_(False)
    for name, parameter in generator.named_parameters():
        if name.endswith("noise_strength"):
            parameter.fill_(0.1)
        elif name.endswith("bias") and "affine" not in name:
            parameter.normal_(0.0, 0.1)
    scale = DEVIATION / generator.synthesize(codes).std()
    for name, parameter in generator.named_parameters():
        if "rgb" in name and "affine" not in name:
            parameter.mul_(scale)
    return generator


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


def ablated(
    table: Mapping[str, ablations.Ablation], network: Generator, codes: Tensor
) -> dict[str, Run]:
    """A run for every row of a table of ablations, each checked to compute our image."""

    def row(ablation: ablations.Ablation) -> Callable[[], Tensor]:
        def run() -> Tensor:
            with ablation():
                return network.synthesize(codes)

        return run

    expected = network.synthesize(codes)
    runs: dict[str, Run] = {}
    for name, ablation in table.items():
        run = runs[name] = row(ablation)
        apart = difference(run(), expected)["mean"]
        assert apart <= EQUAL[network.mean_w.dtype], f"{name}: another image ({apart:.2g} off)"
    return runs


def one_taken_back(
    table: Mapping[str, ablations.Ablation],
    networks: tuple[Generator, ...],
    codes: Tensor,
    turns: timing.Turns,
) -> Report:
    """For each network: ours, and ours with one thing after the other taken back."""
    report: Report = {}
    for network in networks:
        ours: Run = partial(network.synthesize, codes)
        timings = turns.alternate({"ours": ours, **ablated(table, network, codes)})
        kind = str(network.mean_w.dtype).removeprefix("torch.")
        title = f"{type(network).__name__} {kind} with one thing taken back"
        report[f"taken_back_{kind}"] = timing.show(title, timings, "ours")
    return report


def stylegan2(resolution: int, turns: timing.Turns, steps: bool) -> Report:
    """Random weights: plain, ours in both types, and the convolutions alone."""
    torch.manual_seed(0)
    codes = torch.randn(1, 2 * resolution.bit_length() - 4, 512)
    generator = random_stylegan2(resolution, codes)
    half = copy.deepcopy(generator).bfloat16()
    plain = PlainStyleGAN2(generator.state_dict())
    floor = floors.of_stylegan2(generator, torch.float32)

    print(f"StyleGAN2 {resolution}², random weights, {floor.gmac:.1f} GMAC")
    expected = plain.synthesize(codes)
    apart = difference(generator.synthesize(codes), expected)
    half_apart = difference(half.synthesize(codes), expected)
    show_difference("ours float32 from plain", apart)
    show_difference("ours bfloat16 from plain", half_apart)
    assert apart["max"] <= WITHIN, "our float32 image is not the plain reading's"

    base: dict[str, Run] = {"plain float32": lambda: plain.synthesize(codes)}
    timings = turns.alternate(
        base
        | {
            "ours float32": lambda: generator.synthesize(codes),
            "floor float32: its convolutions alone": floor,
            "ours bfloat16": lambda: half.synthesize(codes),
            "floor bfloat16: its convolutions alone": floors.of_stylegan2(half, torch.bfloat16),
        }
    )
    report: Report = {
        "resolution": resolution,
        "gmac": round(floor.gmac, 2),
        "float32_from_plain": apart,
        "bfloat16_from_plain": half_apart,
        "timings": timing.show("StyleGAN2 decode", timings, "plain float32"),
    }
    if steps:
        timings = turns.alternate(base | ablated(ablations.STAIRS, generator, codes))
        report["stairs"] = timing.show("Step by step, float32", timings, "plain float32")
        report |= one_taken_back(ablations.STYLEGAN2, (generator, half), codes, turns)
    return report


def mobilestylegan(turns: timing.Turns, steps: bool) -> Report:
    """The default weights: ours in both types, and OpenVINO with the same files and threads."""
    model = wplus.load("mobilestylegan-ffhq")
    generator = model.generator
    assert isinstance(generator, MobileStyleGAN)
    half = copy.deepcopy(generator).bfloat16()
    codes = model.sample(1, truncation=0.7, seed=0)
    floor = floors.of_mobilestylegan(generator, torch.float32)
    print(f"\nMobileStyleGAN {generator.resolution}², FFHQ weights, {floor.gmac:.1f} GMAC")

    image = generator.synthesize(codes)
    report: Report = {"gmac": round(floor.gmac, 2)}
    report["bfloat16_from_float32"] = difference(half.synthesize(codes), image)
    show_difference("ours bfloat16 from ours float32", report["bfloat16_from_float32"])
    variants: dict[str, Run] = {
        "ours float32": lambda: generator.synthesize(codes),
        "floor float32: its convolutions alone": floor,
        "ours bfloat16": lambda: half.synthesize(codes),
        "floor bfloat16: its convolutions alone": floors.of_mobilestylegan(half, torch.bfloat16),
    }
    base = "ours float32"
    try:
        reference = openvino_decoder(turns.threads)
    except ImportError:
        print("openvino is not installed: no comparison with it (pip install openvino)")
    else:
        base = "OpenVINO float32"
        variants = {base: lambda: reference(codes), **variants}
        apart = report["float32_from_openvino"] = difference(image, reference(codes))
        show_difference("ours float32 from OpenVINO", apart)
        assert apart["max"] <= WITHIN, "our float32 image is not OpenVINO's"
    report["timings"] = timing.show("MobileStyleGAN decode", turns.alternate(variants), base)
    if steps:
        report |= one_taken_back(ablations.MOBILE, (generator, half), codes, turns)
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
    parser = argparse.ArgumentParser(description="How fast the generators decode.")
    timing.add_options(parser)
    parser.add_argument("--resolution", type=int, default=1024, help="of StyleGAN2")
    parser.add_argument("--only", choices=("stylegan2", "mobilestylegan"))
    parser.add_argument("--no-steps", action="store_true", help="leave the ablations out")
    options = parser.parse_args()
    turns = timing.turns(options)
    report: Report = {"machine": timing.machine(turns)}
    steps = not options.no_steps
    with torch.inference_mode():
        if options.only != "mobilestylegan":
            report["stylegan2"] = stylegan2(options.resolution, turns, steps)
            timing.write(report, options.json)  # so far; the rest takes as long again
        if options.only != "stylegan2":
            report["mobilestylegan"] = mobilestylegan(turns, steps)
    timing.write(report, options.json)


if __name__ == "__main__":
    main()
