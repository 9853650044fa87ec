"""Random degradations of training photographs: by cameras, the web, and imprecise crops.

Only the source is degraded, never the target, which makes the encoder robust. (The paper's training
only flips.) Mild changes of source and target together (`Augmentation.variation`) give further
photographs.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageFilter

from wplus.errors import ConfigError

Range = tuple[float, float]
EFFECTS = ("misalign", "color", "blur", "resize", "noise", "jpeg")
"""Names of the settings that are probabilities, in the order in which effects are applied."""

_LUMA = (0.299, 0.587, 0.114)
_BILINEAR, _BICUBIC = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC
_SHRINKING = (Image.Resampling.BOX, _BILINEAR, _BICUBIC, Image.Resampling.LANCZOS)
_ENLARGING = (_BILINEAR, _BICUBIC)


_BOUNDS = {  # of the settings that are not within 0 to 1
    "rotation": (0, 15), "scale": (0, 0.2), "shift": (0, 0.15), "brightness": (0, 0.5),
    "contrast": (0, 0.9), "tint": (0, 0.5), "blur_sigma": (0, 20), "resize_scale": (0.01, 1),
    "jpeg_quality": (1, 100),
}  # fmt: skip


@dataclass(frozen=True)
class Augmentation:
    """How often and how strongly a source is degraded; mild by default.

    Effects are applied in this order, in which they arise. Lengths are at the encoder's size.

    Attributes:
        misalign: probability of a misaligned crop, with borders mirrored.
        rotation: largest angle in degrees, either way (at most 15).
        scale: largest relative change of the scale, either way (at most 0.2).
        shift: largest shift along each axis, as a share of the side (at most 0.15).
        color: probability of a color change.
        brightness: largest change, as a share of white.
        contrast: largest relative change, around middle gray.
        saturation: largest relative change.
        tint: largest relative change of red and of blue.
        blur: probability of a Gaussian blur.
        blur_sigma: lowest and highest, in pixels.
        resize: probability of shrinking and enlarging back.
        resize_scale: lowest and highest, log-uniform.
        noise: probability of Gaussian noise, gray or colored.
        noise_std: lowest and highest, as a share of white.
        jpeg: probability of JPEG compression.
        jpeg_quality: lowest and highest.

    Raises:
        ConfigError: a value is out of range.
    """

    misalign: float = 0.3
    rotation: float = 3.0
    scale: float = 0.05
    shift: float = 0.03
    color: float = 0.3
    brightness: float = 0.06
    contrast: float = 0.12
    saturation: float = 0.15
    tint: float = 0.04
    blur: float = 0.15
    blur_sigma: Range = (0.4, 1.5)
    resize: float = 0.25
    resize_scale: Range = (0.3, 1.0)
    noise: float = 0.2
    noise_std: Range = (0.004, 0.03)
    jpeg: float = 0.3
    jpeg_quality: Range = (35, 95)

    def __post_init__(self) -> None:
        for name, value in vars(self).copy().items():
            low, high = _BOUNDS.get(name, (0, 1))
            if isinstance(value, list | tuple):
                value = tuple(value)  # JSON has lists
                object.__setattr__(self, name, value)
                good = len(value) == 2 and low <= value[0] <= value[1] <= high
            else:
                good = low <= value <= high
            if not good:
                raise ConfigError(f"augmentation: {name} must be within {low} to {high}: {value}")

    @classmethod
    def none(cls) -> Augmentation:
        """No effect ever."""
        return cls(**dict.fromkeys(EFFECTS, 0.0))  # type: ignore[arg-type]

    @classmethod
    def variation(cls) -> Augmentation:
        """Changes that keep a photograph good: small rotation, shift, zoom and color change."""
        never = cls.none()
        return replace(never, misalign=0.5, rotation=2.0, scale=0.04, shift=0.02, color=0.5)

    @property
    def is_none(self) -> bool:
        """Whether no effect has a probability above 0."""
        return not any(getattr(self, name) for name in EFFECTS)


@dataclass(frozen=True)
class Effects:
    """The effects on one image; None for an absent one.

    Attributes:
        warp: degrees, scale, and shift to the right and down as shares of the side.
        color: changes of brightness, contrast, saturation, red and blue.
        blur: sigma in pixels.
        resize: scale, and indices of the filters that shrink and enlarge.
        noise: standard deviation, seed, and whether it is gray.
        jpeg: quality, and chroma subsampling (0 is 4:4:4, 2 is 4:2:0).
    """

    warp: tuple[float, float, float, float] | None = None
    color: tuple[float, float, float, float, float] | None = None
    blur: float | None = None
    resize: tuple[float, int, int] | None = None
    noise: tuple[float, int, bool] | None = None
    jpeg: tuple[int, int] | None = None


def draw(augmentation: Augmentation, rng: np.random.Generator) -> Effects:
    """Draw the effects on one image.

    Always takes the same amount from `rng`, so changing one probability changes one effect only.
    """
    a = augmentation
    chances = zip(EFFECTS, rng.random(len(EFFECTS)))
    happens = {name: chance < getattr(a, name) for name, chance in chances}
    u = rng.random(16).tolist()
    seed = int(rng.integers(1 << 62))
    s = [2 * each - 1 for each in u[:9]]
    down, up = int(u[11] * len(_SHRINKING)), int(u[12] * len(_ENLARGING))
    shrink = math.exp(_between((math.log(a.resize_scale[0]), math.log(a.resize_scale[1])), u[10]))
    warp = (a.rotation * s[0], 1 + a.scale * s[1], a.shift * s[2], a.shift * s[3])
    tones = (a.brightness * s[4], a.contrast * s[5], a.saturation * s[6])
    color = (*tones, a.tint * s[7], a.tint * s[8])
    quality = round(_between(a.jpeg_quality, u[14]))
    return Effects(
        warp=warp if happens["misalign"] else None,
        color=color if happens["color"] else None,
        blur=_between(a.blur_sigma, u[9]) if happens["blur"] else None,
        resize=(shrink, down, up) if happens["resize"] else None,
        noise=(_between(a.noise_std, u[13]), seed, seed % 2 == 0) if happens["noise"] else None,
        jpeg=(quality, 0 if u[15] < 0.3 else 2) if happens["jpeg"] else None,
    )


def apply(effects: Effects, image: Image.Image) -> Image.Image:
    """A square RGB image with the effects applied: a new image of the same size."""
    if effects.warp is not None:
        image = _warp(image, *effects.warp)
    if effects.color is not None:
        image = image.convert("RGB", _color_matrix(*effects.color))
    if effects.blur is not None:
        image = image.filter(ImageFilter.GaussianBlur(effects.blur))
    if effects.resize is not None:
        image = _resize(image, *effects.resize)
    if effects.noise is not None:
        image = _add_noise(image, *effects.noise)
    if effects.jpeg is not None:
        image = _compress(image, *effects.jpeg)
    return image


def augment(
    image: Image.Image, augmentation: Augmentation, rng: np.random.Generator
) -> Image.Image:
    """`apply` of `draw`."""
    return apply(draw(augmentation, rng), image)


def _between(bounds: Range, share: float) -> float:
    return float(bounds[0] + (bounds[1] - bounds[0]) * share)


def _warp(
    image: Image.Image, degrees: float, scale: float, right: float, down: float
) -> Image.Image:
    """Rotate counterclockwise and scale around the center, then shift; borders are mirrored."""
    side = image.width
    cos, sin = (f(math.radians(degrees)) / scale for f in (math.cos, math.sin))
    # The inverse map, result to source, in coordinates around the center.
    a, b, d, e = cos, -sin, sin, cos
    c, f = -(a * right + b * down) * side, -(d * right + e * down) * side
    half = side / 2
    reach = max(abs(x * a + y * b + c) for x in (-half, half) for y in (-half, half))
    reach = max(reach, *(abs(x * d + y * e + f) for x in (-half, half) for y in (-half, half)))
    margin = min(max(math.ceil(reach - half), 0) + 2, side - 1)
    padded = np.pad(np.asarray(image), ((margin, margin), (margin, margin), (0, 0)), "reflect")
    center = half + margin
    c, f = c + center - a * half - b * half, f + center - d * half - e * half
    return Image.fromarray(padded).transform(
        image.size, Image.Transform.AFFINE, (a, b, c, d, e, f), _BICUBIC
    )


def _color_matrix(
    brightness: float, contrast: float, saturation: float, red: float, blue: float
) -> tuple[float, ...]:
    """3 x 4: tint, then saturation around the gray of the same luma, contrast, brightness."""
    gains = np.diag([1 + red, 1.0, 1 + blue])
    gray = np.tile(_LUMA, (3, 1))
    mixed = (1 + contrast) * (gray + (1 + saturation) * (np.eye(3) - gray)) @ gains
    offset = 255 * (brightness - contrast / 2)
    return tuple(float(v) for v in np.column_stack([mixed, [offset] * 3]).ravel())


def _resize(image: Image.Image, scale: float, down: int, up: int) -> Image.Image:
    size = tuple(max(1, round(side * scale)) for side in image.size)
    return image.resize((size[0], size[1]), _SHRINKING[down]).resize(image.size, _ENLARGING[up])


def _add_noise(image: Image.Image, std: float, seed: int, gray: bool) -> Image.Image:
    pixels = np.asarray(image)
    shape = (*pixels.shape[:2], 1 if gray else 3)
    noise = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    noisy = np.rint(pixels + noise * np.float32(255 * std))
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def _compress(image: Image.Image, quality: int, subsampling: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, subsampling=subsampling)
    with Image.open(file, formats=["JPEG"]) as compressed:
        return compressed.convert("RGB")
