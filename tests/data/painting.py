"""Picture files whose colors tell their number, and the darkest corner left from right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def pixels(number: int = 0, size: tuple[int, int] = (64, 64)) -> np.ndarray[Any, np.dtype[Any]]:
    """(H, W, 3) uint8, smooth; brighter to the right and below."""
    width, height = size
    x = np.linspace(0, 60, width)[None, :, None]
    y = np.linspace(0, 40, height)[:, None, None]
    color = np.array([number % 120, (number * 37) % 120, (number * 91) % 120])
    return np.broadcast_to(x + y + color, (height, width, 3)).astype(np.uint8)


def paint(path: Path, number: int = 0, size: tuple[int, int] = (64, 64)) -> Path:
    """Write such a picture; PNG keeps it exactly."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(number, size)).save(path)
    return path
