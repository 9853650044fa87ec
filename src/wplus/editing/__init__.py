"""What can be done with codes: directions, morphing, mixing, transplanting, exploring.

moves = editing.moves(model, {"smile": 2, "yaw": 10})
image = model.decode(editing.apply(codes, moves))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wplus.editing.directions import Direction, apply, shipped
    from wplus.editing.lookup import moves

__all__ = ["Direction", "apply", "moves", "shipped"]


def __getattr__(name: str) -> Any:
    """Import a name on its first use: the commands read `options` without waiting for torch."""
    if name in __all__:
        module = "lookup" if name == "moves" else "directions"
        return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
