"""Names and amounts of edits to directions and amounts."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from pathlib import Path

from wplus.editing import closed_form
from wplus.editing.directions import Direction, load, shipped
from wplus.errors import ConfigError
from wplus.latents import layers_of
from wplus.psp import PSP

logger = logging.getLogger(__name__)

_CLOSED_FORM = re.compile(r"(sefa|pca)(\d{1,4})")
_IN_FILE = re.compile(r"(.*\.safetensors)(?::([^:]*))?")


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
            a single one, or FILE:NAME.
        layers, file: see `moves`.

    Raises:
        ConfigError, FormatError: see `moves`.
    """
    styles = layers_of(layers, model.generator.style_resolutions)
    if form := _CLOSED_FORM.fullmatch(name):
        make = closed_form.sefa if form[1] == "sefa" else closed_form.pca
        return make(model.generator, styles, int(form[2]))[-1]
    if in_file := _IN_FILE.fullmatch(name):
        known, inner = load(in_file[1])[0], in_file[2]
        if inner is None:
            inner, *others = known
            if others:
                raise ConfigError(f"{name}: holds several directions; name one, as {name}:{inner}")
    else:
        known, inner = load(file)[0] if file else shipped(model.generator), name
    direction = known.find(inner)
    if direction.vector.shape != model.mean_codes.shape:
        raise ConfigError(
            f"direction {name!r} is of {tuple(direction.vector.shape)}, and this model takes"
            f" {tuple(model.mean_codes.shape)}; it was found for another generator"
        )
    return direction if layers == "all" else direction.only(styles)
