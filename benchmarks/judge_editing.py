"""What named edits do to photographs: to their own attribute, to the others, and to identity.

python benchmarks/judge_editing.py --data photos256 --also photos128 --first 00700 --limit 20

Every photograph gets its code by the model, and every direction moves it by about one standard
deviation either way (glasses, beard and baldness are only put on: what is not there cannot be taken
away). Changes are against the picture of the code before the edit, signed so that + is what was
asked for. Yaw is measured from the five points of the detector; all else is read by linear probes
on nets that no direction was found with (`probes.py`), fitted on the photographs that sort before
`--first` and on all of `--also`. How well they read others is printed, and those that read too
little judge nothing. Change of 1 in another attribute is one standard deviation. `own` is what
happened over what was asked for, so 1 is best, but of yes and no: glasses come on as a whole, which
is 2.7 deviations. Probes shrink, which is undone on average only.
Beside each direction: one drawn at random, of the same length.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import judging
import numpy as np
import probes
import torch
import yaw
from PIL import Image
from torch import Tensor

from wplus import images, models
from wplus.editing import Direction, apply, shipped
from wplus.images import WORKING_SIZE as SIZE
from wplus.psp import PSP

METRICS = ("own", "identity", "others")
AMOUNTS = {
    "smile": (1.0, -1.0),
    "age": (1.0, -1.0),
    "yaw": (15.0, -15.0),
    "pitch": (8.0, -8.0),
    "glasses": (1.0,),
    "gender": (1.0, -1.0),
    "facial_hair": (1.0,),
    "bald": (1.0,),
}
DEGREES = ("yaw", "pitch")


class Witness:
    """Sees every attribute of a picture, each by what judges it best."""

    def __init__(self, reader: probes.Probes, eye: probes.Eye) -> None:
        self.reader = reader
        self.eye = eye
        self.angle = reader.names.index("yaw")

    def see(self, picture: Tensor) -> tuple[Tensor, float]:
        """Features, and yaw in degrees, of a picture (1, 3, 256, 256) in [-1, 1]."""
        return self.eye(picture), yaw.measure(images.to_picture(picture))

    def change(self, before: tuple[Tensor, float], after: tuple[Tensor, float]) -> Tensor:
        """(A,) in standard deviations; NaN where nothing judges."""
        moved = self.reader.change(before[0], after[0])
        deviation = float(self.reader.deviations[self.angle])
        moved[self.angle] = (after[1] - before[1]) / deviation
        return moved


def at_random(direction: Direction, seed: int) -> Direction:
    """A direction of the same length in the same styles, that means nothing."""
    rng = torch.Generator().manual_seed(seed)
    drawn = torch.randn(direction.vector.shape, generator=rng)
    drawn = drawn * direction.vector.norm(dim=1, keepdim=True)
    vector = drawn * direction.vector.norm() / drawn.norm()
    return Direction("random", vector, direction.unit, direction.low, direction.high)


def outcome(name: str, amount: float, moved: Tensor, reader: probes.Probes) -> dict[str, float]:
    """Scores of one edit: `own`, `others`, and each attribute's change."""
    sign = math.copysign(1.0, amount)
    # Amounts are degrees or deviations of the table that directions were found with.
    asked = abs(amount)
    index = reader.names.index(name)
    own = float(moved[index]) * sign / asked
    if name in DEGREES:
        own *= float(reader.deviations[index])
    rest = np.abs(np.delete(moved.numpy(), index))
    found = {"own": own, "others": float(np.nanmean(rest))}
    return found | {
        f"d_{each}": float(value) * sign
        for each, value in zip(reader.names, moved.tolist(), strict=True)
    }


def drawn(model: PSP, code: Tensor) -> Tensor:
    """As it would be written: 8 bits deep."""
    picture = images.resize(model.decode(code), SIZE).clamp(-1, 1)
    return images.to_tensor(images.to_picture(picture))


def largest_other(name: str, report: dict[str, Any]) -> str:
    """The attribute that an edit changes most besides its own, in words."""
    means = {key[2:]: value["mean"] for key, value in report.items() if key.startswith("d_")}
    rest = {key: value for key, value in means.items() if key != name and value is not None}
    most = max(rest, key=lambda key: abs(rest[key]))
    return f"{most} {rest[most]:+.2f}"


@torch.no_grad()
def judge(arguments: argparse.Namespace) -> dict[str, Any]:
    """Scores by direction; writes editing.json and its sheet."""
    model = models.load(arguments.model or "faces")
    known = shipped(model.generator)
    eye = probes.Eye()
    folders = [arguments.data, *arguments.also]
    reader = probes.load_probes(folders, arguments.attributes, arguments.first, eye, arguments.out)
    probes.show(reader)
    witness = Witness(reader, eye)
    scores = {name: judging.Scores() for name in AMOUNTS}
    sheet: list[Image.Image] = []
    pictures = judging.photographs(arguments.data, arguments.first, arguments.limit)
    for number, (stem, picture) in enumerate(pictures):
        code = model.encode(images.to_tensor(picture))
        plain = drawn(model, code)
        before = witness.see(plain)
        row, labels = [picture, images.to_picture(plain)], [stem, "before"]
        for name, amounts in AMOUNTS.items():
            moves: Sequence[tuple[str, Direction, float]] = [
                *((f"edit {amount:+g}", known[name], amount) for amount in amounts),
                ("random", at_random(known[name], number), amounts[0]),
            ]
            for way, direction, amount in moves:
                edited = drawn(model, apply(code, [(direction, amount)]))
                moved = witness.change(before, witness.see(edited))
                found = outcome(name, amount, moved, reader)
                scores[name].add(way, edited, plain, **found)
                if way != "random":
                    row.append(images.to_picture(edited))
                    labels.append(f"{name} {amount:+g}: {found['own']:.1f}")
        sheet.append(images.side_by_side(row, labels))
        print(f"{stem} done", flush=True)
    reports = {name: each.report() for name, each in scores.items()}
    print(f"\n{len(sheet)} photographs\n")
    flat = {
        f"{name} {way}": report for name, both in reports.items() for way, report in both.items()
    }
    judging.show(flat, METRICS)
    print("\nwhat changes most besides, in standard deviations:")
    for name, report in flat.items():
        print(f"  {name}: {largest_other(name.split()[0], report)}")
    shares = dict(zip(reader.names, reader.shares.tolist(), strict=True))
    extra = {"model": arguments.model or "faces", "amounts": AMOUNTS, "probes_r2": shares}
    judging.finish(arguments, "editing", reports, sheet, extra)
    return reports


def main() -> None:
    parser = judging.parser(__doc__ or "")
    parser.add_argument("--attributes", type=Path, help="CSV; without it, beside the folder")
    parser.add_argument("--also", type=Path, nargs="*", default=[], help="more to learn from")
    arguments = parser.parse_args()
    arguments.attributes = arguments.attributes or arguments.data.parent / "attributes.csv"
    torch.set_num_threads(arguments.threads)
    judge(arguments)


if __name__ == "__main__":
    main()
