"""How good faces from labels are: beside photographs, and the nearest photograph of the training.

python benchmarks/judge_labels.py --data photos256 --first 00700 --limit 100

Every photograph is labeled by the parser of `wplus prepare labels`, and its label map is answered
as `wplus translate` does it: once plainly, and with styles drawn anew.

*second* is the mean IoU between the label map and what a second parser sees in the picture, which
nothing was trained with (`second_parser.py`; npm fetches it); *first* is the same by the parser
that made the map. Means are over the classes that a picture or its map has; *classes* counts every
class once, over all pictures, and *pixels* is the share of pixels of the same class, both by the
second parser. *unrelated* is *second* against the map of the next photograph. The row of the
original says how far the two parsers agree, which no answer should be expected to exceed.

FID compares so few pictures that it is far too large; its rows can be compared with each other, and
with "other", as many photographs of other people.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import judging
import synthesis
import torch
from nearest import ByLabels, Labels, names_before
from overlap import Overlap, overlap
from PIL import Image
from second_parser import load_second_parser
from torch import Tensor

from wplus import images, models
from wplus.faces.labels import LABELS
from wplus.faces.parser import FaceParser, load_parser
from wplus.inference.run import open_inference
from wplus.sources.labels import colored
from wplus.tasks import TASKS

METRICS = (
    *("second", "unrelated", "first", "pixels", "classes"),
    *("fid", "diversity", "lpips_alexnet", "identity", "seconds"),
)


class Parsers:
    """Both parsers, and the overlaps by class of all pictures of a way."""

    def __init__(self) -> None:
        self.first: FaceParser = load_parser()
        self.second: FaceParser = load_second_parser()
        self.totals: dict[str, Overlap] = {}

    def judge(
        self, way: str, pictures: list[Tensor], wanted: Tensor, other: Tensor
    ) -> dict[str, float]:
        """Means over pictures (1, 3, 256, 256) that answer to a label map (256, 256)."""
        rows = []
        for picture in pictures:
            seen = self.second.parse(picture)[0]
            second = overlap(seen, wanted)
            self.totals[way] = self.totals[way] + second if way in self.totals else second
            rows.append(
                {
                    "second": second.mean_iou,
                    "unrelated": overlap(seen, other).mean_iou,
                    "first": overlap(self.first.parse(picture)[0], wanted).mean_iou,
                    "pixels": second.same,
                }
            )
        return {name: synthesis.mean([row[name] for row in rows]) for name in rows[0]}

    def by_class(self) -> dict[str, dict[str, float | None]]:
        """IoU of every class over all pictures, by way; None where no map has it."""
        return {
            way: {
                name: None if math.isnan(value) else value
                for name, value in zip(LABELS, total.iou.tolist(), strict=True)
            }
            for way, total in self.totals.items()
        }


def main() -> None:
    parser = synthesis.parser(__doc__ or "")
    parser.add_argument("--labels", type=Path, help="label maps, kept here; OUT/labels without it")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    task = TASKS["labels"]
    inference = open_inference(task, arguments.model)
    model, name = inference.model, inference.name
    inversion, parsers = models.load(), Parsers()
    labels = Labels(arguments.labels or arguments.out / "labels", parsers.first)
    files = names_before(arguments.data, arguments.first, arguments.stock)
    stock = ByLabels(files, labels)
    print(f"{len(files)} photographs to look among", flush=True)
    photographs = list(judging.photographs(arguments.data, arguments.first, arguments.limit))
    maps = [labels.of(stem, picture) for stem, picture in photographs]
    scores = synthesis.Scores()
    sheet: list[Image.Image] = []
    for number, (stem, picture) in enumerate(photographs):
        original, wanted = images.to_tensor(picture), maps[number]
        scores.look_at(original)
        answers, seconds = synthesis.answered(colored(wanted), model, task, arguments, number)
        started = time.perf_counter()
        found = stock.nearest(wanted, arguments.outputs)
        looking = time.perf_counter() - started
        near = [synthesis.rounded(images.to_tensor(images.read(files[i]))) for i in found]
        other = synthesis.rounded(images.to_tensor(images.read(files[number % len(files)])))
        compared = synthesis.ways(original, inversion, answers, seconds, near, looking, other)
        for way, pictures, took, several in compared:
            values = parsers.judge(way, pictures, wanted, maps[(number + 1) % len(maps)])
            values["diversity"] = synthesis.diversity(several, scores.lpips)
            scores.add_all(way, pictures, **values, seconds=took)
        if len(sheet) < synthesis.ROWS:
            made = [images.to_picture(each) for each in answers]
            seen = colored(parsers.second.parse(answers[0])[0])
            row = [picture, colored(wanted), *made[:1], seen, *made[1:]]
            row.append(images.to_picture(near[0]))
            share = scores.values["one pass"][-1]["second"]
            titles = [stem, "labels", "one pass", f"mIoU {share:.2f}"]
            sheet.append(
                images.side_by_side(row, [*titles, *["further answers"] * len(made[1:]), "nearest"])
            )
        print(f"{stem} done", flush=True)
    report: dict[str, dict[str, Any]] = scores.report()
    for way, total in parsers.totals.items():
        about = {"low": None, "high": None, "count": len(scores.values[way])}
        report[way]["classes"] = {"mean": total.mean_iou, **about}
    print(f"\n{len(photographs)} photographs, FID of as many pictures (biased)\n")
    judging.show(report, METRICS)
    extra = {"model": name, "stock": len(files), "by_class": parsers.by_class()}
    judging.finish(arguments, "labels", report, sheet, extra)


if __name__ == "__main__":
    main()
