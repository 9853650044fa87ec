"""The training of `faces-corrector` on one core; see README.md for the runs and what they cost.

python recipes/corrector/train.py RUN --examples examples --texture texture.pt --minutes 120

The same command resumes RUN. `wplus train --corrector` is the general way to train one; this script
has what makes it quick and natural for `faces`: windows of cached features, exact edits at full
size, a predicted amount of fine detail, a critic of it, and composed targets of edited photographs.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from critic import CROP as CRITIC_CROP
from critic import Critic, critic_input
from examples import MOVING, features, pixels
from texture import Texture, log_energies
from torch import Tensor, nn
from windows import BLUR, CELLS, FIRST, Window, block, decode

import wplus
from wplus.correctors import FeatureCorrector
from wplus.editing.directions import shipped
from wplus.generators import MobileStyleGAN
from wplus.images import resize
from wplus.losses import load_lpips
from wplus.training.muon import Muon

SIDE, MARGIN = 44, 4  # cells of a window, and of its inner border that is not decoded
DETAIL_CROP = 192  # pixels of the full size
TRAINED_BELOW = 700


@dataclass
class Example:
    """One window's inputs and target; `full` is the exact target at full size, if there is one."""

    kind: str  # photograph, composed or exact
    window: Window
    image: Tensor
    codes: Tensor
    coarse: tuple[Tensor, Tensor]  # of the codes and the target codes
    target: Tensor
    full: Tensor | None
    edited: bool
    whole_image: Tensor


class Examples:
    """Draws windows of photographs, of composed edits of photographs, and of exact edits."""

    def __init__(self, folder: Path, model: wplus.PSP, options: argparse.Namespace) -> None:
        self.model, self.options = model, options
        everything = sorted((folder / "photographs").glob("*.pt"))
        self.photographs = [p for p in everything if int(p.name[:5]) < TRAINED_BELOW]
        self.exact = sorted((folder / "edits").glob("*.pt"))
        self.moving = [p for p in self.exact if p.name.startswith("2")]
        self.directions = shipped(model.generator)

    def draw(self, rng: random.Random, exact: bool) -> Example:
        """An example; `exact` chooses between samples and photographs."""
        pool = self.photographs
        if exact:
            pool = self.moving if rng.random() < self.options.moving else self.exact
        stored = torch.load(rng.choice(pool))
        image, codes = pixels(stored["x"]), stored["w"][None].float()
        target_codes = stored.get("t", stored["w"])[None].float()
        first = stored["f"][None]
        second = stored.get("ft", stored["f"])[None]
        edited, kind = "ft" in stored, "exact" if exact else "photograph"
        if exact and rng.random() < 0.5:  # a worse inversion, as photographs have
            offset = self.offset(rng)
            codes, target_codes = codes + offset, target_codes + offset
            first = features(self.model, codes[0])[None]
            second = features(self.model, target_codes[0])[None] if edited else first
        if not exact and rng.random() < self.options.composed:
            row = self.directions[rng.choice(("yaw", "yaw", "facial_hair", *MOVING))]
            end = row.high if rng.random() < 0.6 else row.low
            target_codes = codes + row.vector * (rng.uniform(0.3, 0.8) * end)
            second, edited, kind = features(self.model, target_codes[0])[None], True, "composed"
        window = self.window(rng)
        coarse = (window.cut(first), window.cut(second))
        full = pixels(stored["B"]) if exact else None
        if full is not None:
            target = window.cut(F.avg_pool2d(full, 4))
        elif edited:
            target = self.compose(window, window.cut(image), codes, target_codes, coarse)
        else:
            target = window.cut(image)
        return Example(
            kind, window, window.cut(image), torch.cat([codes, target_codes]), coarse, target,
            None if full is None else window.cut(full), edited, image,
        )  # fmt: skip

    def offset(self, rng: random.Random) -> Tensor:
        """(1, L, D) towards a random w, at some layers."""
        seeded = torch.Generator().manual_seed(rng.randrange(1 << 30))
        mean = self.model.mean_codes
        far = self.model.map(torch.randn(1, mean.shape[1], generator=seeded)) - mean[0]
        low, high = rng.choice(((0, 23), (0, 8), (4, 16), (8, 23), (0, 23)))
        offset = torch.zeros_like(mean)
        offset[low:high] = far * rng.uniform(0.1, 0.4)
        return offset[None]

    @staticmethod
    def window(rng: random.Random) -> Window:
        """A random window, at the image's sides more often."""

        def first() -> int:
            where = rng.random()
            last = CELLS - SIDE
            return 0 if where < 0.25 else last if where < 0.5 else rng.randrange(last + 1)

        top, left = first(), first()
        return Window(top, left, top + SIDE, left + SIDE)

    def compose(
        self,
        window: Window,
        image: Tensor,
        codes: Tensor,
        target_codes: Tensor,
        coarse: tuple[Tensor, Tensor],
    ) -> Tensor:
        """A target for an edited photograph: what the edit changes, of G(w + d), and the rest.

        The former gets the photograph's light, the latter is the photograph's.
        """
        before, after = (
            F.avg_pool2d(self.decode(x, code, window), 4)
            for x, code in zip(coarse, (codes, target_codes))
        )
        changed = _blur((after - before).abs().mean(1, keepdim=True), 9)
        changed = F.max_pool2d(((changed - 0.05) / 0.12).clamp(0, 1), 5, 1, 2)
        kept = 1 - changed + 1e-3
        light = _blur(_blur((image - before) * kept, 31), 31) / _blur(_blur(kept, 31), 31)
        return (image * (1 - changed) + changed * (after + light)).clamp(-1, 1)

    def decode(self, coarse: Tensor, codes: Tensor, window: Window) -> Tensor:
        """The image of a window of the features at 64², at full size."""
        generator = self.model.generator
        assert isinstance(generator, MobileStyleGAN)
        return decode(generator, block(generator, FIRST, coarse, codes, window), codes, window)


