"""How good super-resolution is on photographs that were shrunk: beside the originals, and bicubic.

python benchmarks/judge_super_resolution.py --data photos256 --first 00700 --limit 20 --factors 4 8

Every photograph is shrunk as in training, kept in 8 bits, and enlarged: by Pillow's bicubic filter,
and by the model as `wplus translate` does it, before and after refinement. *Consistency* is the
PSNR between the small photograph and the output shrunk again.
"""

from __future__ import annotations

import math
import time

import judging
import torch
from PIL import Image

from wplus import images
from wplus.images import WORKING_SIZE as SIZE
from wplus.inference.options import Options
from wplus.inference.run import Inference, open_inference
from wplus.losses import LossNetworks
from wplus.sources.low_resolution import degrade
from wplus.tasks import TASKS

METRICS = ("lpips_alexnet", "identity", "psnr", "consistency", "seconds")


def main() -> None:
    parser = judging.parser(__doc__ or "")
    parser.add_argument("--factors", type=int, nargs="+", default=[4, 8, 16])
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    task = TASKS["super_resolution"]
    opened = open_inference(task, arguments.model, options=Options(refine=arguments.refine))
    model, name, steps = opened.model, opened.name, opened.steps
    networks = LossNetworks()
    reports, sheet = {}, []
    for factor in arguments.factors:
        scores = judging.Scores()
        for stem, picture in judging.photographs(arguments.data, arguments.first, arguments.limit):
            original = images.to_tensor(picture)
            small = images.to_picture(degrade((original + 1) / 2, factor) * 2 - 1)
            [sample] = opened.read(small)
            assert sample.constraint is not None
            bicubic = small.resize((SIZE, SIZE), Image.Resampling.BICUBIC)
            row = [picture, small.resize((SIZE, SIZE), Image.Resampling.NEAREST), bicubic]
            enlarged = images.to_tensor(bicubic)
            agreement = sample.constraint.consistency(enlarged)
            scores.add("bicubic", enlarged, original, consistency=agreement, seconds=math.nan)
            ways = {"one pass" if model.encoder else "mean face": 0}
            if steps:
                ways[f"refined {steps}"] = steps
            for way, count in ways.items():
                inference = Inference(model, task, Options(refine=count))
                inference.networks = networks
                started = time.perf_counter()
                [[output]] = inference.generate([sample])
                seconds = time.perf_counter() - started
                made = images.resize(output.pixels[None], SIZE)
                after = output.figures.consistency or math.nan
                scores.add(way, made, original, consistency=after, seconds=seconds)
                row.append(images.to_picture(made))
            labels = [stem, f"x{factor}", "bicubic", *ways]
            sheet.append(images.side_by_side(row, labels))
            print(f"×{factor} {stem} done", flush=True)
        reports[f"x{factor}"] = scores.report()
        print(f"\n×{factor}, {len(scores.values['bicubic'])} photographs\n")
        judging.show(reports[f"x{factor}"], METRICS)
    judging.finish(arguments, "super_resolution", reports, sheet, {"model": name, "steps": steps})


if __name__ == "__main__":
    main()
