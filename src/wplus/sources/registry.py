"""The kinds of source as one table. It needs no torch: a kind is imported on first use.

A new kind is one subclass of `kind.Kind` and one row here, or `SOURCES.register(Source(...))`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from wplus.registry import Registry, imported

if TYPE_CHECKING:
    from wplus.sources.kind import Kind


@dataclass(frozen=True)
class Source:
    """One kind of encoder input.

    Attributes:
        name: as tasks and model files call it.
        implementation: a `Kind`, or "module:Class" of one that is imported on first use.
        noun: for messages.
        channels: of the encoder's input, unless a task or a model says otherwise.
        is_photograph: it shows a face that can be detected, cropped and pasted back, and training
            derives it from the target where there is no folder of sources.
        crops: `--align` applies: it finds the face, or the drawing on its page. Always true for
            photographs.
        augmentable: training may apply `data.Augmentation` to it.
        options: inference options that only this kind uses.
    """

    name: str
    implementation: Kind | str
    noun: str = "image"
    channels: int = 3
    is_photograph: bool = False
    crops: bool = False
    augmentable: bool = False
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "crops", self.crops or self.is_photograph)

    @property
    def kind(self) -> Kind:
        """The implementation: reads, previews and prepares training examples."""
        if not isinstance(self.implementation, str):
            return self.implementation
        return cast("Kind", imported(self.implementation)())


_KINDS = "wplus.sources."
SOURCES: Registry[Source] = Registry(
    "source",
    (
        Source("photo", _KINDS + "kind:Photo", "photograph", is_photograph=True, augmentable=True),
        Source("sketch", _KINDS + "sketch:Sketch", "sketch", channels=1, crops=True),
        Source(
            "labels", _KINDS + "labels:Labels", "label map", channels=19, options=("label_order",)
        ),
        Source(
            "low_resolution", _KINDS + "low_resolution:LowResolution", "small photograph",
            is_photograph=True, options=("factor",),
        ),
        Source(
            "masked", _KINDS + "masked:Masked", "photograph with a hole",
            is_photograph=True, options=("mask", "box"),
        ),
    ),
)  # fmt: skip
"""Every kind of source by its name."""
