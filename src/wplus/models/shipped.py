"""The models that come with wplus, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from importlib import resources
from pathlib import Path
from types import MappingProxyType

from safetensors.torch import load_file
from torch import Tensor, nn

from wplus import weights
from wplus.config import ModelConfig
from wplus.errors import FormatError, WeightsError
from wplus.formats import foreign
from wplus.models import files

DEFAULT = "faces"
GENERATOR = "mobilestylegan-ffhq"
LICENSE = "non-commercial research (distilled from StyleGAN2-FFHQ)"

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Shipped:
    """What a shipped model is made of; files are named without `.safetensors`.

    Attributes:
        encoder: file in the package, whole or differences; None for a generator alone.
        generator: `GENERATOR`, which is fetched, or a file of differences from it.
        task: what the model is for, where that is not what its encoder was trained for.
    """

    encoder: str | None = None
    generator: str = GENERATOR
    task: str | None = None

    def here(self) -> bool:
        """Whether its files are in the package."""
        files = {self.encoder, self.generator} - {None, GENERATOR}
        return all(_is_shipped(str(file)) for file in files)


SHIPPED: Mapping[str, Shipped] = MappingProxyType(
    {
        "faces": Shipped("faces"),
        "faces-frontal": Shipped("faces-frontal"),
        "faces-sketch": Shipped("faces-sketch"),
        "faces-labels": Shipped("faces-labels"),
        "faces-super": Shipped("faces-super"),
        "faces-inpainting": Shipped("faces-inpainting"),
        "faces-toon": Shipped("faces", "mobilestylegan-toon", task="toonify"),
        "mobilestylegan-toon": Shipped(None, "mobilestylegan-toon"),
        GENERATOR: Shipped(),
    }
)
"""Every model by name; `NAMED` has those whose files are there."""


def _is_shipped(name: str) -> bool:
    return resources.files("wplus").joinpath("weights", f"{name}.safetensors").is_file()


def _shipped(name: str) -> AbstractContextManager[Path]:
    file = resources.files("wplus").joinpath("weights", f"{name}.safetensors")
    return resources.as_file(file)


def _assembled(name: str) -> nn.Module:
    row = SHIPPED[name]
    generator = tensors_of(row.generator, "generator")
    encoder = None if row.encoder is None else tensors_of(row.encoder, "encoder")
    return together(encoder, generator, name, row.task)


def together(
    encoder: tuple[ModelConfig, Tensors] | None,
    generator: tuple[ModelConfig, Tensors],
    what: str,
    task: str | None = None,
) -> nn.Module:
    """The model of an encoder's and a generator's tensors; `what` starts error messages."""
    config, tensors = generator
    config = replace(config, encoder=None)
    state = {f"generator.{name}": value for name, value in tensors.items()}
    if encoder is not None:
        about, tensors = encoder
        terms = "; ".join(part for part in (about.license, config.license) if part).split("; ")
        config = replace(
            about,
            generator=config.generator,
            task=about.task if task is None else task,
            license="; ".join(dict.fromkeys(terms)),
        )
        state |= {f"encoder.{name}": value for name, value in tensors.items()}
    return files.assemble(config, state, what).eval().requires_grad_(False)


def tensors_of(name: str, part: str) -> tuple[ModelConfig, Tensors]:
    """Configuration and tensors of one network of a shipped model, without building it.

    Args:
        name: of `SHIPPED`.
        part: "encoder" or "generator"; tensors have its own names, without the part's before them.

    Raises:
        WeightsError: there is no such shipped model or network, or it cannot be fetched.
        FormatError: a file is damaged, or holds differences from another base.
    """
    row = SHIPPED.get(name)
    file = None if row is None else row.encoder if part == "encoder" else row.generator
    if file is None or (file != GENERATOR and not _is_shipped(file)):
        raise WeightsError(f"{name}: this wplus has no {part} of this name; update it")
    if file == GENERATOR:
        return _mobilestylegan_ffhq()
    with _shipped(file) as path:
        found = files.read_differences(path)
        if found is not None:
            return found.config, over_base(found)
        config, state = files.read(path)
    assert isinstance(config, ModelConfig)
    return config, state


def over_base(found: files.Differences) -> Tensors:
    """The tensors that a file of differences makes with its shipped base."""
    try:
        _, base = tensors_of(found.base, found.part)
    except WeightsError as error:
        raise FormatError(
            f"{found.path}: holds differences from the {found.part} of {error}"
        ) from None
    return found.on(base)


def _mobilestylegan_ffhq() -> tuple[ModelConfig, Tensors]:
    files = [
        weights.path(f"{GENERATOR}-{part}.{suffix}")
        for suffix in ("xml", "bin")
        for part in ("mapping", "synthesis")
    ]
    content, state = foreign.mobile_files(*files)
    state = {name.removeprefix("generator."): value for name, value in state.items()}
    # The mean of 100,000 w (seed 0) takes seconds to compute and 2 kB: it is in the package.
    with _shipped(f"{GENERATOR}-mean") as path:
        state["mean_w"] = load_file(path)["mean_w"]
    return ModelConfig.parse({**content, "license": LICENSE}), state


NAMED: dict[str, Callable[[], nn.Module]] = {
    name: partial(_assembled, name) for name, row in SHIPPED.items() if row.here()
}
"""What `load` takes by name."""
