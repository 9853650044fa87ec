"""The residual trunk of the ArcFace nets, with squeeze-excitation (IR-SE-50) or without (IR-101).

The pSp encoder ("Encoding in Style", Fig. 2) starts from the IR-SE-50 one and reads its
features at three depths; the identity nets end it with a linear layer.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from wplus.nn.prelu import PReLU
from wplus.nn.resnet import ConvNorm

Stages = Sequence[tuple[int, int]]
"""(channels, units) of each stage; the first unit of a stage halves the resolution."""

STAGES_50: Stages = ((64, 3), (128, 4), (256, 14), (512, 3))
STAGES_101: Stages = ((64, 3), (128, 13), (256, 30), (512, 3))


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate computed from the mean of every channel (Hu et al. 2018)."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.squeeze = nn.Conv2d(channels, hidden, 1, bias=False)
        self.expand = nn.Conv2d(hidden, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, H, W) to the same shape."""
        gate: Tensor = self.expand(self.squeeze(x.mean((2, 3), keepdim=True)).relu())
        return x * gate.sigmoid()


class Unit(nn.Module):
    """Improved residual unit: BN, conv 3x3, PReLU, conv 3x3 (stride), BN, optional squeeze-excite.

    The shortcut is a strided identity where the number of channels stays, else a convolution 1x1.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, se: bool) -> None:
        super().__init__()
        self.stride = stride
        self.norm_in = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, 1, 1, bias=False)
        self.act = PReLU(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
        self.norm_out = nn.BatchNorm2d(channels)
        self.excite = SqueezeExcite(channels) if se else None
        changes = in_channels != channels
        self.shortcut = ConvNorm(in_channels, channels, 1, stride) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, channels, ceil(H / stride), ceil(W / stride))."""
        residual: Tensor = self.norm_out(self.conv2(self.act(self.conv1(self.norm_in(x)))))
        if self.excite is not None:
            residual = self.excite(residual)
        if self.shortcut is None:
            # The published max-pool of window 1 only picks every stride-th pixel.
            return residual + x[:, :, :: self.stride, :: self.stride]
        shortcut: Tensor = self.shortcut(x)
        return residual + shortcut


class Stem(ConvNorm):
    """Convolution 3x3, batch norm and PReLU at full resolution."""

    def __init__(self, input_channels: int, channels: int) -> None:
        super().__init__(input_channels, channels, 3)
        self.act = PReLU(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, input_channels, H, W) to (N, channels, H, W)."""
        out: Tensor = self.act(super().forward(x))
        return out


class IRSETrunk(nn.Module):
    """Stem and residual units, as in ArcFace (Deng et al. 2019).

    Args:
        input_channels: of the images; 3 for photographs, 1 for sketches, 19 for label maps.
        stages: (channels, units) of each stage; `STAGES_50` has 24 units, `STAGES_101` has 49.
        se: whether each unit ends with squeeze-excitation.
    """

    def __init__(
        self, input_channels: int = 3, stages: Stages = STAGES_50, *, se: bool = True
    ) -> None:
        super().__init__()
        if input_channels < 1 or not stages or any(c < 1 or n < 1 for c, n in stages):
            raise ValueError(f"a trunk needs positive sizes, not {input_channels} and {stages}")
        width = stages[0][0]
        self.stem = Stem(input_channels, width)
        self.units = nn.ModuleList()
        self.ends: tuple[int, ...] = ()
        """Index of the last unit of each stage."""
        for channels, count in stages:
            for i in range(count):
                self.units.append(Unit(width, channels, 2 if i == 0 else 1, se))
                width = channels
            self.ends += (len(self.units) - 1,)
        self.channels = width
        """Channels of the last features."""
        self.stride = 2 ** len(stages)
        """Ratio of the images' size to that of the last features."""

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, input_channels, H, W) to the last features (N, channels, H/s, W/s)."""
        x = self.stem(x)
        for unit in self.units:
            x = unit(x)
        return x

    def features(self, x: Tensor, taps: Sequence[int] | None = None) -> list[Tensor]:
        """Features after the units `taps` (counted from 0), in the order of `taps`.

        Without `taps`: after the last units of the last three stages. For `STAGES_50` that is
        6, 20 and 23: for a 256x256 image, (N, 128, 64, 64), (N, 256, 32, 32), (N, 512, 16, 16).
        Units after the deepest tap are not run.

        Raises:
            ValueError: there is no unit of that index.
        """
        taps = tuple(self.ends[-3:] if taps is None else taps)
        if not taps or min(taps) < 0 or max(taps) >= len(self.units):
            raise ValueError(f"taps are units 0 to {len(self.units) - 1}, not {taps}")
        found: dict[int, Tensor] = {}
        x = self.stem(x)
        for i in range(max(taps) + 1):
            x = self.units[i](x)
            if i in taps:
                found[i] = x
        return [found[i] for i in taps]
