"""A training step of the full-size pSp on a CPU, beside a plain reading of it.

IR-SE-50 pyramid encoder, StyleGAN2 at 256², L2 + LPIPS + identity (IR-SE-50), Ranger, batch 2,
float32, random weights. Losses and gradients are compared before anything is timed.

python benchmarks/train_step.py --threads 2 --json train_step.json
"""

from __future__ import annotations

import argparse
from typing import Any

import timing
import torch
import torch.nn.functional as F
from decode import random_stylegan2
from plain_training import PlainRanger, PlainStep
from torch import Tensor, nn

from wplus import losses
from wplus.config import ModelConfig, Part
from wplus.encoders import PyramidEncoder
from wplus.losses.facenets import ArcFace
from wplus.losses.objective import Objective
from wplus.nn.irse import IRSETrunk
from wplus.psp import PSP
from wplus.training.ranger import Ranger
from wplus.training.step import EncoderLosses, Step

RESOLUTION, RATE = 256, 1e-4
WEIGHTS = {"l2": 1.0, "lpips": 0.8, "identity": 0.1}
WITHIN = 1e-4  # of every loss; gradients of sums over many pixels are further apart
GRADIENT_WITHIN = 1e-2


def pictures(count: int, seed: int) -> Tensor:
    """(count, 3, 256, 256) in [-1, 1]: soft shapes and some grain."""
    rng = torch.Generator().manual_seed(seed)
    soft = torch.randn(count, 3, 16, 16, generator=rng)
    soft = F.interpolate(soft, size=256, mode="bicubic", align_corners=False)
    grain = torch.randn(count, 3, 256, 256, generator=rng)
    return (0.5 * soft + 0.05 * grain).clamp(-1, 1)


def random_face_network() -> ArcFace:
    """Random weights; the last norm takes out what the embeddings of all pictures share.

    Without that, all faces would be the same to it, and 1 - cosine nothing but rounding.
    """
    net = ArcFace(IRSETrunk()).eval().requires_grad_(False)
    with torch.no_grad():
        faces = F.adaptive_avg_pool2d(pictures(16, seed=7), 112)
        found = net.embed(net.norm_in(net.trunk(faces)).flatten(1))
        norm = net.norm_out
        assert norm.running_mean is not None and norm.running_var is not None
        norm.running_mean.copy_(found.mean(0))
        norm.running_var.copy_(found.var(0))
    return net


class Case:
    """The networks, which both sides share, and a batch.

    Args:
        batch: pictures in it.
    """

    def __init__(self, batch: int) -> None:
        torch.manual_seed(0)
        self.generator = random_stylegan2(RESOLUTION, torch.randn(1, 14, 512))
        self.encoder = PyramidEncoder(self.generator.num_styles).train()
        self.face = random_face_network()
        self.lpips = losses.load_lpips()
        self.mean_codes = torch.randn(self.generator.num_styles, 512)
        self.model = PSP(self.encoder, self.generator, ModelConfig(Part("stylegan2", {})))
        self.model.mean_codes = self.mean_codes
        self.batch = pictures(batch, seed=1)

    def ours(self) -> Step:
        """Our step, as the training loop makes it."""
        identity = losses.IdentityLoss(self.face)
        objective = Objective(WEIGHTS, {"lpips": self.lpips, "identity": identity})
        compare = EncoderLosses(self.model, objective)
        return Step(self.encoder, compare, Ranger(self.encoder.parameters(), RATE))

    def plain(self, all_gradients: bool) -> PlainStep:
        """The plain step.

        Args:
            all_gradients: also compute gradients of the weights of generator and face network,
                which nothing uses: as it is where these are only left out of the optimizer.
        """

        def left_out(network: nn.Module) -> dict[str, Tensor]:
            parameters = {
                name: value.detach().requires_grad_(all_gradients)
                for name, value in network.named_parameters()
            }
            return parameters | dict(network.named_buffers())

        return PlainStep(
            tensors(self.encoder),
            left_out(self.generator),
            left_out(self.face),
            tensors(self.lpips),
            self.mean_codes,
            {"id" if name == "identity" else name: value for name, value in WEIGHTS.items()},
        )


def tensors(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, by name."""
    return dict(network.named_parameters()) | dict(network.named_buffers())


def compare(case: Case, ours: Step, plain: PlainStep) -> dict[str, Any]:
    """Losses and gradients of both before the first step.

    Raises:
        SystemExit: they are not the same.
    """
    batch = {"source": case.batch, "target": case.batch}
    found: list[dict[str, float]] = []
    gradients: list[list[Tensor]] = []
    for number in range(2):
        first = number == 0
        computed = plain.losses(case.batch, case.batch) if first else ours.losses(batch)
        torch.autograd.backward(computed["loss"])
        found.append({name: float(value.detach()) for name, value in computed.items()})
        gradients.append([p.grad for p in case.encoder.parameters() if p.grad is not None])
        case.encoder.zero_grad(set_to_none=True)
        assert len(gradients[-1]) == len(list(case.encoder.parameters()))
    expected, terms = found
    apart = {
        name: abs(terms[name] - value) / abs(value) for name, value in expected.items() if value
    }
    length = sum(float(g.double().square().sum()) for g in gradients[0]) ** 0.5
    off = sum(float((a.double() - b.double()).square().sum()) for a, b in zip(*gradients)) ** 0.5
    print("losses        plain        ours    apart")
    for name, value in expected.items():
        print(f"{name:8}{value:11.6f} {terms[name]:11.6f} {apart.get(name, 0.0):8.1e}")
    print(f"gradient{length:11.6f}             {off / length:8.1e}", flush=True)
    if max(apart[name] for name in ("l2", "lpips", "id", "loss")) > WITHIN:
        raise SystemExit("the losses are not the same: nothing to compare")
    if off / length > GRADIENT_WITHIN:
        raise SystemExit("the gradients are not the same: nothing to compare")
    return {"plain": expected, "ours": terms, "apart": apart, "gradient_apart": off / length}


def main() -> None:
    parser = argparse.ArgumentParser(description="Time of a training step of the full-size pSp.")
    timing.add_options(parser)
    parser.set_defaults(rounds=5)
    parser.add_argument("--batch", type=int, default=2)
    options = parser.parse_args()
    turns = timing.turns(options)
    report: dict[str, Any] = {"machine": timing.machine(turns), "batch": options.batch}

    case = Case(options.batch)
    ours = case.ours()
    usual, frozen = case.plain(all_gradients=True), case.plain(all_gradients=False)
    report["losses"] = compare(case, ours, frozen)
    optimizer = PlainRanger(case.encoder.parameters(), RATE)
    batch = {"source": case.batch, "target": case.batch}
    variants = {
        "plain, all gradients computed": lambda: usual(case.batch, case.batch, optimizer),
        "plain, frozen networks without gradients": lambda: frozen(
            case.batch, case.batch, optimizer
        ),
        "ours": lambda: ours(batch),
    }
    timings = turns.alternate(variants)
    report["timings"] = timing.show(
        f"Training step, batch {options.batch}", timings, "plain, all gradients computed"
    )
    timing.write(report, options.json)


if __name__ == "__main__":
    main()
