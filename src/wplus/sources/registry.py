"""The kinds of source as one table. Listing it needs no torch: a kind is imported when it is used.

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
        is_photograph: it shows a face that can be detected, cropped and pasted back; and training
            makes it of the target, where no folder of sources is named.
        crops: `--align` finds the face in it, or the drawing on its page; true of photographs.
        augmentable: training may apply `data.Augmentation` to it.
        options: settings of inference that mean something to this kind alone.
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
        """How it is read, shown and trained on."""
        if not isinstance(self.implementation, str):
            return self.implementation
        return cast("Kind", imported(self.implementation)())


_KINDS = "wplus.sources."
SOURCES: Registry[Source] = Registry(
    "source",
    (
        Source("photo", _KINDS + "photo:Photo", "photograph", is_photograph=True, augmentable=True),
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
