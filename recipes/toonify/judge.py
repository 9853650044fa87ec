"""How near the drawing generator comes to the drawings, and to the person.

python recipes/toonify/judge.py PAIRS MODEL --swaps 8 16 32 --grid seen.jpg

PAIRS must not be among those it was trained on. Each swap takes the photograph generator's layers
up to that resolution; 4 and 8 are the drawing generator itself, which was not trained there.
Identity: cosine of EdgeFace-S between drawing and G(w); it was made for photographs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from swapping import swap
from torch import Tensor

from wplus import images, losses, models
from wplus.data.shards import CachedSynthetic
from wplus.evaluate.bootstrap import intervals
from wplus.evaluate.networks import FaceNet


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description="Judge a generator that draws.")
    parser.add_argument("pairs", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--swaps", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--grid", type=Path, help="picture: G(w), its drawing, each swap")
    options = parser.parse_args()
    torch.set_num_threads(1)
    photo = models.load("mobilestylegan-ffhq").generator
    toon = models.load(options.model).generator
    pairs = CachedSynthetic(options.pairs, photo.num_styles)
    rows = [pairs.item(i, None) for i in range(len(pairs))]
    codes = torch.stack([row["codes"] for row in rows])
    drawings = torch.stack([row["target"] for row in rows])
    lpips, faces = losses.load_lpips(), FaceNet()

    def rendered(generator: torch.nn.Module) -> Tensor:
        made = [images.resize(generator(code[None]), drawings.shape[-1]) for code in codes]
        return torch.cat(made).clamp(-1, 1)

    samples = rendered(photo)
    people = faces.embed(samples)

    def judged(name: str, found: Tensor) -> None:
        values = {
            "LPIPS": torch.stack([lpips(a[None], b[None])[0] for a, b in zip(found, drawings)]),
            "L2": (found - drawings).square().mean((1, 2, 3)),
            "identity": (faces.embed(found) * people).sum(1),
        }
        table = torch.stack(list(values.values()), 1).double().numpy()
        line = [
            f"{what} {row.mean:.3f} [{row.low:.3f}, {row.high:.3f}]"
            for what, row in zip(values, intervals(table))
        ]
        print(f"{name:10} {', '.join(line)} ({len(found)} pairs)", flush=True)

    judged("drawing", drawings)
    judged("photo", samples)
    seen = [samples, drawings]
    for size in options.swaps:
        seen.append(rendered(swap(photo, toon, size)))
        judged(f"swap {size}", seen[-1])
    if options.grid:
        cells = [images.to_picture(picture) for row in zip(*seen) for picture in row]
        images.save(images.grid(cells, columns=len(seen)), options.grid)


if __name__ == "__main__":
    main()
