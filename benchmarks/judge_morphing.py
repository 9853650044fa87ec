"""How even morphs look, and who is seen in mixed faces.

python benchmarks/judge_morphing.py --data photos256 --first 00700 --limit 8

Photographs are taken two by two, and `--limit` counts photographs. Morphs: LPIPS from frame to
frame, along the path as `wplus morph` cuts it and by equal steps in W+; `spread` is the standard
deviation of the steps over their mean, `ratio` the largest over the smallest. Mixtures: the cosine
of EdgeFace-S to the face that gives the content and to the one that gives the styles of a range.
With `--region` also transplants, which are an optimization and take long: LPIPS to the donor over
the region, and to the receiver over the rest, before and after.
"""

from __future__ import annotations

import argparse
from typing import Any

import judging
import torch
from PIL import Image
from torch import Tensor

from wplus import images, latents, models
from wplus.editing import morph as morphs
from wplus.editing import regions
from wplus.editing.transplant import transplant
from wplus.evaluate import FaceNet
from wplus.images import WORKING_SIZE as SIZE
from wplus.losses import LPIPS, load_lpips
from wplus.optimize import fast_precision
from wplus.psp import PSP

Rows = dict[str, list[judging.Values]]
METRICS = {
    "morph": ("spread", "ratio", "length"),
    "mix": ("to_content", "to_style"),
    "transplant": ("region_lpips", "rest_lpips"),
}


def drawn(model: PSP, code: Tensor) -> Tensor:
    """(1, 3, 256, 256) in [-1, 1] of a code (L, style_dim)."""
    return images.resize(model.decode(code[None]), SIZE).clamp(-1, 1)


def morphed(pair: Tensor, model: PSP, frames: int, lpips: LPIPS, rows: Rows) -> list[Image.Image]:
    """Both ways to cut the path between two codes; the frames of the even one."""
    shown: list[Image.Image] = []
    for way, judge_of_steps in (("equal in W+", None), ("equal in LPIPS", lpips)):
        codes = list(morphs.morph(pair, model, frames, judge_of_steps).codes())
        found = morphs.steps(codes, model, lpips)
        scores = {
            "spread": float(found.std(correction=0) / found.mean().clamp_min(1e-12)),
            "ratio": float(found.max() / found.min().clamp_min(1e-6)),
            "length": float(found.sum()),
        }
        rows.setdefault(way, []).append(scores)
        shown = [images.to_picture(drawn(model, code)) for code in codes[:: max(1, frames // 4)]]
    return shown


def mixed(pair: Tensor, model: PSP, face: FaceNet, rows: Rows) -> list[Image.Image]:
    """The first face with styles of the second, by range, and who is seen in it."""
    known = face.embed(torch.cat([drawn(model, code) for code in pair]))
    shown = []
    for layers in latents.RANGES:
        chosen = latents.layers_of(layers, model.generator.style_resolutions)
        made = drawn(model, latents.mix(pair[:1], pair[1:], chosen)[0])
        near = face.embed(made)[0] @ known.T
        rows.setdefault(layers, []).append(
            {"to_content": float(near[0]), "to_style": float(near[1])}
        )
        shown.append(images.to_picture(made))
    return shown


def transplanted(
    pair: Tensor, model: PSP, region: str, lpips: LPIPS, rows: Rows
) -> list[Image.Image]:
    """A region of the second face in the first."""
    mask = regions.region(region, SIZE)
    precision = fast_precision(model.device)
    done = transplant(model, pair[0], pair[1], mask, lpips, precision=precision)
    for way, terms in (("receiver", done.before), (f"with {region}", done.after)):
        scores = {name: terms[name] for name in METRICS["transplant"]}
        rows.setdefault(way, []).append(scores)
    return [images.to_picture(drawn(model, done.codes))]


@torch.no_grad()
def judge(arguments: argparse.Namespace) -> dict[str, Any]:
    """Scores by application and way; writes morphing.json and its sheet."""
    name = arguments.model or "faces"
    model = models.load(name)
    lpips, face = load_lpips(), FaceNet()
    rows: dict[str, Rows] = {"morph": {}, "mix": {}}
    sheet = []
    found = list(judging.photographs(arguments.data, arguments.first, arguments.limit))
    for (first, one), (second, other) in zip(found[::2], found[1::2], strict=False):
        codes = torch.cat([model.encode(images.to_tensor(picture)) for picture in (one, other)])
        row = [one, *morphed(codes, model, arguments.frames, lpips, rows["morph"]), other]
        labels = [first, *[""] * (len(row) - 2), second]
        row += mixed(codes, model, face, rows["mix"])
        labels += [f"{layers} of {second}" for layers in latents.RANGES]
        if arguments.region:
            into = rows.setdefault("transplant", {})
            row += transplanted(codes, model, arguments.region, lpips, into)
            labels.append(f"{arguments.region} of {second}")
        sheet.append(images.side_by_side(row, labels))
        print(f"{first} and {second} done", flush=True)
    reports = {kind: judging.report_of(each) for kind, each in rows.items()}
    for kind, report in reports.items():
        print(f"\n{kind}, {len(sheet)} pairs\n")
        judging.show(report, METRICS[kind])
    judging.finish(arguments, "morphing", reports, sheet, {"model": name})
    return reports


def main() -> None:
    parser = judging.parser(__doc__ or "")
    parser.add_argument("--frames", type=int, default=17, help="of each morph")
    parser.add_argument("--region", help="transplant it too: mouth, eyes, …")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    judge(arguments)


if __name__ == "__main__":
    main()
