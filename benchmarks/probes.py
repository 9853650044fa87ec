"""Judges of attributes: linear probes on nets that neither the encoder nor a direction was made by.

The shipped directions were found with the w600k face net, which is also the trunk of the encoder,
so others must judge them: here the trunk of the face parser, and EdgeFace-S. Probes are fitted on
photographs with known attributes and tried on others.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from wplus import images
from wplus.editing import regression
from wplus.editing.attributes import Attributes, read_attributes
from wplus.evaluate import FaceNet
from wplus.faces.parser import load_parser
from wplus.nn.bisenet import BiSeNet

SIZE = 128  # of the pictures that the trunk looks at: more of them in the same time
PLACES = 4  # a side of the grid that features are averaged over
GROUPS = (128 * PLACES**2, 256 * PLACES**2, 512)  # features at strides 8 and 16, EdgeFace's vector
CONTRASTS = {"gender": ("female", "male"), "glasses": ("NoGlasses", "ReadingGlasses")}
NAMES = ("smile", "age", "yaw", "pitch", "glasses", "gender", "facial_hair", "bald")
PENALTIES = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
LEAST_READ = 0.3  # R² below which a probe judges nothing


class Eye:
    """What is seen of an aligned face: features of the parser's trunk, and EdgeFace's vector."""

    def __init__(self, face: FaceNet | None = None) -> None:
        self.face = face or FaceNet()
        network = load_parser().network
        assert isinstance(network, BiSeNet)
        self.network = network

    @torch.no_grad()
    def __call__(self, picture: Tensor) -> Tensor:
        """(F,) features of a picture (1, 3, 256, 256) in [-1, 1]."""
        net = self.network
        x = (images.resize(picture, SIZE) + 1) / 2
        x = (x - net.get_buffer("mean")) / net.get_buffer("std")
        x = net.pool(net.stem(x.contiguous(memory_format=torch.channels_last)).relu())
        seen = []
        for stage in list(net.stages)[:3]:  # the last one, at stride 32, reads no attribute well
            x = stage(x)
            seen.append(F.adaptive_avg_pool2d(x, PLACES).flatten())
        found = torch.cat([*seen[1:], self.face.embed(picture)[0].nan_to_num()])
        assert len(found) == sum(GROUPS)
        return found


@dataclass(frozen=True, eq=False)
class Probes:
    """Linear readers of attributes.

    Attributes:
        names: of the attributes, A.
        deviations: (A,) standard deviation of each among the photographs that were learned from.
        shares: (A,) R² on photographs that nothing was learned from.
        slopes: (A,) by how much what is read grows, there, where the attribute grows by 1: below 1,
            since regressions shrink.
        held_out: of how many photographs the two are.
    """

    names: tuple[str, ...]
    deviations: Tensor
    shares: Tensor
    slopes: Tensor
    held_out: int
    center: Tensor
    scale: Tensor
    weights: Tensor
    means: Tensor

    def read(self, features: Tensor) -> Tensor:
        """(N, F) features to (N, A) values in the attributes' units; shrunk, see `slopes`."""
        return (features - self.center) / self.scale @ self.weights + self.means

    def change(self, before: Tensor, after: Tensor) -> Tensor:
        """(A,) how far the attributes moved, in deviations, with the shrinking undone on average.

        NaN where the probe reads too little to judge.
        """
        moved = (self.read(after[None]) - self.read(before[None]))[0]
        moved = moved / self.slopes / self.deviations
        return torch.where(self.shares >= LEAST_READ, moved, torch.nan)


