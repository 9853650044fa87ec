"""Train a copy of the generator that draws: the same code gives a drawing of the same person.

python recipes/toonify/train_generator.py PAIRS OUT --minutes 30

PAIRS comes from make_pairs.py; OUT gets `mobilestylegan-toon.safetensors`, sheets and the state.
The same command resumes an interrupted run, and reads new shards in PAIRS.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from wplus import images, losses, models
from wplus.data.base import collate
from wplus.data.shards import CachedSynthetic
from wplus.files import atomic
from wplus.generators import MobileStyleGAN
from wplus.generators.truncated import truncate
from wplus.psp import PSP

NAME = "mobilestylegan-toon"
FIRST = 16  # layers below this resolution stay: they place the face
RATE = 0.01  # of Adam, in units of each tensor's own size (root mean square)
SMALLEST = 0.05  # size that biases at least count as
WHOLE_EVERY = 3  # steps; the others go through the truncated generator, at 256²
BATCH = {"short": 4, "whole": 2}
WEIGHTS = {"l2": 1.0, "lpips": 0.8, "large": 0.5}
UNSEEN = 10  # first pairs, never trained on
SAVE_EVERY = 180.0  # seconds


def trained(generator: MobileStyleGAN) -> dict[str, nn.Parameter]:
    """Convolutions from FIRST up and the way to the image; not what reads the code."""
    chosen = [
        f"blocks.{i}." for i, block in enumerate(generator.blocks) if block.resolution >= FIRST
    ]
    return {
        name: parameter
        for name, parameter in generator.named_parameters()
        if name.startswith((*chosen, "to_image.")) and "affine" not in name
    }


class Training:
    """Pairs, networks and what there is to say about them."""

    def __init__(self, pairs: Path, out: Path) -> None:
        self.folder, self.out = pairs, out
        self.model = models.load("mobilestylegan-ffhq")
        generator = self.model.generator
        assert isinstance(generator, MobileStyleGAN)
        self.generator = generator
        self.short = truncate(generator)  # before anything changes: the head knows the original
        generator.weights_id = f"{models.GENERATOR}/{NAME}"  # the mapping is not trained
        self.lpips = losses.load_lpips()
        self.parameters = trained(generator)
        for parameter in self.parameters.values():
            parameter.requires_grad_(True)
        self.sizes = {
            name: max(float(value.detach().square().mean().sqrt()), SMALLEST)
            for name, value in self.parameters.items()
        }
        groups = [{"params": [self.parameters[name]], "size": self.sizes[name]} for name in
                  self.parameters]  # fmt: skip
        self.optimizer = torch.optim.Adam(groups, lr=RATE, betas=(0.9, 0.98))
        self.step, self.seconds = 0, 0.0

    def read(self) -> CachedSynthetic:
        """The pairs that are there by now."""
        return CachedSynthetic(self.folder, self.generator.num_styles)

    def terms(self, codes: Tensor, drawings: Tensor, whole: bool) -> dict[str, Tensor]:
        """Losses against drawings (N, 3, 256, 256)."""
        size = drawings.shape[-1]
        with torch.autocast("cpu", torch.bfloat16):
            found = (self.generator if whole else self.short)(codes)
            small = images.resize(found, size)
            terms = {
                "l2": (small - drawings).square().mean(),
                "lpips": self.lpips(small, drawings).mean(),
            }
            if whole:
                large = F.interpolate(drawings, found.shape[-1], mode="bicubic")
                terms["large"] = (found - large.clamp(-1, 1)).abs().mean()
        return terms

    @torch.no_grad()
    def judge(self, picture: bool = False) -> str:
        """LPIPS and L2 on pairs never trained on, through the whole generator."""
        pairs = self.read()
        rows = [pairs.item(i, None) for i in range(UNSEEN)]
        codes = torch.stack([row["codes"] for row in rows])
        drawings = torch.stack([row["target"] for row in rows])
        found = images.resize(self.generator(codes), drawings.shape[-1]).clamp(-1, 1)
        if picture:
            rows_of = [images.to_picture(x) for pair in zip(drawings, found) for x in pair]
            images.save(images.grid(rows_of, columns=4), self.out / f"unseen-{self.step:05d}.jpg")
        lpips, l2 = self.lpips(found, drawings).mean(), (found - drawings).square().mean()
        return f"unseen: LPIPS {float(lpips):.3f}, L2 {float(l2):.4f}"

    def save(self) -> None:
        """The generator as a model file, and what going on needs."""
        models.save(PSP(None, self.generator, self.model.config), self.out / f"{NAME}.safetensors")
        state: dict[str, Tensor] = {}
        for name, parameter in self.parameters.items():
            state[f"value.{name}"] = parameter.detach()
            for key, value in self.optimizer.state[parameter].items():
                state[f"{key}.{name}"] = value
        about = json.dumps({"step": self.step, "seconds": self.seconds})
        with atomic(self.out / "state.safetensors") as temporary:
            save_file(state, temporary, metadata={"about": about})

    def resume(self) -> None:
        """Where the last call stopped, if there was one."""
        path = self.out / "state.safetensors"
        if not path.exists():
            return
        with safe_open(path, "pt") as file, torch.no_grad():
            about = json.loads(file.metadata()["about"])
            self.step, self.seconds = about["step"], about["seconds"]
            for name, parameter in self.parameters.items():
                parameter.copy_(file.get_tensor(f"value.{name}"))
                self.optimizer.state[parameter] = {
                    key: file.get_tensor(f"{key}.{name}")
                    for key in ("step", "exp_avg", "exp_avg_sq")
                }

    def run(self, minutes: float) -> None:
        """Until so many minutes have been trained in all; the rate falls as a cosine."""
        pairs, saved, marked = self.read(), time.monotonic(), time.monotonic()
        while (gone := self.seconds / (60 * minutes)) < 1:
            whole = self.step % WHOLE_EVERY == WHOLE_EVERY - 1
            rate = RATE * min(1.0, (self.step + 1) / 10) * 0.5 * (1 + math.cos(math.pi * gone))
            for group in self.optimizer.param_groups:
                group["lr"] = rate * group["size"]
            rng = torch.Generator().manual_seed(self.step)
            count = BATCH["whole" if whole else "short"]
            drawn = torch.randint(UNSEEN, len(pairs), (count,), generator=rng).tolist()
            batch = collate([pairs.item(i, None) for i in drawn])
            self.optimizer.zero_grad(set_to_none=True)
            terms = self.terms(batch["codes"], batch["target"], whole)
            loss = torch.stack([WEIGHTS[name] * value for name, value in terms.items()]).sum()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            self.step += 1
            now = time.monotonic()
            self.seconds, marked = self.seconds + now - marked, now
            line = " ".join(f"{name} {float(value.detach()):.4f}" for name, value in terms.items())
            print(f"{self.step} {'whole' if whole else 'short'} {line} {self.seconds:.0f} s",
                  flush=True)  # fmt: skip
            if now - saved > SAVE_EVERY:
                self.save()
                saved, pairs = now, self.read()
        self.save()


def main() -> None:
    parser = argparse.ArgumentParser(description="Teach a copy of the generator to draw.")
    parser.add_argument("pairs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=30.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    training = Training(options.pairs, options.out)
    training.resume()
    print(f"step {training.step}, {training.judge(picture=True)}", flush=True)
    training.run(options.minutes)
    print(f"step {training.step}, {training.judge(picture=True)}", flush=True)


if __name__ == "__main__":
    main()
