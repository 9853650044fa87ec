"""wplus: photographs to the W+ codes of a pretrained StyleGAN, and back.

>>> import wplus
>>> face = wplus.invert("photo.jpg")             # .image, .codes (L, 512), .crop, .save(folder)
>>> older = wplus.edit("photo.jpg", age=1, smile=2)
>>> faces = wplus.translate("sketch.png", task="sketch", outputs=4)
>>> model = wplus.load()                         # a shipped model, or any checkpoint by path
>>> images = model.decode(model.sample(4, truncation=0.7))   # (4, 3, S, S) in [-1, 1]
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wplus import codes, editing, errors, evaluate, faces, images, latents, optimize, weights
    from wplus.api import edit, invert, translate
    from wplus.errors import WplusError
    from wplus.models import load
    from wplus.psp import PSP

__all__ = [
    "PSP",
    "WplusError",
    "codes",
    "edit",
    "editing",
    "errors",
    "evaluate",
    "faces",
    "images",
    "invert",
    "latents",
    "load",
    "optimize",
    "translate",
    "weights",
]
__version__ = "0.1.0"

# Names are imported when they are first used: `wplus --help` must not wait for torch.
_HOMES = {
    "PSP": "wplus.psp",
    "WplusError": "wplus.errors",
    "edit": "wplus.api",
    "invert": "wplus.api",
    "load": "wplus.models",
    "translate": "wplus.api",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in __all__:
        return import_module(f"wplus.{name}")
    raise AttributeError(f"module 'wplus' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
