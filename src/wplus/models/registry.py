"""Tables of networks: the class for each `kind` of a configuration.

A row names its class as text, so that reading the tables imports none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

from torch import nn

from wplus.config import Part
from wplus.errors import ConfigError
from wplus.formats.opening import line
from wplus.registry import Registry, imported

if TYPE_CHECKING:
    from wplus.correctors import Corrector
    from wplus.encoders import Encoder
    from wplus.generators import Generator

N_co = TypeVar("N_co", bound=nn.Module, covariant=True)


@dataclass(frozen=True)
class Network(Generic[N_co]):
    """One kind of network.

    Attributes:
        name: the `kind` of configurations.
        home: its class, or a function that builds it; "module:name" is imported on first use.
        preset: arguments that this kind fixes.
    """

    name: str
    home: str | Callable[..., N_co]
    preset: Mapping[str, Any] = field(default_factory=dict)

    @property
    def constructor(self) -> Callable[..., N_co]:
        """Its class or function, imported on first use."""
        home = imported(self.home) if isinstance(self.home, str) else self.home
        return cast("Callable[..., N_co]", home)

    def build(self, options: Mapping[str, Any]) -> N_co:
        """The network of these arguments. Raises as its class does."""
        return self.constructor(**self.preset, **options)


def _arcface(trunk: Mapping[str, Any], **options: Any) -> nn.Module:
    from wplus.losses.facenets import ArcFace
    from wplus.nn.irse import IRSETrunk

    return ArcFace(IRSETrunk(**trunk), **options)


def _mobilefacenet(input_channels: int, stem: int, stages: Any, **options: Any) -> nn.Module:
    from wplus.nn.mobilefacenet import MobileFaceNet, MobileFaceTrunk

    return MobileFaceNet(MobileFaceTrunk(input_channels, stem, stages), **options)


_PYRAMID = "wplus.encoders:PyramidEncoder"

ENCODERS: Registry[Network[Encoder]] = Registry(
    "encoder",
    (
        Network("pyramid", _PYRAMID),
        Network("all_from_largest", _PYRAMID, {"levels": "largest"}),
        Network("all_from_smallest", _PYRAMID, {"levels": "smallest"}),
        Network("single_w", "wplus.encoders:SingleWEncoder"),
        Network("naive_wplus", "wplus.encoders:NaiveWPlusEncoder"),
        Network("progressive", "wplus.encoders.progressive:ProgressiveEncoder"),
        Network(
            "progressive_from_smallest",
            "wplus.encoders.progressive:ProgressiveEncoder",
            {"levels": "smallest"},
        ),
        Network("iterative", "wplus.encoders.progressive:IterativeEncoder"),
        Network("compact", "wplus.encoders:CompactEncoder"),
    ),
)
GENERATORS: Registry[Network[Generator]] = Registry(
    "generator",
    (
        Network("stylegan2", "wplus.generators:StyleGAN2"),
        Network("mobilestylegan", "wplus.generators:MobileStyleGAN"),
    ),
)
CORRECTORS: Registry[Network[Corrector]] = Registry(
    "corrector", (Network("features", "wplus.correctors:FeatureCorrector"),)
)
NETWORKS: Registry[Network[nn.Module]] = Registry(
    "network",
    (
        Network("arcface", _arcface),
        Network("mobilefacenet", _mobilefacenet),
        Network("resnet", "wplus.nn.resnet:ResNet"),
        Network("bisenet", "wplus.nn.bisenet:BiSeNet"),
        Network("lpips", "wplus.losses.perceptual:LPIPS"),
    ),
)
"""Networks that are no part of a model: those of losses, data preparation and evaluation."""

_TABLES = (ENCODERS, GENERATORS, CORRECTORS, NETWORKS)


@overload
def build(part: Part) -> nn.Module: ...
@overload
def build(part: Part, table: Registry[Network[N_co]]) -> N_co: ...
def build(part: Part, table: Registry[Network[Any]] | None = None) -> nn.Module:
    """The network that `part` describes, initialized at random.

    Args:
        part: a row's name and the arguments of its class.
        table: the table of the name; any of the tables if None.

    Raises:
        ConfigError: the kind is unknown, or an option is unknown or out of range.
    """
    if table is None:
        table = next((rows for rows in _TABLES if part.kind in rows), NETWORKS)
    row = table.find(part.kind)
    try:
        return cast(nn.Module, row.build(part.options))
    except Exception as error:  # wrong options of a file can fail anywhere in a constructor
        raise ConfigError(f"network {part.kind!r}: {line(error)}") from None
