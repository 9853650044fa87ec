"""Convolutions computed a band of rows at a time, for large pictures on a CPU.

A 1024² layer of 32 channels is 134 MB in float32. Fresh allocations of that size come from the
operating system page by page, and touching the pages costs more than the convolution; then every
pass streams through main memory. A band of rows that fits into the cache has neither cost. The
bands overlap by the reach of the filters, which costs a few rows each.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

Bands = Iterator[tuple[int, int, Tensor]]  # first row, end row, the rows between

BAND_BYTES = 4 * 2**20  # of one layer's activations; larger spills the shared cache, smaller idles
FEWEST_ROWS = 8


def bands(rows: int, bytes_per_row: int) -> Iterator[tuple[int, int]]:
    """Cut [0, rows) into (first, end) bands of about `BAND_BYTES`."""
    height = min(rows, max(FEWEST_ROWS, BAND_BYTES // bytes_per_row))
    for first in range(0, rows, height):
        yield first, min(first + height, rows)


def cut(x: Tensor | None, first: int, end: int) -> Tensor | None:
    """Rows [first, end) of (…, H, W); None stays None."""
    return None if x is None else x[..., first:end, :]


def collect(parts: Bands, height: int) -> Tensor:
    """Put the rows of a whole picture of `height` together, channels last."""
    whole: Tensor | None = None
    for first, end, part in parts:
        if whole is None:
            count, channels, _, width = part.shape
            whole = torch.empty(
                (count, channels, height, width),
                dtype=part.dtype,
                device=part.device,
                memory_format=torch.channels_last,
            )
        whole[:, :, first:end] = part
    assert whole is not None, "a picture has rows"
    return whole


def pad_rows(x: Tensor, above: int, below: int) -> Tensor:
    """Zero rows above and below; `x` itself where there is nothing to add."""
    return F.pad(x, (0, 0, above, below)) if above or below else x


def convolution_rows(slab: Tensor, weight: Tensor, bias: Tensor, above: int, below: int) -> Tensor:
    """3×3 convolution of a slab that already holds its neighbor rows.

    Args:
        slab: (1, in, rows + 2 − above − below, W).
        weight: (out, in, 3, 3).
        bias: (out,).
        above, below: 1 where the slab ends at the edge of the picture, else 0.

    Returns:
        (1, out, rows, W): what the whole convolution with padding 1 has in these rows.
    """
    return F.conv2d(pad_rows(slab, above, below), weight, bias, padding=(0, 1))


def up_convolution_rows(
    x: Tensor, weight: Tensor, blur: Tensor, bias: Tensor, first: int, end: int
) -> Tensor:
    """Rows [first, end) of a doubling convolution followed by the blur.

    Args:
        x: (1, in, H, W), whole.
        weight: (in, out, 3, 3), for `conv_transpose2d` with stride 2.
        blur: (out, 1, 4, 4) depthwise.
        bias: (out,), added after the blur.
        first, end: rows of the result, within [0, 2H).

    Returns:
        (1, out, end − first, 2W).
    """
    height, channels = x.shape[2], blur.shape[0]
    # Result row j reads rows j−1 … j+2 of the transposed convolution, which has rows 0 … 2H.
    above, below = max(0, 1 - first), max(0, end + 2 - (2 * height + 1))
    start, stop = first - 1 + above, end + 2 - below
    # Its row r reads input rows i with 0 ≤ r − 2i ≤ 2.
    low, high = max(0, (start - 1) // 2), min(height, (stop - 1) // 2 + 1)
    up = F.conv_transpose2d(x[:, :, low:high], weight, stride=2)
    up = up[:, :, start - 2 * low : stop - 2 * low]
    return F.conv2d(pad_rows(up, above, below), blur, bias, padding=(0, 1), groups=channels)
