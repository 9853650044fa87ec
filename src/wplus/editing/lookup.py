"""Names and amounts of edits to directions and amounts."""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path

from wplus.editing import closed_form
from wplus.editing.directions import Direction, load, shipped
from wplus.errors import ConfigError
from wplus.formats.latent_files import is_foreign, read_directions
from wplus.latents import layers_of
from wplus.psp import PSP
from wplus.registry import Registry

logger = logging.getLogger(__name__)

_CLOSED_FORM = re.compile(r"(sefa|pca)(\d{1,4})")
_IN_FILE = re.compile(r"(.*\.(?:safetensors|pt|pth|npy|npz))(?::([^:]*))?", re.IGNORECASE)


def moves(
    model: PSP, amounts: Mapping[str, float], layers: str = "all", file: Path | None = None
) -> list[tuple[Direction, float]]:
    """Directions and their amounts, as `directions.apply` takes them.

    An amount beyond the range that was tried is logged as a warning.

    Args:
        model: whose codes are edited.
        amounts: by name, see `find_direction`.
        layers: the styles that may move, see `latents.layers_of`.
        file: of directions, instead of the shipped one.

    Raises:
        ConfigError: an unknown name, a direction of another generator, or an amount that is not
            finite.
        FormatError: a file of directions cannot be read.
    """
    chosen = [(find_direction(model, name, layers, file), a) for name, a in amounts.items()]
    for direction, amount in chosen:
        if not math.isfinite(amount):
            raise ConfigError(f"{direction.name} {amount}: the amount must be a finite number")
        if not direction.low <= amount <= direction.high:
            span = f"{direction.low:g} to {direction.high:g}"
            logger.warning("%s %g: only %s was tried", direction.name, amount, span)
    return chosen


def find_direction(
    model: PSP, name: str, layers: str = "all", file: Path | None = None
) -> Direction:
    """A direction by name.

    Args:
        model: whose codes are edited.
        name: of a direction of the file; or sefaK or pcaK, see `closed_form`; or FILE, which holds
            a single one, or FILE:NAME. Files of other tools are read too, see
            `formats.latent_files`.
        layers, file: see `moves`.

    Raises:
        ConfigError, FormatError: see `moves`.
    """
    styles = layers_of(layers, model.generator.style_resolutions)
    if form := _CLOSED_FORM.fullmatch(name):
        make = closed_form.sefa if form[1] == "sefa" else closed_form.pca
        return make(model.generator, styles, int(form[2]))[-1]
    in_file = _IN_FILE.fullmatch(name)
    if in_file or os.sep in name or Path(name).is_file():  # a path is never taken for a name
        path, inner = in_file.groups() if in_file else (name, None)
        known = _load(Path(path), model)
        if inner is None:
            inner, *others = known
            if others:
                raise ConfigError(f"{name}: holds several directions; name one, as {name}:{inner}")
    else:
        known, inner = _load(file, model) if file else shipped(model.generator), name
    direction = known.find(inner)
    if direction.vector.shape != model.mean_codes.shape:
        raise ConfigError(
            f"direction {name!r} is of {tuple(direction.vector.shape)}, and this model takes"
            f" {tuple(model.mean_codes.shape)}; it was found for another generator"
        )
    return direction if layers == "all" else direction.only(styles)


def _load(path: Path, model: PSP) -> Registry[Direction]:
    """The directions of a file of ours or of another tool; those of W move every style alike."""
    if not is_foreign(path):
        return load(path)[0]
    rows = []
    for name, vector in read_directions(path).items():
        alike = len(vector) == 1
        vector = vector.expand(len(model.mean_codes), -1) if alike else vector
        rows.append(Direction(name, vector, found=f"in {path.name}"))
    return Registry("direction", rows)
