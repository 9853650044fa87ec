"""Face-recognition networks: a face to a unit vector; those of one person have a high cosine."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional

from wplus import weights
from wplus.formats.facenets import read_arcface
from wplus.formats.mobilefacenet import read_mobilefacenet
from wplus.formats.strict import load_strict
from wplus.nn.irse import IRSETrunk
from wplus.nn.mobilefacenet import MobileFaceNet, MobileFaceTrunk


class ArcFace(nn.Module):
    """An IR trunk and a linear layer over its whole last map (Deng et al. 2019).

    Args:
        trunk: IR-SE-50 for the paper's identity loss, IR-101 for CurricularFace.
        embedding: length of an embedding.
        affine: whether the last batch norm has a gain and a bias; CurricularFace's has none.
        size: side of the images in pixels.
    """

    def __init__(
        self, trunk: IRSETrunk, embedding: int = 512, *, affine: bool = True, size: int = 112
    ) -> None:
        super().__init__()
        if size % trunk.stride:
            raise ValueError(f"the size must be a multiple of {trunk.stride}, not {size}")
        self.size = size
        self.trunk = trunk
        self.norm_in = nn.BatchNorm2d(trunk.channels)
        self.embed = nn.Linear(trunk.channels * (size // trunk.stride) ** 2, embedding)
        self.norm_out = nn.BatchNorm1d(embedding, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """Embed aligned faces (N, 3, size, size), RGB in [-1, 1]: (N, embedding), of length 1.

        Raises:
            ValueError: the images have another size.
        """
        if x.shape[-2:] != (self.size, self.size):
            raise ValueError(
                f"faces must be {self.size}x{self.size}, not {x.shape[-2]}x{x.shape[-1]}"
            )
        x = self.norm_in(self.trunk(x)).flatten(1)
        return functional.normalize(self.norm_out(self.embed(x)))


def load_arcface(path: str | Path) -> ArcFace:
    """Read a published ArcFace net: `model_ir_se50.pth`, `CurricularFace_Backbone.pth`, ….

    Raises:
        FormatError: the file is unsafe or damaged, or a tensor is missing, unexpected or misshapen.
    """
    config, state = read_arcface(path)
    trunk = IRSETrunk(**config["trunk"])
    net = ArcFace(trunk, config["embedding"], affine=config["affine"])
    load_strict(net, state, str(path))
    return net.eval()


def load_face_network(path: str | Path | None = None) -> ArcFace | MobileFaceNet:
    """The face network in a file; without a path the shipped MobileFaceNet, fetched on first use.

    Raises:
        FormatError, WeightsError: it cannot be read or fetched.
    """
    if path is None or Path(path).suffix.lower() == ".onnx":
        return load_mobilefacenet(path)
    return load_arcface(path)


def load_mobilefacenet(path: str | Path | None = None) -> MobileFaceNet:
    """Read InsightFace's `w600k_mbf.onnx`; without a path, fetch it on first use.

    Raises:
        FormatError: the file is damaged or another network.
        WeightsError: it cannot be fetched.
    """
    path = weights.path("arcface-mobilefacenet.onnx") if path is None else path
    config, state = read_mobilefacenet(path)
    trunk = MobileFaceTrunk(config["input_channels"], config["stem"], config["stages"])
    net = MobileFaceNet(
        trunk, config["head"], config["squeeze"], config["embedding"], config["size"]
    )
    load_strict(net, state, str(path))
    return net.eval()
