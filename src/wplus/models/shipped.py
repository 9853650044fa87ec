"""The table of shipped models: their files, and models assembled from them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from types import MappingProxyType

import torch
from safetensors.torch import load_file

from wplus import weights
from wplus.config import ModelConfig, Part
from wplus.errors import FormatError, WeightsError
from wplus.formats import foreign
from wplus.generators import Generator
from wplus.generators.truncated import WITNESS, head_state
from wplus.models import files
from wplus.models.differences import Differences
from wplus.models.files import Tensors

DEFAULT = "faces"
GENERATOR = "mobilestylegan-ffhq"
LICENSE = "non-commercial research (distilled from StyleGAN2-FFHQ)"

Network = tuple[ModelConfig, Tensors]
"""Configuration of a model, and the tensors of one of its networks under the network's names."""


@dataclass(frozen=True)
class Shipped:
    """The files of a shipped model; named without `.safetensors`.

    Attributes:
        encoder: file in the package, whole or differences; None for a generator alone.
        generator: `GENERATOR`, which is fetched, or a file of differences from it.
        task: of the model, if it differs from the task of its encoder's training.
        corrector: file in the package, if there is one.
    """

    encoder: str | None = None
    generator: str = GENERATOR
    task: str | None = None
    corrector: str | None = None

    def here(self) -> bool:
        """Whether its files are in the package."""
        names = {self.encoder, self.generator, self.corrector} - {None, GENERATOR}
        return all(_is_shipped(str(name)) for name in names)


SHIPPED: Mapping[str, Shipped] = MappingProxyType(
    {
        "faces": Shipped("faces", corrector="faces-corrector"),
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


NAMED: dict[str, Shipped] = {name: row for name, row in SHIPPED.items() if row.here()}
"""The models that `load` takes by name."""


def read_named(name: str) -> Network:
    """Configuration and tensors of a shipped model, under the names of a `PSP`.

    Raises:
        WeightsError: it cannot be fetched.
        FormatError: a file is damaged, or holds differences from another base.
    """
    row = SHIPPED[name]
    encoder = None if row.encoder is None else tensors_of(name, "encoder")
    config, tensors = joined(tensors_of(name, "generator"), encoder, row.task)
    if row.corrector is None:
        return config, tensors
    with _shipped(row.corrector) as path:
        part, state = files.parse(files.read_header(path) or {}, path)
    assert isinstance(part, Part)
    state = {f"corrector.{key}": value for key, value in state.items()}
    return replace(config, corrector=part), tensors | state


def read_over_base(found: Differences) -> Network:
    """Configuration and tensors of the model of a differences file and its base."""
    network = _over_base(found)
    if found.part == "generator":
        return joined(network)
    return joined(tensors_of(found.base, "generator"), network)


def joined(generator: Network, encoder: Network | None = None, task: str | None = None) -> Network:
    """A model of a generator and an encoder, whose configuration has the task."""
    config, tensors = generator
    state = {f"generator.{name}": value for name, value in tensors.items()}
    if encoder is None:
        return replace(config, encoder=None), state
    about, tensors = encoder
    terms = "; ".join(part for part in (about.license, config.license) if part).split("; ")
    about = replace(
        about,
        generator=config.generator,
        generator_id=config.generator_id,
        task=about.task if task is None else task,
        license="; ".join(dict.fromkeys(terms)),
    )
    return about, state | {f"encoder.{name}": value for name, value in tensors.items()}


def tensors_of(name: str, part: str) -> Network:
    """One network of a shipped model, without building it.

    Args:
        name: of `SHIPPED`.
        part: "encoder" or "generator".

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
        header = files.read_header(path) or {}
        if "differences" in header:
            return _over_base(Differences.parse(header, path))
        config, state = files.parse(header, path)
    assert isinstance(config, ModelConfig)
    return config, state


def _over_base(found: Differences) -> Network:
    try:
        base_config, base = tensors_of(found.base, found.part)
    except WeightsError as error:
        what = f"holds differences from the {found.part} of {error}"
        raise FormatError(f"{found.path}: {what}") from None
    tensors = found.on(base)
    config = found.config
    if found.part == "generator" and config.generator_id is None:
        mapping = {k for k in base if k == "mean_w" or k.startswith("mapping.")}
        same = all(k in tensors and torch.equal(base[k], tensors[k]) for k in mapping)
        name = f"{base_config.generator_id}/{found.path.stem}" if same else ""
        config = replace(config, generator_id=name)
    return config, tensors


def _mobilestylegan_ffhq() -> Network:
    paths = [
        weights.path(f"{GENERATOR}-{part}.{suffix}")
        for suffix in ("xml", "bin")
        for part in ("mapping", "synthesis")
    ]
    content, state = foreign.mobile_files(*paths)
    state = {name.removeprefix("generator."): value for name, value in state.items()}
    state["mean_w"] = _mean_w()
    return ModelConfig.parse({**content, "license": LICENSE, "generator_id": GENERATOR}), state


def _mean_w() -> torch.Tensor:
    # The mean of 100,000 w (seed 0) takes seconds to compute and 2 kB: it is in the package.
    with _shipped(f"{GENERATOR}-mean") as path:
        return load_file(path)["mean_w"]


def identify(generator: Generator) -> str:
    """The `weights_id` for a file without one: of wplus 0.1, or foreign."""
    state, mean = generator.state_dict(), _mean_w()
    name = WITNESS.removeprefix("generator.")
    if name not in state or state["mean_w"].shape != mean.shape:
        return ""
    if not torch.allclose(state["mean_w"].float(), mean, atol=1e-2):
        return ""
    known = head_state(GENERATOR)[WITNESS].float()
    weight = state[name].float()  # of any precision, hence the tolerance
    same = weight.shape == known.shape and bool((weight - known).norm() < 0.01 * known.norm())
    return GENERATOR if same else f"{GENERATOR}/other"
