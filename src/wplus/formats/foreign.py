"""Which foreign format a file has, and its configuration and tensors under our names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from wplus.errors import FormatError
from wplus.formats import bisenet, facenets, lpips, mobilefacenet, mobilestylegan, moco, nvidia, psp
from wplus.formats import rosinality as port
from wplus.formats.strict import tensors_of
from wplus.formats.torch_files import read_torch

Found = tuple[dict[str, Any], dict[str, Tensor]]
"""A model's configuration (with `generator`) or one network's (`kind`, `options`), and tensors."""

MAPPING, SYNTHESIS = "MappingNetwork.xml", "SynthesisNetwork.xml"


def read(path: str | Path) -> Found:
    """Read a foreign file.

    Args:
        path: a published pSp, rosinality, NVIDIA, ArcFace, CurricularFace, MoCo, BiSeNet, LPIPS or
            ONNX file, or MobileStyleGAN's folder of OpenVINO files (or its synthesis graph).

    Raises:
        FormatError: the file is missing, damaged, unsafe or of an unknown layout.
    """
    path = Path(path)
    if path.is_dir():
        return _openvino(path)
    reader = READERS.get(path.suffix.lower(), _torch)
    return reader(path)


def _openvino(path: Path) -> Found:
    folder = path if path.is_dir() else path.parent
    mapping, synthesis = folder / MAPPING, folder / SYNTHESIS
    missing = [file.name for file in (mapping, synthesis) if not file.is_file()]
    if len(missing) == 2 and path.is_dir():
        raise FormatError(f"{path}: is a folder, and not one of MobileStyleGAN's files")
    if missing:
        raise FormatError(f"{path}: {' and '.join(missing)} missing; a generator needs both")
    return mobile_files(mapping, synthesis)


def mobile_files(
    mapping: Path,
    synthesis: Path,
    mapping_weights: Path | None = None,
    synthesis_weights: Path | None = None,
) -> Found:
    """MobileStyleGAN from its two OpenVINO graphs (weights beside them if not given)."""
    state = mobilestylegan.read_mapping(mapping, mapping_weights)
    options, rest = mobilestylegan.read_synthesis(synthesis, synthesis_weights)
    options["mapping_layers"] = len(state) // 2
    return _generator("mobilestylegan", options, state | rest)


def _generator(kind: str, options: Mapping[str, Any], state: Mapping[str, Tensor]) -> Found:
    config = {"generator": {"kind": kind, "options": dict(options)}}
    return config, {f"generator.{name}": value for name, value in state.items()}


def _network(kind: str, options: Mapping[str, Any], state: dict[str, Tensor]) -> Found:
    return {"kind": kind, "options": dict(options)}, state


def _nvidia(path: Path) -> Found:
    return _generator("stylegan2", *nvidia.read(path))


def _onnx(path: Path) -> Found:
    return _network("mobilefacenet", *mobilefacenet.read_mobilefacenet(path))


def _lpips(path: Path) -> Found:
    net, state = lpips.read_lpips(path)
    return _network("lpips", {"net": net}, state)


def _torch(path: Path) -> Found:
    content = read_torch(path)
    what = str(path)
    if psp.is_psp(content):
        return psp.translate(content, what)
    if isinstance(content, Mapping):
        if "g_ema" in content:
            return _generator("stylegan2", *port.read_content(content, what))
        state = content.get("state_dict")
        if isinstance(state, Mapping) and any(str(n).startswith(moco.QUERY) for n in state):
            return _network("resnet", *moco.translate_moco(tensors_of(state, what), what))
        if "input_layer.0.weight" in content:
            return _network("arcface", *facenets.translate_arcface(tensors_of(content, what), what))
        if bisenet.is_bisenet(content):
            return _network("bisenet", *bisenet.translate_bisenet(tensors_of(content, what), what))
    raise FormatError(
        f"{path}: holds no network of a known layout"
        " (pSp, StyleGAN2, ArcFace, MoCo or BiSeNet checkpoint)"
    )


READERS: dict[str, Callable[[Path], Found]] = {
    ".pkl": _nvidia,
    ".xml": _openvino,
    ".onnx": _onnx,
    ".ckpt": _lpips,
}
