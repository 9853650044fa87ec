"""Examples of the corrector's training, computed once: encoder and generator are frozen.

python recipes/corrector/examples.py photographs photos256 examples
python recipes/corrector/examples.py edits examples --first 0 --count 1000
python recipes/corrector/examples.py edits examples --first 20000 --count 900 --moving

A photograph (and its mirror image) is kept with its code and its features at 64²; an exact edit is
a sample v of the generator, its edit v + d at full size, the code w that the encoder reads off v,
and the features of w and w + d. With --moving, edits that move outlines are the most.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import torch
from torch import Tensor

import wplus
from wplus import images
from wplus.editing.closed_form import sefa
from wplus.editing.directions import shipped
from wplus.psp import PSP

COARSE = 64
MOVING = ("yaw", "yaw", "yaw", "pitch", "bald", "smile", "glasses", "age", "gender")
LAYERS = ((0, 5), (0, 9), (4, 12), (8, 17), (0, 23))  # that closed-form and random edits move
MIXED = ((8, 23), (12, 23), (0, 4), (4, 9), (9, 23))  # that come from another sample


def levels(image: Tensor) -> Tensor:
    """(1, 3, S, S) in [-1, 1] to (3, S, S) of 8 bits."""
    return ((image[0].clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def pixels(image: Tensor) -> Tensor:
    """(3, S, S) of 8 bits to (1, 3, S, S) in [-1, 1]."""
    return image[None].float() / 127.5 - 1


def features(model: PSP, code: Tensor) -> Tensor:
    """(C, 64, 64) of a code (L, D)."""
    return model.generator.features(code[None], COARSE)[0].contiguous()


def photographs(model: PSP, folder: Path, out: Path) -> None:
    for path in sorted(folder.glob("*.jpg")):
        for mirrored in (False, True):
            image = images.to_tensor(images.read(path))
            image = image.flip(3) if mirrored else image
            code = model.encode(image)[0]
            example = {"x": levels(image), "w": code, "f": features(model, code)}
            torch.save(example, out / f"{path.stem}_{int(mirrored)}.pt")


def edit(model: PSP, rng: random.Random, moving: bool, other: Tensor) -> tuple[Tensor, str, tuple]:
    """What is added to a code (L, D), its name, and the styles that come from `other`, if any."""
    directions = shipped(model.generator)
    move, kind = torch.zeros_like(model.mean_codes), rng.random()
    if moving:
        kind = 0.05 if kind < 0.05 else 0.3 if kind < 0.9 else 0.77 + 0.2 * kind
    if kind < 0.25:
        return move, "none", ()
    if kind < 0.70:
        names = MOVING if moving else list(directions)
        chosen = rng.sample(names, 1 if rng.random() < 0.8 else 2)
        for name in chosen:
            row = directions[name]
            end = row.high if rng.random() < 0.5 else -row.low
            move = move + row.vector * (rng.uniform(-0.8, 0.8) * end)
        return move, " ".join(chosen), ()
    first, last = rng.choice(LAYERS)
    if kind < 0.80:
        row = sefa(model.generator, range(17), 24)[rng.randrange(24)]
        vector = row.vector[0] / row.vector[0].norm()
        move[first:last] = vector * rng.uniform(-8, 8)
        return move, "closed form", ()
    if kind < 0.90:
        move[first:last] = other * rng.uniform(0.2, 0.5)
        return move, "towards another sample", ()
    return move, "mixed", rng.choice(MIXED)


def edits(model: PSP, out: Path, seeds: range, moving: bool) -> None:
    mean = model.mean_codes[0]
    for seed in seeds:
        rng = random.Random(seed)
        torch.manual_seed(seed)
        w = mean + rng.uniform(0.6, 1.0) * (model.map(torch.randn(3, len(mean))) - mean)
        sample = w[:1].repeat(model.num_styles, 1)
        if rng.random() < 0.5:
            sample[rng.randrange(1, model.num_styles) :] = w[1]
        move, kind, mixed = edit(model, rng, moving, w[2] - w[0])
        image = model.decode(sample[None])
        small = levels(images.resize(image, images.WORKING_SIZE))
        code = model.encode(pixels(small))[0]
        target, edited = code + move, sample + move
        if mixed:
            target[slice(*mixed)] = edited[slice(*mixed)] = w[2]
        goal = image if kind == "none" else model.decode(edited[None])
        example = {"x": small, "w": code, "t": target, "B": levels(goal), "kind": kind}
        example["f"] = features(model, code)
        if kind != "none":
            example["ft"] = features(model, target)
        torch.save(example, out / f"{seed:05d}.pt")


def main() -> None:
    parser = argparse.ArgumentParser(description="Compute examples for training.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("photographs")
    command.add_argument("folder", type=Path)
    command.add_argument("out", type=Path)
    command = commands.add_parser("edits")
    command.add_argument("out", type=Path)
    command.add_argument("--first", type=int, default=0)
    command.add_argument("--count", type=int, default=1000)
    command.add_argument("--moving", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    out = options.out / options.command
    out.mkdir(parents=True, exist_ok=True)
    model = wplus.load("faces", dtype=torch.bfloat16)
    with torch.no_grad():
        if options.command == "photographs":
            photographs(model, options.folder, out)
        else:
            seeds = range(options.first, options.first + options.count)
            edits(model, out, seeds, options.moving)


if __name__ == "__main__":
    main()
