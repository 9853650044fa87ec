"""How good faces from sketches are: beside photographs, and the nearest photograph of the training.

python benchmarks/judge_sketch.py --data photos256 --first 00700 --limit 100

Every photograph is drawn as `wplus prepare sketches` does it, each by another hand, and the drawing
is answered as `wplus translate` does it: once plainly, and with styles drawn anew.

*edges* is the F-score of the lines in the picture against those in the drawing, both found by the
same steady hand: within 2 pixels of 256, on the ellipse of the head (`lines.py`).
*unrelated* is the same against the drawing of the next photograph: what agrees by chance. The
original photograph says what a perfect answer scores; drawings leave out lines on purpose.

FID compares so few pictures that it is far too large; its rows can be compared with each other, and
with "other", as many photographs of other people.
"""

from __future__ import annotations

import time

import judging
import numpy as np
import synthesis
import torch
from lines import Agreement, Mask, agreement, head, lines_in
from nearest import ByLines, names_before
from PIL import Image

from wplus import images, models
from wplus.inference.run import open_inference
from wplus.prepare import Recipe
from wplus.tasks import TASKS

METRICS = (
    *("edges", "unrelated", "precision", "recall"),
    *("fid", "diversity", "lpips_alexnet", "identity", "seconds"),
)


def judged(pictures: list[torch.Tensor], drawn: Mask, other: Mask) -> dict[str, float]:
    """Edges of answers against their drawing and against another one: means."""
    found = [lines_in(images.to_picture(picture)) for picture in pictures]
    own = [agreement(lines, drawn, within=head()) for lines in found]
    unrelated = [agreement(lines, other, within=head()) for lines in found]

    def mean(of: list[Agreement], name: str) -> float:
        return synthesis.mean([getattr(each, name) for each in of])

    values = {name: mean(own, name) for name in ("precision", "recall")}
    return {"edges": mean(own, "f_score"), "unrelated": mean(unrelated, "f_score"), **values}


def overlay(made: Mask, drawn: Mask) -> Image.Image:
    """Drawn lines in blue, made ones in red, black where they meet to the pixel."""
    page = np.full((*made.shape, 3), 255, np.uint8)
    page[drawn] = (60, 90, 255)
    page[made] = (255, 60, 60)
    page[made & drawn] = 0
    return Image.fromarray(page)


def main() -> None:
    parser = synthesis.parser(__doc__ or "")
    parser.add_argument("--seed", type=int, default=0, help="of the hands that draw")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    task = TASKS["sketch"]
    inference = open_inference(task, arguments.model)
    model, name = inference.model, inference.name
    inversion = models.load()
    files = names_before(arguments.data, arguments.first, arguments.stock)
    stock = ByLines(files)
    print(f"{len(files)} photographs to look among", flush=True)
    hand = Recipe("sketches", arguments.seed)
    photographs = list(judging.photographs(arguments.data, arguments.first, arguments.limit))
    drawings = [hand.make(picture, stem) for stem, picture in photographs]
    drawn = [lines_in(drawing) for drawing in drawings]
    scores = synthesis.Scores()
    sheet: list[Image.Image] = []
    for number, (stem, picture) in enumerate(photographs):
        original = images.to_tensor(picture)
        scores.look_at(original)
        answers, seconds = synthesis.answered(drawings[number], model, task, arguments, number)
        started = time.perf_counter()
        found = stock.nearest(drawn[number], arguments.outputs)
        looking = time.perf_counter() - started
        near = [synthesis.rounded(images.to_tensor(images.read(files[i]))) for i in found]
        other = synthesis.rounded(images.to_tensor(images.read(files[number % len(files)])))
        compared = synthesis.ways(original, inversion, answers, seconds, near, looking, other)
        for way, pictures, took, several in compared:
            values = judged(pictures, drawn[number], drawn[(number + 1) % len(drawn)])
            values["diversity"] = synthesis.diversity(several, scores.lpips)
            scores.add_all(way, pictures, **values, seconds=took)
        if len(sheet) < synthesis.ROWS:
            lines = overlay(lines_in(images.to_picture(answers[0])), drawn[number])
            made = [images.to_picture(each) for each in answers]
            row = [picture, drawings[number], *made[:1], lines, *made[1:]]
            row.append(images.to_picture(near[0]))
            edges = scores.values["one pass"][-1]["edges"]
            labels = [stem, "drawing", "one pass", f"edges {edges:.2f}"]
            sheet.append(
                images.side_by_side(row, [*labels, *["further answers"] * len(made[1:]), "nearest"])
            )
        print(f"{stem} done", flush=True)
    report = scores.report()
    print(f"\n{len(photographs)} photographs, FID of as many pictures (biased)\n")
    judging.show(report, METRICS)
    judging.finish(arguments, "sketch", report, sheet, {"model": name, "stock": len(files)})


if __name__ == "__main__":
    main()