def fit(features: Tensor, attributes: Attributes, held_out: Tensor) -> Probes:
    """Learn from the rows that are not held out, and try on those that are.

    Args:
        features: (N, F).
        attributes: of the same N rows.
        held_out: (N,) bool.
    """
    center = features[~held_out].mean(0)
    # Each group weighs the same, however many numbers it has.
    sizes = torch.tensor(GROUPS)
    scale = features[~held_out].std(0).clamp_min(1e-3) * sizes.repeat_interleave(sizes).sqrt()
    x = (features - center) / scale
    weights, means, deviations, shares, slopes = [], [], [], [], []
    for k in range(len(attributes.names)):
        y = attributes.values[:, k]
        learn, test = ~held_out & ~y.isnan(), held_out & ~y.isnan()
        b, _ = regression.ridge(regression.Rows.of(x[learn]), y[learn], PENALTIES)
        mean = y[learn].mean() - x[learn].mean(0) @ b
        read, true = x[test] @ b + mean, y[test]
        weights.append(b)
        means.append(mean)
        deviations.append(y[learn].std())
        spread = true - true.mean()
        shares.append(1 - (read - true).square().sum() / spread.square().sum())
        slopes.append((read * spread).sum() / spread.square().sum())
    return Probes(
        attributes.names,
        torch.stack(deviations),
        torch.stack(shares),
        torch.stack(slopes),
        int(held_out.sum()),
        center,
        scale,
        torch.stack(weights, 1),
        torch.stack(means),
    )


def load_features(folder: Path, names: Sequence[str], eye: Eye, cache: Path) -> Tensor:
    """(N, F) features of the files; kept in a file of `cache`, for they take a while."""
    key = hashlib.sha256("\n".join([str(folder.resolve()), *names]).encode()).hexdigest()[:12]
    file = cache / f"probes-{key}.npy"
    if file.is_file():
        return torch.from_numpy(np.load(file, allow_pickle=False).astype(np.float32))
    rows = []
    for index, name in enumerate(names, 1):
        picture = images.read(folder / name).resize((256, 256), Image.Resampling.LANCZOS)
        rows.append(eye(images.to_tensor(picture)).half().numpy())
        if index % 100 == 0 or index == len(names):
            print(f"probes: {index} of {len(names)} photographs of {folder.name}", flush=True)
    cache.mkdir(parents=True, exist_ok=True)
    table = np.stack(rows)
    np.save(file, table)
    return torch.from_numpy(table.astype(np.float32))


def load_probes(folders: Sequence[Path], table: Path, first: str, eye: Eye, cache: Path) -> Probes:
    """Probes learned from photographs, and tried on those of the first folder from `first` on.

    Attributes are as the table has them; glasses are worn or not (sunglasses and goggles are left
    out), and gender is what the table's makers read off the faces.

    Args:
        folders: aligned photographs; all of the further folders are learned from.
        table: CSV of their attributes.
        first: name of the first photograph that is held out.
        eye: what sees them.
        cache: folder for the features.

    Raises:
        ValueError: there is nothing to learn from, or nothing to try on.
    """
    known = read_attributes(table, NAMES, CONTRASTS)
    features: list[Tensor] = []
    stems: list[str] = []
    held_out: list[bool] = []
    for number, folder in enumerate(folders):
        files = sorted(file for file in folder.iterdir() if file.is_file())
        files = [file for file in files if file.stem in known.ids]
        features.append(load_features(folder, [file.name for file in files], eye, cache))
        stems += [file.stem for file in files]
        held_out += [number == 0 and file.name >= first for file in files]
    if not first or all(held_out) or not any(held_out):
        raise ValueError(f"{folders[0]}: nothing sorts before and after --first {first!r}")
    return fit(torch.cat(features), known.rows(stems), torch.tensor(held_out))


def show(probes: Probes) -> None:
    """Print how well each attribute is read."""
    print(f"\nprobes, on {probes.held_out} photographs held out\n")
    print("| attribute | R² | deviation | judged |\n|---|---|---|---|")
    for k, name in enumerate(probes.names):
        share, deviation = float(probes.shares[k]), float(probes.deviations[k])
        judged = "yes" if share >= LEAST_READ else "no: too little is read"
        print(f"| {name} | {share:.2f} | {deviation:.3g} | {judged} |")
    if any(math.isnan(value) for value in probes.shares.tolist()):
        raise ValueError("an attribute does not vary among the photographs held out")
