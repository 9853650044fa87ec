"""Generators between two: layers of one and of the other, or interpolated weights.

A generator that was fine-tuned from another still reads the same codes. Its coarse layers place the
face and its fine layers color it, so that taking each from one of the two chooses what changes
("Resolution Dependent GAN Interpolation", Pinkney & Adler 2020, arXiv 2010.05334, section 3).
"""

from __future__ import annotations

import copy

from torch import Tensor

from wplus.errors import ConfigError
from wplus.generators import Generator


def swap(first: Generator, second: Generator, resolution: int) -> Generator:
    """The layers of `first` up to a resolution, those of `second` above it.

    Args:
        first: gives the mapping and the mean code, too.
        second: of the same kind and sizes.
        resolution: of the last layers taken from `first`; 0 takes every layer from `second`, the
            image's own takes none.

    Returns:
        A new generator, in the precision and place of `first`, frozen if that is; the two stay as
        they are.

    Raises:
        ConfigError: the two do not fit each other, or no layer has that resolution.
    """
    return blend(first, second, 1.0, above=resolution)


def blend(first: Generator, second: Generator, amount: float, above: int = 0) -> Generator:
    """Weights on the line between two generators: first + amount · (second − first).

    Args:
        first: gives the mapping and the mean code, too.
        second: of the same kind and sizes.
        amount: 0 is the first, 1 the second; values beyond extrapolate.
        above: only layers above this resolution are blended, those up to it are the first's.

    Returns:
        A new generator, as `swap` returns it.

    Raises:
        ConfigError: the two do not fit each other, no layer has that resolution, or the amount is
            not a finite number.
    """
    if not -1e6 < amount < 1e6:
        raise ConfigError(f"the amount of a blend must be a finite number, not {amount}")
    ours, theirs = first.state_dict(), second.state_dict()
    shapes = {name: value.shape for name, value in ours.items()}
    if type(first) is not type(second) or shapes != {k: v.shape for k, v in theirs.items()}:
        raise ConfigError(
            f"a {type(first).__name__} of {first.resolution}² and {first.num_styles} styles and a"
            f" {type(second).__name__} of {second.resolution}² and {second.num_styles} styles"
            " cannot be blended: both must be made of the same layers"
        )
    sizes = sorted({0, first.resolution, *first.style_resolutions})
    if above not in sizes:
        raise ConfigError(
            f"this generator has no layers at {above}²; it has them at"
            f" {', '.join(str(size) for size in sizes[1:])} (0 stands for none)"
        )
    made = copy.deepcopy(first)
    made.weights_id = first.latent_space and f"{first.latent_space}/blend"
    for name, value in made.state_dict().items():  # the tensors themselves
        size = resolution_of(first, name)
        if size is not None and size > above:
            value.copy_(_between(value, theirs[name].to(value), amount))
    return made


def _between(first: Tensor, second: Tensor, amount: float) -> Tensor:
    """Exact at both ends: first + 1·(second − first) is rounded, and is not the second."""
    if amount == 1.0:
        return second
    return first + amount * (second - first)


def resolution_of(generator: Generator, name: str) -> int | None:
    """The resolution at which a tensor of `generator.state_dict()` acts.

    Returns:
        None for what makes codes: the mapping and the mean code.

    Raises:
        ConfigError: this kind of generator keeps its layers under other names.
    """
    head, _, rest = name.partition(".")
    if head in ("mapping", "mean_w"):
        return None
    if head in ("constant", "stem", "stem_rgb"):
        return 4
    if head == "to_image":
        return generator.resolution
    if head == "blocks":
        block = generator.get_submodule(f"blocks.{rest.partition('.')[0]}")
        assert isinstance(block.resolution, int)
        return block.resolution
    raise ConfigError(f"cannot determine the resolution of {name!r} in this generator")