def _blur(x: Tensor, size: int) -> Tensor:
    return F.avg_pool2d(x, size, 1, size // 2, count_include_pad=False)


class Training:
    """The corrector in float32, its copy in bfloat16 that computes, its average, and the critic."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.model = wplus.load("faces", dtype=torch.bfloat16)
        generator = self.model.generator
        assert isinstance(generator, MobileStyleGAN)
        self.generator = generator
        self.lpips = load_lpips().to(torch.bfloat16)
        self.examples = Examples(options.examples, self.model, options)
        self.texture = Texture().eval().requires_grad_(False)
        self.texture.load_state_dict(torch.load(options.texture))
        self.network, self.average = FeatureCorrector(), FeatureCorrector()
        self.work = FeatureCorrector().to(torch.bfloat16)
        self.critic = Critic()
        self.critic_optimizer = torch.optim.AdamW(self.critic.parameters(), 4e-4, (0.5, 0.99))
        self.optimizer = Muon(self.network.parameters(), options.rate, precision=torch.bfloat16)
        self.step, self.minutes = 0, 0.0
        self.state = options.run / "state.pt"
        if self.state.exists():
            self.load()
        else:
            self.calibrate()

    def calibrate(self) -> None:
        """Measure the features and fit the preview."""
        codes = self.model.sample(16, 0.7, 0)
        with torch.no_grad():
            pyramid = self.generator.pyramid(codes, self.network.feature_channels)
            self.network.calibrate(pyramid, resize(self.model.decode(codes), 256))
        self.average.load_state_dict(self.network.state_dict())

    def parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        """What a state holds."""
        names = ("network", "average", "critic", "optimizer", "critic_optimizer")
        return {name: getattr(self, name) for name in names}

    def save(self) -> None:
        """Write the state, and the average by itself."""
        state = {name: part.state_dict() for name, part in self.parts().items()}
        torch.save({**state, "step": self.step, "minutes": self.minutes}, self.state)
        torch.save(self.average.state_dict(), self.options.run / "average.pt")

    def load(self) -> None:
        """Read the state."""
        saved = torch.load(self.state)
        for name, part in self.parts().items():
            part.load_state_dict(saved[name])
        self.step, self.minutes = saved["step"], saved["minutes"]

    def losses(
        self, example: Example, rng: random.Random
    ) -> tuple[dict[str, Tensor], list[Tensor]]:
        """The terms of one window by name, and crops for the critic: corrected, and a sample's."""
        options, window = self.options, example.window
        codes, target_codes = example.codes[:1], example.codes[1:]
        own, moved = example.coarse
        with torch.no_grad():
            fine = block(self.generator, FIRST, own, codes, window)
            inputs = [{64: own, 128: fine}]
            if example.edited:
                inputs.append(
                    {64: moved, 128: block(self.generator, FIRST, moved, target_codes, window)}
                )
        corrections = self.work(example.image, *inputs)
        decoded, seen = window.shrunk(MARGIN), window.shrunk(MARGIN + BLUR)
        coarse = decoded.inside(window, moved + corrections[64])
        fine = block(self.generator, FIRST, coarse, target_codes, decoded)
        fine = fine + decoded.inside(window, corrections[128])
        image = seen.inside(decoded, decode(self.generator, fine, target_codes, decoded))
        target, small = seen.inside(window, example.target), F.avg_pool2d(image, 4)
        squared = (small - target).square()
        if example.kind == "exact" and example.edited:  # more where the edit changes the image
            change = (seen.inside(window, example.image) - target).abs().mean(1, keepdim=True)
            squared = squared * (1 + 3 * (4 * change).clamp(max=1))
        scales = self.work.scales
        terms = {
            "l2": squared.mean(),
            "lpips": self.distance(small, target),
            "magnitude": sum(
                (extra / scales[size][:, None, None]).float().square().mean()
                for size, extra in corrections.items()
            ),
        }
        if example.full is not None:
            full = seen.inside(window, example.full)
            cut = _crop(image, DETAIL_CROP, 16, rng)
            terms["detail"] = self.distance(image[cut], full[cut])
            terms["energy"] = _energy_error(image, log_energies(full), 0, 0)
        elif example.kind == "photograph":
            with torch.no_grad():
                wanted = self.texture(example.whole_image) + options.energy_shift
            terms["energy"] = _energy_error(image, wanted, seen.top, seen.left)
        # The critic compares with an exact edit, or with the same place of some sample.
        cut = _crop(image, CRITIC_CROP, 8, rng)
        fake = critic_input(image[cut], levels=False)
        if example.full is not None:
            real = full[cut]
        else:
            other = pixels(torch.load(rng.choice(self.examples.exact))["B"])
            real = seen.cut(other)[cut]
        if self.step >= options.critic_from:
            self.critic.requires_grad_(False)
            terms["critic"] = F.softplus(-self.critic(fake)).mean()
            self.critic.requires_grad_(True)
        return terms, [fake.detach(), critic_input(real, levels=True)]

    def distance(self, first: Tensor, second: Tensor) -> Tensor:
        """LPIPS."""
        return self.lpips(first.bfloat16(), second.bfloat16()).float().mean()

    def make_step(self, progress: float) -> dict[str, float]:
        """One step at a share of the run's time; the means of the terms."""
        options = self.options
        warm = min(1.0, (self.step + 1) / 30)
        rate = options.rate * warm * max(0.03, 0.5 * (1 + math.cos(math.pi * progress)))
        self.optimizer.param_groups[0]["lr"] = rate
        with torch.no_grad():
            for copy, value in zip(
                self.work.state_dict().values(), self.network.state_dict().values()
            ):
                copy.copy_(value)
        weights = {
            "l2": options.l2, "lpips": 1.0, "magnitude": 0.002, "detail": options.detail,
            "critic": options.critic,
        }  # fmt: skip
        rng, parameters = random.Random(self.step), list(self.network.parameters())
        gradients = [torch.zeros_like(p) for p in parameters]
        sums: dict[str, list[float]] = {}
        crops = []
        for number in range(options.batch):  # one by one: activations stay in the cache
            with torch.no_grad():
                example = self.examples.draw(rng, exact=number >= options.batch // 2)
            terms, pair = self.losses(example, rng)
            crops.append(pair)
            energy = options.energy if example.kind == "photograph" else 0.05
            loss = sum({**weights, "energy": energy}[name] * value for name, value in terms.items())
            loss = loss * (0.6 if example.kind == "composed" else 1.0)
            (loss / options.batch).backward()
            for gradient, parameter in zip(gradients, self.work.parameters()):
                if parameter.grad is not None:
                    gradient += parameter.grad
                    parameter.grad = None
            for name, value in terms.items():
                sums.setdefault(f"{example.kind} {name}", []).append(float(value))
        self.train_critic(*map(torch.cat, zip(*crops)))
        norm = torch.linalg.vector_norm(torch.stack([g.norm() for g in gradients]))
        if torch.isfinite(norm):
            for parameter, gradient in zip(parameters, gradients):
                parameter.grad = gradient * min(1.0, 1.0 / float(norm))
            self.optimizer.step()
            decay = min(options.ema, (1 + self.step) / (10 + self.step))
            with torch.no_grad():
                for mean, value in zip(self.average.parameters(), parameters):
                    mean.lerp_(value, 1 - decay)
        self.step += 1
        return {name: sum(values) / len(values) for name, values in sums.items()}

    def train_critic(self, fake: Tensor, real: Tensor) -> None:
        """Logistic loss, with a gradient penalty (R1) in every fourth step."""
        self.critic_optimizer.zero_grad()
        penalized = self.step % 4 == 0
        real.requires_grad_(penalized)
        logits = self.critic(real)
        loss = F.softplus(-logits).mean() + F.softplus(self.critic(fake)).mean()
        if penalized:
            total = logits.mean((1, 2, 3)).sum()
            (gradient,) = torch.autograd.grad(total, real, create_graph=True)
            loss = loss + 2 * gradient.square().sum((1, 2, 3)).mean()
        loss.backward()
        self.critic_optimizer.step()

    def run(self) -> None:
        """Train until the time is over."""
        last, limit = time.monotonic(), self.options.minutes
        saved = last
        with (self.options.run / "log.jsonl").open("a", encoding="utf-8") as log:
            while self.minutes < limit:
                terms = self.make_step(self.minutes / limit)
                now = time.monotonic()
                self.minutes, last = self.minutes + (now - last) / 60, now
                line = {"step": self.step, "minutes": round(self.minutes, 2)}
                line |= {name: round(value, 4) for name, value in terms.items()}
                print(json.dumps(line), file=log, flush=True)
                if now - saved > 300:
                    self.save()
                    saved = now
        self.save()


def _crop(image: Tensor, size: int, grid: int, rng: random.Random) -> tuple[slice, ...]:
    """A random crop of (N, C, H, W), at a multiple of `grid`."""
    top, left = (rng.randrange(0, side - size + 1, grid) for side in image.shape[2:])
    return (slice(None), slice(None), slice(top, top + size), slice(left, left + size))


def _energy_error(image: Tensor, wanted: Tensor, top: int, left: int) -> Tensor:
    """Of log energies in cells of 32 pixels, two of the windows' cells; `wanted` of all cells."""
    image = image[:, :, 16 * (top % 2) :, 16 * (left % 2) :]
    rows, columns = image.shape[2] // 32, image.shape[3] // 32
    top, left = (top + 1) // 2, (left + 1) // 2
    found = log_energies(image[:, :, : 32 * rows, : 32 * columns])
    rows, columns = min(rows, wanted.shape[2] - top), min(columns, wanted.shape[3] - left)
    cut = wanted[:, :, top : top + rows, left : left + columns]
    return (found[:, :, :rows, :columns] - cut).abs().mean()


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the corrector of faces on one core.")
    parser.add_argument("run", type=Path)
    parser.add_argument("--examples", type=Path, required=True)
    parser.add_argument("--texture", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--batch", type=int, default=6)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--ema", type=float, default=0.98)
    parser.add_argument("--l2", type=float, default=3.0)
    parser.add_argument("--detail", type=float, default=0.5)
    parser.add_argument("--energy", type=float, default=0.05)
    parser.add_argument("--energy-shift", type=float, default=0.2)
    parser.add_argument("--critic", type=float, default=0.05)
    parser.add_argument("--critic-from", type=int, default=470, help="step")
    parser.add_argument("--composed", type=float, default=0.33, help="share of the photographs")
    parser.add_argument("--moving", type=float, default=0.5, help="share of the exact edits")
    options = parser.parse_args()
    options.run.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    Training(options).run()


if __name__ == "__main__":
    main()
