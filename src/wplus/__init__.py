"""wplus: photographs to the W+ codes of a pretrained StyleGAN, and back.

>>> import wplus
>>> model = wplus.load()                      # a shipped model, or any checkpoint by path
>>> codes = model.sample(4, truncation=0.7)   # (4, model.num_styles, 512)
>>> images = model.decode(codes)              # (4, 3, model.resolution, model.resolution)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wplus import codes, errors, evaluate, faces, images, latents, optimize, weights
    from wplus.errors import WplusError
    from wplus.models import load
    from wplus.psp import PSP

__all__ = [
    "PSP",
    "WplusError",
    "codes",
    "errors",
    "evaluate",
    "faces",
    "images",
    "latents",
    "load",
    "optimize",
    "weights",
]
__version__ = "0.1.0"

# Names are imported when they are first used: `wplus --help` must not wait for torch.
_HOMES = {
    "PSP": "wplus.psp",
    "WplusError": "wplus.errors",
    "load": "wplus.models",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in __all__:
        return import_module(f"wplus.{name}")
    raise AttributeError(f"module 'wplus' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
