"""The table of losses: a function, a network and requirements for each.

A row is a complete loss: a task sets its weight by name (`wplus.tasks`), a training configuration
overrides the weight, and `Objective` computes it. Nothing here imports torch before a loss is
computed or a network is loaded, so that commands can list the losses at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wplus.errors import ConfigError
from wplus.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor, nn

    from wplus.losses.objective import LossInputs

    Compute = Callable[[LossInputs, nn.Module | None], Mapping[str, Tensor]]


@dataclass(frozen=True)
class NetworkLoader:
    """A frozen network of losses, loaded once for all losses that share it.

    Attributes:
        name: its name; the training setting `<name>_net`, if there is one, chooses a variant or
            a file.
        load: the value of that setting (None for the default) to the network.
        needs_file: whether nothing can be fetched by default, so that the setting is required.
    """

    name: str
    load: Callable[[str | None], nn.Module]
    needs_file: bool = False


@dataclass(frozen=True)
class Loss:
    """One term of the objective.

    Attributes:
        name: by which weights refer to it.
        about: one line for the command's help and the documentation.
        compute: from the batch and the loss's network (None without one) to scalars by name. The
            first of `terms` is minimized, others are only logged; an empty result means that the
            batch has nothing to compare.
        terms: names of these scalars, also in the log; by default the loss's own name.
        network: the network that `compute` needs; None for none.
        needs_image: whether it compares images; if no weighted loss does, the generator is not run.
        needs_code: whether it is a mean over the examples with a known code only.
        excludes: losses that cannot have a weight together with this one.
        weight: default where neither the task nor the configuration sets one.
    """

    name: str
    about: str
    compute: Compute
    terms: tuple[str, ...] = ()
    network: NetworkLoader | None = None
    needs_image: bool = True
    needs_code: bool = False
    excludes: tuple[str, ...] = ()
    weight: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "terms", self.terms or (self.name,))


def _l2(x: LossInputs, _: nn.Module | None) -> dict[str, Tensor]:
    return {"l2": (x.image - x.target).square().mean()}


def _crop_l2(x: LossInputs, _: nn.Module | None) -> dict[str, Tensor]:
    return {"crop_l2": _l2(x.inner_face, None)["l2"]}


def _lpips(x: LossInputs, network: nn.Module | None) -> dict[str, Tensor]:
    import torch

    from wplus.losses.perceptual import LPIPS

    assert isinstance(network, LPIPS)
    with torch.no_grad():
        target = network.features(x.target)
    return {"lpips": network.distance(network.features(x.image), target).mean()}


def _crop_lpips(x: LossInputs, network: nn.Module | None) -> dict[str, Tensor]:
    return {"crop_lpips": _lpips(x.inner_face, network)["lpips"]}


def _identity(x: LossInputs, network: nn.Module | None) -> dict[str, Tensor]:
    import torch

    assert network is not None
    source: Tensor | None = x.source
    if x.source.shape != x.target.shape:
        source = None
    elif torch.equal(x.source, x.target):  # inversion: the target is embedded once
        source = x.target
    terms: dict[str, Tensor] = network(x.image, x.target, source)
    return terms


def _similarity(x: LossInputs, network: nn.Module | None) -> dict[str, Tensor]:
    assert network is not None
    return {"similarity": network(x.image, x.target)["similarity"]}


def _regularization(x: LossInputs, _: nn.Module | None) -> dict[str, Tensor]:
    import torch

    return {"reg": torch.linalg.vector_norm(x.codes - x.mean_codes, dim=(1, 2)).mean()}


def _code(x: LossInputs, _: nn.Module | None) -> dict[str, Tensor]:
    if x.true_codes is None:
        errors = x.codes[:0]
    else:
        rows = slice(None) if x.has_code is None else x.has_code
        errors = x.codes[rows] - x.true_codes[rows]
    count = len(errors) if x.num_with_code is None else x.num_with_code
    if not count:
        return {}
    return {"code": errors.square().mean(dim=(1, 2)).sum() / (count * x.code_variance)}


def _load_lpips(variant: str | None) -> nn.Module:
    from wplus.losses.perceptual import load_lpips

    return load_lpips(variant or "alexnet")


def _load_identity(path: str | None) -> nn.Module:
    from wplus.losses.facenets import load_face_network
    from wplus.losses.identity import IdentityLoss

    return IdentityLoss(load_face_network(path))


def _load_similarity(path: str | None) -> nn.Module:
    from wplus.losses.similarity import SimilarityLoss, load_moco

    assert path is not None  # by `needs_file`
    return SimilarityLoss(load_moco(path))


LPIPS_NETWORK = NetworkLoader("lpips", _load_lpips)

LOSSES: Registry[Loss] = Registry(
    "loss",
    (
        Loss("l2", "Mean squared error.", _l2),
        Loss("lpips", "Perceptual distance.", _lpips, network=LPIPS_NETWORK),
        Loss(
            "identity",
            "1 - cosine of face embeddings.",
            _identity,
            terms=("id", "id_gain"),
            network=NetworkLoader("identity", _load_identity),
        ),
        Loss(
            "regularization",
            "Length of the offsets from the mean code.",
            _regularization,
            terms=("reg",),
            needs_image=False,
        ),
        Loss("crop_l2", "Mean squared error of the inner face.", _crop_l2),
        Loss(
            "crop_lpips",
            "Perceptual distance of the inner face.",
            _crop_lpips,
            network=LPIPS_NETWORK,
        ),
        Loss(
            "similarity",
            "1 - cosine of self-supervised features; off faces, instead of identity.",
            _similarity,
            network=NetworkLoader("similarity", _load_similarity, needs_file=True),
            excludes=("identity",),
        ),
        Loss(
            "code",
            "Squared error of the code, where the true one is known; 1 is the variance of w.",
            _code,
            needs_image=False,
            needs_code=True,
        ),
    ),
)
"""Every loss by its name ("Encoding in Style", section 3.2 and appendix)."""


def check_weights(weights: Mapping[str, float]) -> dict[str, float]:
    """Weights by the names of `LOSSES`, in its order; a loss that is not named has its own.

    Raises:
        ConfigError: a loss is unknown, a weight is negative or not finite, or two losses that
            exclude each other are both weighed.
    """
    for name, weight in weights.items():
        LOSSES.find(name)
        if not 0 <= weight < math.inf:
            raise ConfigError(f"the weight of {name} must be 0 or more, not {weight}")
    full = {name: float(weights.get(name, row.weight)) for name, row in LOSSES.items()}
    for name, row in LOSSES.items():
        for other in row.excludes:
            if full[name] and full.get(other):
                raise ConfigError(f"{other} and {name} exclude each other: weigh one of them")
    return full


def networks_for(names: Iterable[str]) -> list[NetworkLoader]:
    """The networks that these losses need, each once."""
    found = {row.network.name: row.network for row in map(LOSSES.find, names) if row.network}
    return list(found.values())
