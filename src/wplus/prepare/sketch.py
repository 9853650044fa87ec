"""Photographs to line drawings, without a network.

The paper's sketches come from a pencil filter and a network that cleans its strokes ("Encoding in
Style", section 4.3 and appendix). Here the dark lines of a photograph are found by a difference of
Gaussians (Winnemöller et al. 2012), thinned, linked into strokes, and redrawn with random jitter.
Every drawing has a random style, so that the encoder generalizes to drawings by people.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from wplus.images import to_rgb
from wplus.prepare.strokes import Chain, Paper, Plane, blur, smooth, thin, trace

SIDE = 256  # lengths below are meant for an image of this side, and scale with it
_ANALYZED_AT = 512  # shorter side at which larger images are analyzed; strokes have full size
_SHARPNESS = 0.98  # share of the wider Gaussian that is subtracted: XDoG's tau


@dataclass(frozen=True)
class Style:
    """How one drawing is made. Lengths are pixels of an image of 256².

    Attributes:
        scale: sigma of the finer Gaussian: the width of detected lines.
        threshold: least contrast of a line to its surroundings.
        shortest: strokes below this length are left out.
        width: of the pen.
        gray: of the ink, 0 is black.
        pressure: relative variation of width and gray between strokes.
        wobble: standard deviation of the displacement of strokes.
        gaps: share of strokes that are interrupted.
        focus: probability of leaving out a stroke outside of the head.
        shading: darkness of pencil shading below the strokes, 0 to 1.
        lines: whether strokes are drawn; without them the drawing is pencil shading.
    """

    scale: float = 1.0
    threshold: float = 0.04
    shortest: float = 9.0
    width: float = 1.4
    gray: int = 20
    pressure: float = 0.0
    wobble: float = 0.0
    gaps: float = 0.0
    focus: float = 0.0
    shading: float = 0.0
    lines: bool = True


def draw_style(rng: np.random.Generator) -> Style:
    """A random style: mostly clean strokes, sometimes with shading, rarely shading alone."""
    kind = rng.random()
    unsteady = rng.random() < 0.7
    return Style(
        scale=float(rng.uniform(0.8, 1.7)),
        threshold=float(rng.uniform(0.025, 0.075)),
        shortest=float(rng.uniform(7, 15)),
        width=float(np.exp(rng.uniform(np.log(0.8), np.log(3.2)))),
        gray=int(rng.integers(0, 110)),
        pressure=float(rng.uniform(0, 0.35)),
        wobble=float(rng.uniform(0.3, 2.0)) if unsteady else 0.0,
        gaps=float(rng.uniform(0, 0.5)),
        focus=float(rng.choice([0.0, 0.5, 1.0])),
        shading=float(rng.uniform(0.3, 1.0)) if kind < 0.2 else 0.0,
        lines=kind > 0.05,
    )


def sketch(image: Image.Image, rng: np.random.Generator, style: Style | None = None) -> Image.Image:
    """A drawing of a photograph: mode L, of the same size, dark strokes on white paper.

    Args:
        image: of any mode and size; `style.focus` assumes an FFHQ crop.
        rng: source of everything random, including the style.
        style: None draws a random one.
    """
    style = draw_style(rng) if style is None else style
    gray = to_rgb(image).convert("L")
    enlarged = max(1.0, min(image.size) / _ANALYZED_AT)
    if enlarged > 1:
        size = round(image.width / enlarged), round(image.height / enlarged)
        gray = gray.resize(size, Image.Resampling.BOX)
    seen = np.asarray(gray, np.float32) / 255
    unit = min(gray.size) / SIDE
    page = np.full((image.height, image.width), 255, np.float32)
    if style.lines:
        paper = Paper(image.size)
        for chain, share in _by_hand(strokes_of(seen, style, unit), style, unit, gray.size, rng):
            width, ink = style.width * unit * enlarged * share, style.gray / share
            placed = (chain + 0.5) * enlarged - 0.5
            paper.stroke(placed, max(width, 0.5), int(min(ink, 200)))
        page = np.asarray(paper.image(), np.float32)
    if style.shading or not style.lines:
        darkness = style.shading if style.lines else 1.0
        soft = Image.fromarray((255 * (1 - darkness * (1 - pencil(seen, unit)))).astype(np.float32))
        shaded = np.asarray(soft.resize(image.size, Image.Resampling.BILINEAR))
        page = np.minimum(page, shaded)
    return Image.fromarray(np.clip(np.rint(page), 0, 255).astype(np.uint8))


def pencil(gray: Plane, unit: float = 1.0) -> Plane:
    """Soft shading at edges, 1 is paper: the image divided by its blurred copy (color dodge).

    Args:
        gray: (H, W) in [0, 1].
        unit: pixels per pixel of 256².
    """
    around = blur(gray, 3.0 * unit)
    shaded: Plane = np.clip((gray + 0.08) / (around + 0.08), 0, 1) ** 2
    return shaded


def strokes_of(gray: Plane, style: Style, unit: float = 1.0) -> list[Chain]:
    """The lines of a gray image (H, W) in [0, 1], smoothed, without short ones."""
    # Local contrast normalization keeps lines in shadows.
    middle = blur(gray, 10 * unit)
    spread = np.sqrt(blur((gray - middle) ** 2, 14 * unit))
    even = (gray - middle) / (spread + 0.08)
    sigma = style.scale * unit
    dark = _SHARPNESS * blur(even, 1.6 * sigma) - blur(even, sigma)
    lines = dark > style.threshold
    kept = []
    for chain in trace(thin(lines)):
        columns, rows = chain.astype(int).T
        strength = float(dark[rows, columns].mean())
        # A short stroke must be strong, a long one may be faint.
        if len(chain) * min(strength / (2 * style.threshold), 2.0) >= style.shortest * unit:
            kept.append(smooth(chain, 2.0 * unit))
    return kept


def _by_hand(
    chains: list[Chain],
    style: Style,
    unit: float,
    size: tuple[int, int],
    rng: np.random.Generator,
) -> list[tuple[Chain, float]]:
    """The strokes as drawn by a hand, and the pressure of the pen at each."""
    drift = _Drift(size, style.wobble * unit, rng)
    drawn: list[tuple[Chain, float]] = []
    for chain in chains:
        center = chain.mean(axis=0) / size - (0.5, 0.52)
        outside = float(np.hypot(center[0] / 0.36, center[1] / 0.5)) > 1
        if outside and rng.random() < style.focus:
            continue
        chain = drift(chain)
        if style.wobble and len(chain) > 4:
            own = rng.normal(0, 0.35 * style.wobble * unit, (len(chain) // 4 + 2, 2))
            at = np.linspace(0, len(own) - 1, len(chain))
            chain = chain + np.stack(
                [np.interp(at, np.arange(len(own)), own[:, axis]) for axis in (0, 1)], axis=1
            )
            chain = smooth(chain, 2.0 * unit)
        share = float(np.clip(1 + style.pressure * rng.normal(), 0.5, 1.6))
        pieces = [chain]
        if rng.random() < style.gaps and len(chain) > 12 * unit:
            start = int(rng.uniform(0.15, 0.75) * len(chain))
            end = start + int(rng.uniform(3, 10) * unit) + 1
            pieces = [chain[:start], chain[end:]]
        drawn.extend((piece, share) for piece in pieces if len(piece) > 2 * unit)
    return drawn


class _Drift:
    """A smooth random warp of the whole page, for slightly wrong proportions."""

    def __init__(self, size: tuple[int, int], reach: float, rng: np.random.Generator) -> None:
        self.size = size
        self.knots = rng.normal(0, reach, (6, 6, 2))

    def __call__(self, chain: Chain) -> Chain:
        x, y = (np.clip(chain / self.size, 0, 0.999) * 5).T
        left, top = x.astype(int), y.astype(int)
        right, down = (x - left)[:, None], (y - top)[:, None]
        k = self.knots
        above = k[top, left] * (1 - right) + k[top, left + 1] * right
        below = k[top + 1, left] * (1 - right) + k[top + 1, left + 1] * right
        moved: Chain = chain + above * (1 - down) + below * down
        return moved
