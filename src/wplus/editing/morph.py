"""Morphing: a path through two or more codes whose frames look equally far apart.

Equal steps in W+ are not equal to the eye: a face changes faster here and slower there. So the path
is sampled densely, its length is measured in images, and the frames are set at equal lengths.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from wplus.editing.rendering import rendered
from wplus.errors import ConfigError
from wplus.images import WORKING_SIZE
from wplus.losses import LPIPS
from wplus.progress import Progress, part, silent
from wplus.psp import PSP

DENSE = 16  # images that measure each stretch between two codes
Ending = Literal["stop", "back", "loop"]


@dataclass(frozen=True, eq=False)
class Morph:
    """The frames of a path.

    Attributes:
        controls: (K, L, style_dim), the codes that the path goes through; its first one again at
            the end where it is a loop.
        times: (N,), where the frames lie, in the order of showing: 0 is the first code, 1 the
            second, ….
    """

    controls: Tensor
    times: Tensor

    def codes(self) -> Iterator[Tensor]:
        """The frames one by one, (L, style_dim) each: a long film takes no more memory."""
        return codes_on(self.controls, self.times)


def codes_on(controls: Tensor, times: Tensor) -> Iterator[Tensor]:
    """Codes on the straight lines from code to code.

    Args:
        controls: (K, L, style_dim), K at least 2.
        times: (N,) in [0, K − 1].
    """
    for time in times:
        first = int(time.floor().clamp(0, len(controls) - 2))
        share = (time - first).to(controls)
        yield torch.lerp(controls[first], controls[first + 1], share)


def even_times(dense_times: Tensor, distances: Tensor, count: int) -> Tensor:
    """Times that cut a path into pieces of equal length.

    LPIPS grows with the square of a small change (it sums squared differences), so the length of a
    small step is its root; these add up along a path, as LPIPS itself does not.

    Args:
        dense_times: (M,), rising.
        distances: (M − 1,) LPIPS between neighbors.
        count: the number of times, both ends included.

    Returns:
        (count,), rising; evenly spaced where the path has no length at all.
    """
    lengths = distances.double().clamp_min(0).sqrt()
    if not float(lengths.sum()) > 0:
        lengths = torch.ones_like(lengths)
    # A stretch without any change still takes a little, so that times stay unique.
    lengths = lengths + 1e-6 * lengths.mean()
    reached = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    wanted = torch.linspace(0, float(reached[-1]), count, dtype=torch.float64)
    after = torch.searchsorted(reached, wanted).clamp(1, len(reached) - 1)
    share = (wanted - reached[after - 1]) / (reached[after] - reached[after - 1])
    times = dense_times.double()
    return torch.lerp(times[after - 1], times[after], share.clamp(0, 1)).float()


@torch.no_grad()
def steps(
    codes: Iterable[Tensor], model: PSP, lpips: LPIPS, progress: Progress = silent, total: int = 0
) -> Tensor:
    """(N − 1,) LPIPS at 256² between the images of neighboring codes, each (L, style_dim).

    `progress` counts images, of `total`.
    """
    distances, before = [], None
    for i, image in enumerate(rendered(codes, model, WORKING_SIZE), 1):
        features = lpips.features(image)
        if before is not None:
            distances.append(lpips.distance(before, features))
        before = features
        progress(i, total)
    return torch.cat(distances).cpu()


def morph(
    controls: Tensor,
    model: PSP,
    frames: int,
    lpips: LPIPS | None,
    ending: Ending = "stop",
    dense: int = DENSE,
    progress: Progress = silent,
) -> Morph:
    """Frames along a path through codes, in steps that look the same.

    Args:
        controls: (K, L, style_dim), K at least 2, on any device.
        model: its generator makes the images.
        frames: their number over the whole path; "back" adds frames − 2 on the way back.
        lpips: measures the steps; None for equal steps in W+.
        ending: "stop" at the last code; "back" the same way; "loop" straight to the first.
        dense: images that measure each stretch.
        progress: counts the images that are measured.

    Raises:
        ConfigError: fewer than two codes, or fewer frames than codes.
    """
    if controls.ndim != 3 or len(controls) < 2:
        raise ConfigError("a morph needs at least two codes")
    if ending not in ("stop", "back", "loop"):
        raise ConfigError(f"the ending {ending!r} is none of: stop, back, loop")
    if frames < len(controls) or dense < 1:
        raise ConfigError(f"{frames} frames cannot show {len(controls)} codes; ask for more")
    if ending == "loop":
        controls = torch.cat([controls, controls[:1]])
    stretches = len(controls) - 1
    # A loop's last frame would be its first once more.
    count = frames + 1 if ending == "loop" else frames
    if lpips is None:
        times = torch.linspace(0, stretches, count)
    else:
        times = torch.linspace(0, stretches, stretches * dense + 1)
        total, first = len(times) + count, len(times)
        distances = steps(codes_on(controls, times), model, lpips, progress, total)
        times = even_times(times, distances, count)
        # Distances saturate, so steps as long as the frames' own are measured once more.
        again = part(progress, first, total)
        distances = steps(codes_on(controls, times), model, lpips, again, total)
        times = even_times(times, distances, count)
    if ending == "loop":
        times = times[:-1]
    elif ending == "back":
        times = torch.cat([times, times[1:-1].flip(0)])
    return Morph(controls, times)
