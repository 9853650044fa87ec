"""Morphing: a path through two or more codes whose frames look equally far apart.

Equal steps in W+ are not equal to the eye: a face changes faster here and slower there. So the path
is sampled densely, its length is measured in pictures, and the frames are set at equal lengths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from wplus import images
from wplus.errors import ConfigError
from wplus.losses import LPIPS
from wplus.psp import PSP

SIZE = 256  # LPIPS is measured at 256², like everywhere in the method
DENSE = 16  # pictures that measure each stretch between two codes
Ending = Literal["stop", "back", "loop"]


@dataclass(frozen=True, eq=False)
class Morph:
    """The frames of a path.

    Attributes:
        controls: (K, L, style_dim), the codes that the path goes through; its first one again at
            the end where it is a loop.
        times: (N,) where the frames lie, in the order of showing: 0 is the first code, 1 the
            second, ….
        dense: (M,) LPIPS between the neighbors of the dense sampling.
    """

    controls: Tensor
    times: Tensor
    dense: Tensor

    @property
    def codes(self) -> Tensor:
        """All frames, (N, L, style_dim); `one_by_one` gives the same without holding them."""
        return on_path(self.controls, self.times)


def on_path(controls: Tensor, times: Tensor) -> Tensor:
    """Codes on the straight lines from code to code.

    Args:
        controls: (K, L, style_dim), K at least 2.
        times: (N,) in [0, K − 1].

    Returns:
        (N, L, style_dim).
    """
    first = times.floor().long().clamp(0, len(controls) - 2)
    share = (times - first).to(controls)[:, None, None]
    return torch.lerp(controls[first], controls[first + 1], share)


def one_by_one(controls: Tensor, times: Tensor) -> Iterator[Tensor]:
    """The same as `on_path`, one (L, style_dim) after the other: a long path takes no memory."""
    for i in range(len(times)):
        yield on_path(controls, times[i : i + 1])[0]


def even_times(dense_times: Tensor, distances: Tensor, count: int) -> Tensor:
    """Times that cut a path into pieces of equal length.

    LPIPS grows with the square of a small change (it sums squared differences), so the length of a
    small step is its root; these add up along a path, as LPIPS itself does not.

    Args:
        dense_times: (M,), rising.
        distances: (M − 1,) LPIPS between neighbors.
        count: how many times, both ends included.

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
    codes: Iterable[Tensor],
    model: PSP,
    lpips: LPIPS,
    progress: Callable[[int], None] | None = None,
) -> Tensor:
    """(N − 1,) LPIPS between the pictures of neighboring codes, each (L, style_dim), at 256²."""
    found, before = [], None
    for i, code in enumerate(codes, 1):
        picture = images.resize(model.decode(code[None]), SIZE).clamp(-1, 1)
        features = lpips.features(picture)
        if before is not None:
            found.append(lpips.distance(before, features))
        before = features
        if progress is not None:
            progress(i)
    return torch.cat(found).cpu()


def morph(
    controls: Tensor,
    model: PSP,
    frames: int,
    lpips: LPIPS | None,
    ending: Ending = "stop",
    dense: int = DENSE,
    progress: Callable[[int, int], None] | None = None,
) -> Morph:
    """Frames along a path through codes, in steps that look the same.

    Args:
        controls: (K, L, style_dim), K at least 2, on any device.
        model: its generator makes the pictures.
        frames: how many, over the whole path; "back" adds frames − 2 on the way back.
        lpips: what steps are measured by; None for equal steps in W+.
        ending: "stop" at the last code; "back" the same way; "loop" straight to the first.
        dense: pictures that measure each stretch.
        progress: called with how many pictures are measured, and how many there are.

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
    times = torch.linspace(0, stretches, stretches * dense + 1)
    # A loop's last frame would be its first once more.
    count = frames + 1 if ending == "loop" else frames
    if lpips is None:
        distances = torch.zeros(len(times) - 1)
        chosen = torch.linspace(0, stretches, count)
    else:
        distances = _measured(controls, times, model, lpips, progress)
        chosen = even_times(times, distances, count)
        # Distances saturate, so steps as long as the frames' own are measured once more.
        again = _measured(controls, chosen, model, lpips, progress)
        chosen = even_times(chosen, again, count)
    if ending == "loop":
        chosen = chosen[:-1]
    elif ending == "back":
        chosen = torch.cat([chosen, chosen[1:-1].flip(0)])
    return Morph(controls, chosen, distances)


def _measured(
    controls: Tensor,
    times: Tensor,
    model: PSP,
    lpips: LPIPS,
    progress: Callable[[int, int], None] | None,
) -> Tensor:
    def report(done: int) -> None:
        if progress is not None:
            progress(done, len(times))

    return steps(one_by_one(controls, times), model, lpips, report)


@torch.no_grad()
def pictures(codes: Iterable[Tensor], model: PSP, size: int) -> Iterator[Tensor]:
    """The images of codes, each (L, style_dim), one by one, (1, 3, size, size) in [-1, 1]."""
    for code in codes:
        yield images.resize(model.decode(code[None]), min(size, model.resolution)).clamp(-1, 1)


def unevenness(distances: Tensor) -> float:
    """Standard deviation of steps over their mean; 0 where all look the same."""
    mean = float(distances.mean())
    return float(distances.std(correction=0)) / mean if mean > 0 else 0.0
