"""Layers of large images computed a band of rows at a time, for CPUs.

A 1024² layer of 32 channels is 134 MB in float32. Fresh allocations of that size come from the
operating system page by page, and touching the pages costs more than the convolution; and every
pass streams through main memory. A band of rows that fits into the cache avoids both. Bands
overlap by the reach of the filters, which costs a few rows each; with gradients, what is inside a
band is either kept, or recomputed in the backward pass, which takes a third more time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

BAND_BYTES = 4 * 2**20  # of one layer's activations; larger spills the shared cache, smaller idles
FEWEST_ROWS = 8


@dataclass(frozen=True)
class Band:
    """Rows [first, end) of the result, and the rows [low, high) of the input that they need."""

    first: int
    end: int
    low: int
    high: int


Run = Callable[..., tuple[Tensor, ...]]
"""(band, rows of the input, *parameters) -> the rows of each result."""


def cuts(rows: int, bytes_per_row: int) -> Iterator[tuple[int, int]]:
    """Cut [0, rows) into (first, end) bands of about `BAND_BYTES`."""
    height = min(rows, max(FEWEST_ROWS, BAND_BYTES // bytes_per_row))
    for first in range(0, rows, height):
        yield first, min(first + height, rows)


def banded(
    run: Run, plan: list[Band], x: Tensor, *parameters: Tensor | None, keep: bool = False
) -> tuple[Tensor, ...]:
    """Run a stack of layers band by band and put the results together, channels last.

    Args:
        run: computes the rows of a band; everything that gradients are to reach must be an
            argument of it. A result may have a multiple of the band's rows.
        plan: the bands, which cover the result.
        x: (1, C, H, W), whole.
        *parameters: further tensors for `run`.
        keep: with gradients, keep the bands' graphs instead of recomputing them.

    Returns:
        The whole results.
    """
    keep = keep and torch.is_grad_enabled()
    results: tuple[Tensor, ...] = _Banded.apply(run, plan, keep, x, *parameters)  # type: ignore[no-untyped-call]
    return results


class _Banded(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, run: Run, plan: list[Band], keep: bool, x: Tensor, *parameters: Tensor | None
    ) -> tuple[Tensor, ...]:
        ctx.run, ctx.plan = run, plan
        device = x.device.type
        ctx.autocast = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
        ctx.save_for_backward(x, *parameters)
        ctx.kept = []
        wholes: list[Tensor] = []
        for band in plan:
            if keep and any(ctx.needs_input_grad):
                inputs = _inputs(band, x, parameters, ctx.needs_input_grad[3:])
                with torch.enable_grad():
                    parts = run(band, *inputs)
                ctx.kept.append((inputs, parts))
            else:
                parts = run(band, x[:, :, band.low : band.high], *parameters)
            wholes = wholes or [_whole(part, band, plan[-1].end) for part in parts]
            for whole, part in zip(wholes, parts):
                _rows(whole, band, plan[-1].end).copy_(part.detach())
        return tuple(wholes)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, *parameters = ctx.saved_tensors
        enabled, dtype = ctx.autocast
        wanted = list(ctx.needs_input_grad[3:])
        sums = [
            torch.zeros_like(tensor) if want else None
            for tensor, want in zip((x, *parameters), wanted)
        ]
        kept, ctx.kept = ctx.kept, []  # for one backward pass; a second one recomputes
        for number, band in enumerate(ctx.plan):
            if kept:
                (inputs, parts), kept[number] = kept[number], None
            else:
                inputs = _inputs(band, x, parameters, wanted)
                # The backward pass usually runs outside of the autocast of the forward pass.
                with torch.enable_grad(), torch.autocast(x.device.type, dtype, enabled=enabled):
                    parts = ctx.run(band, *inputs)
            found = iter(
                torch.autograd.grad(
                    parts,
                    [tensor for tensor, want in zip(inputs, wanted) if want],
                    [_rows(grad, band, ctx.plan[-1].end) for grad in grads],
                )
            )
            for i, total in enumerate(sums):
                if total is not None:
                    here = total[:, :, band.low : band.high] if i == 0 else total
                    here += next(found)
        return (None, None, None, *sums)


def _inputs(
    band: Band, x: Tensor, parameters: Sequence[Tensor | None], wanted: Sequence[bool]
) -> list[Tensor | None]:
    """The arguments of `run`, detached from the graph."""
    inputs: list[Tensor | None] = [x[:, :, band.low : band.high].detach().requires_grad_(wanted[0])]
    for tensor, want in zip(parameters, wanted[1:]):
        inputs.append(tensor.detach().requires_grad_() if want and tensor is not None else tensor)
    return inputs


def _whole(part: Tensor, band: Band, height: int) -> Tensor:
    scale = part.shape[2] // (band.end - band.first)
    return torch.empty(
        (*part.shape[:2], height * scale, part.shape[3]),
        dtype=part.dtype,
        device=part.device,
        memory_format=torch.channels_last,
    )


def _rows(whole: Tensor, band: Band, height: int) -> Tensor:
    scale = whole.shape[2] // height
    return whole[:, :, band.first * scale : band.end * scale]


def cut(x: Tensor | None, first: int, end: int) -> Tensor | None:
    """Rows [first, end) of (…, H, W); None stays None."""
    return None if x is None else x[..., first:end, :]


def pad_rows(x: Tensor, above: int, below: int) -> Tensor:
    """Zero rows above and below; `x` itself where there is nothing to add."""
    return F.pad(x, (0, 0, above, below)) if above or below else x


def convolution_rows(
    slab: Tensor, weight: Tensor, bias: Tensor | None, above: int, below: int
) -> Tensor:
    """3×3 convolution of a slab that already holds its neighbor rows.

    Args:
        slab: (1, in, rows + 2 − above − below, W).
        weight: (out, in, 3, 3).
        bias: (out,), if any.
        above: 1 where the slab starts at the upper edge of the image, else 0.
        below: 1 where it ends at the lower edge, else 0.

    Returns:
        (1, out, rows, W): what the whole convolution with padding 1 has in these rows.
    """
    return F.conv2d(pad_rows(slab, above, below), weight, bias, padding=(0, 1))


def up_source_rows(first: int, end: int, height: int) -> tuple[int, int]:
    """The input rows [low, high) that `up_convolution_rows` needs, for an input of `height`."""
    above, below = _missing(first, end, height)
    # Result row j reads rows j−1 … j+2 of the transposed convolution, whose row r reads input
    # rows i with 0 ≤ r − 2i ≤ 2.
    start, stop = first - 1 + above, end + 2 - below
    return max(0, (start - 1) // 2), min(height, (stop - 1) // 2 + 1)


def _missing(first: int, end: int, height: int) -> tuple[int, int]:
    """Rows above 0 and below 2·height, the last of the transposed convolution, that are read."""
    return max(0, 1 - first), max(0, end + 2 - (2 * height + 1))


def up_convolution_rows(
    slab: Tensor,
    weight: Tensor,
    blur: Tensor,
    bias: Tensor | None,
    first: int,
    end: int,
    height: int,
) -> Tensor:
    """Rows [first, end) of a doubling convolution followed by the blur.

    Args:
        slab: (1, in, high − low, W), the rows that `up_source_rows` names.
        weight: (in, out, 3, 3), for `conv_transpose2d` with stride 2.
        blur: (out, 1, 4, 4) depthwise.
        bias: (out,), added after the blur, if any.
        first: first row of the result.
        end: row after the last, at most 2·height.
        height: of the whole input.

    Returns:
        (1, out, end − first, 2W).
    """
    low, _ = up_source_rows(first, end, height)
    above, below = _missing(first, end, height)
    start, stop = first - 1 + above - 2 * low, end + 2 - below - 2 * low
    up = F.conv_transpose2d(slab, weight, stride=2)[:, :, start:stop]
    up = pad_rows(up, above, below)
    return F.conv2d(up, blur, bias, padding=(0, 1), groups=blur.shape[0])
