"""Small sound files of every kind that wplus reads, by name: what the fuzzer starts from."""

from __future__ import annotations

import io
import json
import pickle
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import ir
import numpy as np
import nvidia_files
import published
import published_parser
import torch
from PIL import Image, PngImagePlugin
from safetensors.torch import save as to_safetensors

from wplus import codes
from wplus.config import ModelConfig, Part
from wplus.models import files as model_files
from wplus.psp import PSP

CODE = torch.randn(8, 16, generator=torch.Generator().manual_seed(0))


def build() -> dict[str, bytes]:
    """Every file of the corpus; the part of a name before the colon says who reads it."""
    found: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for make in (_models, _nvidia, _ours, _codes, _images, _texts):
            found |= dict(make(folder))
    return found


def _torch(content: Any, zipped: bool = True) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def _models(folder: Path) -> Iterator[tuple[str, bytes]]:
    generator = published.generator(8)
    port = {"g_ema": published.port(generator), "latent_avg": torch.zeros(published.STYLE_DIM)}
    psp = published.checkpoint(published.encoder("single_w", 4), generator, "single_w")
    for zipped in (True, False):
        kind = "zip" if zipped else "old"
        yield f"model:generator {kind}", _torch(port, zipped)
        yield f"model:pSp {kind}", _torch(psp, zipped)
        yield f"model:parser {kind}", _torch(published_parser.published_parser(), zipped)
    yield "model:mirror", to_safetensors(port["g_ema"], {"format": "pt"})  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    kernel = rng.standard_normal((3, 3, 3, 4), np.float32)
    flax = {"AlexNet_0": {"Conv_0": {"kernel": kernel, "bias": kernel[0, 0, 0]}}}
    yield "model:flax", pickle.dumps({"params": flax})
    ir.write_mapping(folder / "MappingNetwork.xml", ir.mapping_tensors(rng))
    yield "graph:mapping", (folder / "MappingNetwork.xml").read_bytes()


def _nvidia(folder: Path) -> Iterator[tuple[str, bytes]]:
    torch_net, tf_net = nvidia_files.pytorch_generator(), nvidia_files.tensorflow_generator()
    path = folder / "a.pkl"
    for protocol in (2, 4):
        yield f"model:ada {protocol}", nvidia_files.write(path, torch_net, protocol).read_bytes()
        yield f"model:tf {protocol}", nvidia_files.write(path, tf_net, protocol).read_bytes()
    with nvidia_files.nvidia_modules():
        yield "model:pti", _torch(torch_net)


def _ours(folder: Path) -> Iterator[tuple[str, bytes]]:
    generator = published.generator(8)
    options = {"resolution": 8, "style_dim": published.STYLE_DIM, "mapping_layers": 3}
    options |= {"channel_base": 64, "channel_max": 20}
    config = ModelConfig(generator=Part("stylegan2", options))
    model_files.save(PSP(None, generator, config), folder / "a.safetensors")
    yield "model:ours", (folder / "a.safetensors").read_bytes()


def _codes(folder: Path) -> Iterator[tuple[str, bytes]]:
    def npy(content: Any) -> bytes:
        file = io.BytesIO()
        np.save(file, content, allow_pickle=True)
        return file.getvalue()

    codes.save(CODE, folder / "a", {"crop": {"quad": [0, 1, 2]}})
    yield "codes:ours", (folder / "a").read_bytes()
    yield "codes:latents.pt", _torch(CODE[None])
    yield "codes:latents.npy", npy({"a.jpg": CODE.numpy(), "b.jpg": [CODE.numpy()] * 2})
    yield "codes:plain", npy(CODE.numpy())
    file = io.BytesIO()
    np.savez_compressed(file, w=CODE[None].numpy())
    yield "codes:npz", file.getvalue()
    yield "codes:projector", _torch({"a.png": {"latent": CODE, "noise": [CODE]}}, False)
    yield "directions:ganspace", _torch({"comp": CODE[:, None], "std": np.ones(8)})
    yield "directions:boundary", npy(CODE[:1].numpy())


def _images(folder: Path) -> Iterator[tuple[str, bytes]]:
    y, x = np.mgrid[:48, :40]
    photo = Image.fromarray(np.stack([x * 6, y * 5, (x + y) * 2], 2).astype(np.uint8))
    labels = Image.fromarray(((x // 8 + y // 8) % 19).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    text = PngImagePlugin.PngInfo()
    text.add_text("a", "b" * 50, zip=True)
    deep = Image.fromarray((x * 1000 + y).astype(np.uint16))
    kinds: dict[str, tuple[Image.Image, str, dict[str, Any]]] = {
        "png": (photo, "PNG", {"pnginfo": text, "exif": exif, "icc_profile": b"x" * 200}),
        "gray png": (labels, "PNG", {}),
        "palette png": (photo.quantize(16), "PNG", {"transparency": 3}),
        "deep png": (deep, "PNG", {}),
        "alpha png": (photo.convert("RGBA"), "PNG", {}),
        "jpeg": (photo, "JPEG", {"exif": exif}),
        "progressive": (photo, "JPEG", {"progressive": True}),
        "cmyk": (photo.convert("CMYK"), "JPEG", {}),
        "webp": (photo, "WEBP", {}),
        "lossless webp": (photo.convert("RGBA"), "WEBP", {"lossless": True, "exif": exif}),
        "tiff": (photo, "TIFF", {"exif": exif}),
        "lzw tiff": (deep, "TIFF", {"compression": "tiff_lzw"}),
        "float tiff": (Image.fromarray(x.astype(np.float32)), "TIFF", {}),
        "jpeg tiff": (photo, "TIFF", {"compression": "jpeg"}),
        "bmp": (photo.quantize(16), "BMP", {}),
        "gif": (photo.quantize(16), "GIF", {"save_all": True, "append_images": [labels]}),
        "ppm": (photo, "PPM", {}),
        "jpeg2000": (photo, "JPEG2000", {}),
        "avif": (photo, "AVIF", {}),
    }
    Image.init()
    for name, (image, kind, options) in kinds.items():
        if kind in Image.SAVE:
            file = io.BytesIO()
            image.save(file, kind, **options)
            yield f"image:{name}", file.getvalue()


def _texts(folder: Path) -> Iterator[tuple[str, bytes]]:
    settings = {"task": "sketch", "training": {"steps": 10, "batch": [1, 2]}, "x": None}
    yield "json:settings", json.dumps(settings).encode()


def readers() -> dict[str, Callable[[Path], object]]:
    """Who reads a file of the corpus, by the first part of its name."""

    from wplus import images, models
    from wplus.errors import FormatError, ImageError
    from wplus.files import parse_json
    from wplus.formats import mobilestylegan
    from wplus.formats.latent_files import read_directions
    from wplus.image_files import read_stored
    from wplus.sources.labels import class_numbers

    def image(path: Path) -> None:
        images.to_tensor(images.read(path))
        with suppress(ImageError):  # most are photographs
            class_numbers(read_stored(path))

    def json_text(path: Path) -> object:
        try:
            return parse_json(path.read_bytes().decode())
        except ValueError as error:
            raise FormatError(str(error)) from None

    return {
        "model": models.load_network,
        "codes": codes.load_all,
        "directions": read_directions,
        "image": image,
        "graph": mobilestylegan.read_mapping,
        "json": json_text,
    }
