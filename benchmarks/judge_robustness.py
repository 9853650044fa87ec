"""How much a worse photograph costs: blur, compression, few pixels, noise, light, a loose crop.

python benchmarks/judge_robustness.py --data photos256 --first 00700 --limit 50

Every photograph is inverted in one pass as it is and after each harm, which only the encoder sees:
the output is compared with the good photograph. (With a loose crop, it is with that crop.)
"""

from __future__ import annotations

import judging
import torch
from PIL import Image

import wplus
from wplus import images
from wplus.data.augment import Effects, apply
from wplus.images import WORKING_SIZE as SIZE
from wplus.models import DEFAULT

METRICS = ("lpips_alexnet", "mse", "identity")
SHOWN = 8  # photographs on the sheet
BILINEAR = 1  # of the filters that shrink; 0 enlarges by the same
HARMS = {
    "as it is": Effects(),
    "blur, σ 1 pixel": Effects(blur=1.0),
    "blur, σ 2": Effects(blur=2.0),
    "blur, σ 4": Effects(blur=4.0),
    "JPEG, quality 40": Effects(jpeg=(40, 2)),
    "JPEG, quality 10": Effects(jpeg=(10, 2)),
    "half the pixels": Effects(resize=(0.5, BILINEAR, 0)),
    "a quarter": Effects(resize=(0.25, BILINEAR, 0)),
    "noise, 3 % of white": Effects(noise=(0.03, 1, False)),
    "noise, 8 %": Effects(noise=(0.08, 1, False)),
    "darker by 15 % of white": Effects(color=(-0.15, 0.0, 0.0, 0.0, 0.0)),
    "warmer by 10 %": Effects(color=(0.0, 0.0, 0.0, 0.1, -0.1)),
    "gray": Effects(color=(0.0, 0.0, -1.0, 0.0, 0.0)),
    "crop turned by 3°": Effects(warp=(3.0, 1.0, 0.0, 0.0)),
    "crop off by 3 %, 5 % larger": Effects(warp=(0.0, 1.05, 0.03, -0.03)),
}


def main() -> None:
    arguments = judging.parser(__doc__ or "").parse_args()
    torch.set_num_threads(arguments.threads)
    name = arguments.model or DEFAULT
    model = wplus.load(name)
    scores = judging.Scores()
    sheet: list[Image.Image] = []
    for stem, picture in judging.photographs(arguments.data, arguments.first, arguments.limit):
        original = images.to_tensor(picture)
        harmed_row: list[Image.Image] = []
        made_row: list[Image.Image] = []
        for harm, effects in HARMS.items():
            harmed = apply(effects, picture)
            with torch.no_grad():
                made = images.resize(model.decode(model.encode(images.to_tensor(harmed))), SIZE)
            wanted = original if effects.warp is None else images.to_tensor(harmed)
            scores.add(harm, made, wanted)
            harmed_row.append(harmed)
            made_row.append(images.to_picture(made))
        if len(sheet) < 2 * SHOWN:
            sheet += [images.side_by_side(row, list(HARMS)) for row in (harmed_row, made_row)]
        print(f"{stem} done", flush=True)
    report = scores.report()
    judging.show(report, METRICS)
    judging.finish(arguments, "robustness", {"one pass": report}, sheet, {"model": name})


if __name__ == "__main__":
    main()
