"""Which foreign format a file has, and its configuration and tensors under our names.

The content decides, not the file's name: users rename what they download.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from wplus.errors import FormatError
from wplus.formats import bisenet, facenets, lpips, mobilefacenet, mobilestylegan, moco, nvidia, psp
from wplus.formats import rosinality as port
from wplus.formats.pickles import read_pickle
from wplus.formats.torch_files import MAGIC, read_torch
from wplus.formats.wrappers import Checkpoint, read_safetensors, unwrap

Found = tuple[dict[str, Any], dict[str, Tensor]]
"""A model's configuration (with `generator`) or one network's (`kind`, `options`), and tensors."""

MAPPING, SYNTHESIS = "MappingNetwork.xml", "SynthesisNetwork.xml"
LARGER = 8  # the network may have that many bytes for each one of the file, …
SPARE = 256 << 20  # … and that many more


def read(path: str | Path) -> Found:
    """Read a foreign file.

    Args:
        path: a published pSp, e4e, ReStyle, rosinality, NVIDIA, ArcFace, CurricularFace, MoCo,
            BiSeNet, LPIPS or ONNX file in any wrapper, or MobileStyleGAN's folder of OpenVINO files
            (or its synthesis graph).

    Raises:
        FormatError: the file is missing, damaged, unsafe or of an unknown layout.
    """
    path = Path(path)
    if path.is_dir():
        return _openvino(path)
    try:
        with path.open("rb") as file:
            head = file.read(512)
            size = file.seek(0, 2)
    except OSError:
        return _of_content(read_torch(path), str(path))  # which says what is wrong
    config, state = _read(path, head)
    # Few tensors under many names, each of which becomes a tensor of its own.
    if sum(4 * value.numel() for value in state.values()) > LARGER * size + SPARE:
        raise FormatError(f"{path}: is damaged: its tensors claim far more numbers than it has")
    return config, state


def _read(path: Path, head: bytes) -> Found:
    what = str(path)
    if re.match(rb"[\s\S]{8}\{", head) and not head.startswith((b"\x80", b"PK")):
        return _of_checkpoint(read_safetensors(path), what)
    if b"<net " in head:
        return _openvino(path)
    if head.startswith(b"\x08"):  # the first field of an ONNX model, its version
        return _network("mobilefacenet", *mobilefacenet.read_mobilefacenet(path))
    if head.startswith(b"\x80") and MAGIC not in head[:32]:
        return _of_content(read_pickle(path, nvidia.ALLOWED), what)
    return _of_content(read_torch(path, nvidia.MODULES), what)


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


def _of_content(content: object, what: str) -> Found:
    if nvidia.is_nvidia(content):
        return _generator("stylegan2", *nvidia.translate(content, what))
    if lpips.is_flax(content):
        net, state = lpips.translate_flax(content, what)
        return _network("lpips", {"net": net}, state)
    return _of_checkpoint(unwrap(content, what), what)


def _of_checkpoint(found: Checkpoint, what: str) -> Found:
    """The network whose published names the tensors have."""
    state = found.state

    def has(*starts: str) -> bool:
        return any(name.startswith(starts) for name in state)

    if has("encoder."):
        return psp.translate(found, what)
    if has("decoder."):  # the generator of a pSp checkpoint
        bare = {name.removeprefix("decoder."): value for name, value in state.items()}
        return _of_checkpoint(found._replace(state=bare), what)
    if has("convs.") and has("style."):
        return _generator("stylegan2", *port.read_checkpoint(found, what))
    if nvidia.is_nvidia(state):
        return _generator("stylegan2", *nvidia.translate(state, what))
    if "input_layer.0.weight" in state:
        if has("styles.", "latlayer", "linear.", "output_layer_2."):
            raise FormatError(
                f"{what}: is the encoder of a pSp model without its generator and mean code; use"
                " the whole checkpoint, with encoder.*, decoder.* and latent_avg"
            )
        return _network("arcface", *facenets.translate_arcface(state, what))
    if has(moco.QUERY):
        return _network("resnet", *moco.translate_moco(state, what))
    if bisenet.is_bisenet(state):
        return _network("bisenet", *bisenet.translate_bisenet(state, what))
    if has("lin0."):
        net, ours = lpips.translate_lpips(state, what)
        return _network("lpips", {"net": net}, ours)
    raise FormatError(
        f"{what}: holds no network of a known layout"
        " (pSp, e4e, ReStyle, StyleGAN2, ArcFace, MoCo, BiSeNet or LPIPS checkpoint)"
    )
