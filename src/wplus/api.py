"""The library in three calls: `wplus.invert`, `wplus.translate`, `wplus.edit`.

Models that were loaded by name are kept: the last `KEPT` of them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from wplus import editing
from wplus.errors import ConfigError
from wplus.inference import model_choice
from wplus.inference.inputs import Input
from wplus.inference.options import Options, Precision
from wplus.inference.outputs import Output
from wplus.inference.run import Inference
from wplus.models import DEFAULT
from wplus.optimize import photograph_task
from wplus.psp import PSP
from wplus.tasks import TASKS

KEPT = 3
Model = PSP | str | os.PathLike[str]


def invert(
    images: Input | list[Input], model: Model = DEFAULT, **options: Any
) -> Output | list[Output]:
    """Photographs to W+ codes and reconstructions.

    Args:
        images: one photograph, or a list of them: paths, content of files (bytes), PIL images,
            arrays (H, W, 3) of 8 bits, or tensors (3, H, W) in [-1, 1].
        model: a shipped model's name, a model file, or a loaded model.
        options: fields of `inference.options.InversionOptions`: refine, align, precision, ….

    Returns:
        For one photograph its largest face: `.image` (PIL), `.codes` (L, style_dim), `.crop`
        (`CropGeometry`), `.save(folder)`. For a list, or with `all_faces`, a list of these.

    Raises:
        WplusError: a photograph cannot be read, no face is found, an option is wrong, ….
    """
    settings = _options(options)
    loaded, name = _loaded(model, settings)
    inference = Inference(loaded, photograph_task(loaded), settings, name)
    found = [_outputs(inference, given) for given in _list(images)]
    if isinstance(images, list) or settings.all_faces:
        return [output for outputs in found for output in outputs]
    return found[0][0]


def translate(
    images: Input | list[Input], task: str, model: Model | None = None, **options: Any
) -> Output | list[Output]:
    """Any task of the paper: sketches, label maps, small or damaged photographs to faces.

    Args:
        images: one input as the task reads it, or a list; see `invert`.
        task: a name of `tasks.TASKS`.
        model: see `invert`; None for the shipped model of the task.
        options: fields of `inference.options.Options`: outputs, layers, alpha, seed, refine, ….

    Returns:
        See `invert`; for `outputs` above 1, a list.

    Raises:
        WplusError: see `invert`.
    """
    row, settings = TASKS.find(task.replace("-", "_")), _options(options)
    settings.check(row)  # before a model is loaded
    loaded, name = _loaded(model_choice.name_for(row) if model is None else model, settings)
    inference = Inference(loaded, row, settings, name)
    found = [output for given in _list(images) for output in _outputs(inference, given)]
    several = isinstance(images, list) or settings.outputs > 1 or settings.all_faces
    return found if several else found[0]


def edit(
    images: Input | list[Input],
    model: Model = DEFAULT,
    *,
    layers: str = "all",
    refine: int | None = None,
    align: bool | None = None,
    correction: bool = False,
    **amounts: float,
) -> Output | list[Output]:
    """Photographs, codes or codes files to edited faces.

    Args:
        images: see `invert`; also codes (L, style_dim) and codes files.
        model: see `invert`.
        layers: the styles that may move, see `latents.layers_of`.
        refine, align, correction: see `inference.options.InversionOptions`.
        amounts: of named directions: smile=2, age=-1, …; sefa1=3 and pca1=3 are those of closed
            form. `wplus directions list` shows what amount 1 of each is.

    Returns:
        See `invert`.

    Raises:
        WplusError: see `invert`; or no direction has this name.
    """
    settings = Options(refine=refine, align=align, correction=correction)
    loaded, name = _loaded(model, settings)
    inference = Inference(loaded, photograph_task(loaded), settings, name)
    moves = editing.moves(loaded, amounts, layers)
    found = []
    for given in _list(images):
        [sample] = inference.read(given)
        own = inference.codes([sample])
        codes = editing.apply(own, moves)
        metadata = {**inference.metadata(sample), "edits": amounts}
        image = inference.decode([sample], own, codes)[0]
        found.append(Output(sample, codes[0], image, metadata))
    return found if isinstance(images, list) else found[0]


def _list(images: Input | list[Input]) -> Sequence[Input]:
    return images if isinstance(images, list) else [images]


def _outputs(inference: Inference, given: Input) -> list[Output]:
    samples = inference.read(given)
    return [output for sample in samples for output in inference.generate([sample])[0]]


def _options(values: dict[str, Any]) -> Options:
    try:
        return Options(**values)
    except TypeError as error:
        raise ConfigError(str(error).replace("Options.__init__() ", "")) from None


def _loaded(model: Model, options: Options) -> tuple[PSP, str]:
    """A model and its name."""
    if isinstance(model, PSP):
        return model, "model"
    name = os.fspath(model)
    changed = Path(name).stat().st_mtime_ns if Path(name).is_file() else 0
    return _kept(name, options.precision, changed), name


@lru_cache(maxsize=KEPT)
def _kept(name: str, precision: Precision, changed: int) -> PSP:
    """A model by name, loaded again when its file has changed."""
    return model_choice.load(name, precision=precision)
