"""Rendering synthetic examples in advance, into shards; see `shards` for their layout."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from wplus import images
from wplus.data.base import collate
from wplus.data.record import keep_settings
from wplus.data.shards import ABOUT, find, locate
from wplus.data.synthetic import Synthesizer, Synthetic
from wplus.errors import ConfigError
from wplus.files import atomic
from wplus.generators import Generator
from wplus.progress import Progress, silent


def render_cache(
    generator: Generator,
    folder: str | os.PathLike[str],
    count: int,
    seed: int,
    size: int = 256,
    *,
    truncation: tuple[float, float] = (0.5, 1.0),
    mixing: float = 0.5,
    per_shard: int = 250,
    at_once: int = 8,
    progress: Progress = silent,
) -> Path:
    """Render `count` examples into shards; existing shards are kept.

    Example i is item i of `Synthetic(..., count=..., seed=seed)`, for any size of shards and
    batches. Several processes may render into one folder: at worst a shard is rendered twice.

    Args:
        generator: G, on the device on which to render.
        folder: made if it is missing.
        count: number of examples. A larger count later adds to the folder.
        seed: of the examples.
        size: side of the images.
        truncation: see `Synthetic`.
        mixing: see `Synthetic`.
        per_shard: examples in a shard, 50 MB at 256².
        at_once: examples that are rendered together.
        progress: called after every shard, in examples.

    Returns:
        The folder.

    Raises:
        ConfigError: the folder has examples of other settings, or a setting is out of range.
        OSError: the folder cannot be written.
    """
    place = Path(folder)
    recipes = Synthetic(
        generator.num_styles,
        generator.style_dim,
        truncation=truncation,
        mixing=mixing,
        count=count,
        seed=seed,
    )
    if per_shard < 1 or at_once < 1 or size < 1:
        raise ConfigError("size, per_shard and at_once must be 1 or more")
    about = {
        "num_styles": generator.num_styles,
        "style_dim": generator.style_dim,
        "seed": seed,
        "size": size,
        "truncation": list(truncation),
        "mixing": mixing,
        "per_shard": per_shard,
    }
    keep_settings(place / ABOUT, about, occupied=place.is_dir() and bool(find(place)))
    synthesizer = Synthesizer(generator, generator.device, size, at_once)
    for number in range(math.ceil(count / per_shard)):
        first, last = number * per_shard, min((number + 1) * per_shard, count)
        path = place / f"{number:05d}.npz"
        if not _is_whole(path, last - first):
            with atomic(path) as temporary:
                np.savez(temporary, **_render(recipes, range(first, last), synthesizer))  # type: ignore[arg-type]
        progress(last, count)
    return place


def _render(
    recipes: Synthetic, indices: range, synthesizer: Synthesizer
) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
    rendered, ends, cuts = [], [], []
    for start in range(indices.start, indices.stop, synthesizer.at_once):
        some = range(start, min(start + synthesizer.at_once, indices.stop))
        batch = collate([recipes.item(index, None) for index in some])
        codes = synthesizer.codes(batch["z"], batch["psi"], batch["cut"])
        rendered += [np.asarray(images.to_picture(each)) for each in synthesizer.render(codes)]
        # w1 is the first style and w2 the last, except that without a crossover w2 is never used.
        ends.append(codes[:, [0, -1]].cpu().numpy())
        cuts.append(batch["cut"].numpy())
    both = np.concatenate(ends)
    return {
        "images": np.stack(rendered),
        "w1": both[:, 0].copy(),
        "w2": both[:, 1].copy(),
        "cut": np.concatenate(cuts),
    }


def _is_whole(path: Path, count: int) -> bool:
    try:
        arrays = locate(path)
    except (ConfigError, OSError):
        return False
    return arrays["images"].shape[0] >= count
