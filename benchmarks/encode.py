"""How fast the paper's encoder runs: IR-SE-50 pyramid, 18 styles, one 256² picture.

python benchmarks/encode.py --threads 2 --json encode.json
"""

from __future__ import annotations

import argparse
import copy
from unittest.mock import patch

import timing
import torch
from torch import Tensor, nn

from wplus.encoders import PyramidEncoder


def random_pyramid() -> PyramidEncoder:
    """Random weights, and norms that do something."""
    torch.manual_seed(0)
    encoder = PyramidEncoder().eval().requires_grad_(False)
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0.0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return encoder


def main() -> None:
    parser = argparse.ArgumentParser(description="Time of the paper's encoder.")
    timing.add_options(parser)
    options = parser.parse_args()
    turns = timing.turns(options)
    report = {"machine": timing.machine(turns)}

    encoder = random_pyramid()
    arranged = copy.deepcopy(encoder)
    for parameter in arranged.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    half = copy.deepcopy(encoder).bfloat16()
    images = torch.rand(1, 3, 256, 256) * 2 - 1

    def contiguous() -> Tensor:
        with patch.object(torch, "channels_last", torch.contiguous_format):
            codes: Tensor = encoder(images)
        return codes

    variants = {
        "NCHW": contiguous,
        "ours float32": lambda: encoder(images),
        "ours float32, 1.1 GB of weights channels-last": lambda: arranged(images),
        "ours bfloat16": lambda: half(images.bfloat16()),
    }
    with torch.inference_mode():
        expected = encoder(images)
        apart = float((contiguous() - expected).abs().max() / expected.std())
        assert apart <= 1e-3, f"another layout gives other codes ({apart:.2g})"
        timings = turns.alternate(variants)
    report["timings"] = timing.show("Encode", timings, "NCHW")
    timing.write(report, options.json)


if __name__ == "__main__":
    main()
