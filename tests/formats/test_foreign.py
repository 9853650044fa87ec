"""Which reader a foreign file gets, and what files that none can read are told."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import published
import pytest
import torch
from published_parser import published_parser

import wplus
from wplus import models
from wplus.errors import FormatError
from wplus.faces.parser import FaceParser
from wplus.formats import foreign
from wplus.formats.bisenet import read_bisenet
from wplus.losses.facenets import ArcFace
from wplus.nn.bisenet import BiSeNet
from wplus.nn.irse import IRSETrunk


def saved(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def arcface_state() -> dict[str, Any]:
    net = ArcFace(IRSETrunk(stages=((4, 1), (6, 1))), embedding=8, size=16)
    table = {
        "norm_in": "output_layer.0", "embed": "output_layer.3", "norm_out": "output_layer.4",
    }  # fmt: skip
    state = {}
    for name, value in net.state_dict().items():
        root = name.split(".")[0]
        if root in table:
            state[name.replace(root, table[root], 1)] = value
    encoder = published.encoder_state(net, "")  # type: ignore[arg-type]
    return state | {n: v for n, v in encoder.items() if n.startswith(("input_layer", "body"))}


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".tar", ""])
def test_torch_files_by_what_they_hold(suffix: str, tmp_path: Path) -> None:
    generator = published.generator(8)
    encoder = published.encoder("single_w", generator.num_styles)
    cases = {
        "psp": published.checkpoint(encoder, generator, "single_w"),
        "port": {"g_ema": published.port(generator)},
        "face": arcface_state(),
        "parser": published_parser(),
    }
    found = {
        name: foreign.read(saved(tmp_path / f"{name}{suffix}", content))
        for name, content in cases.items()
    }
    config, state = found["psp"]
    assert (config["generator"]["kind"], config["encoder"]["kind"]) == ("stylegan2", "single_w")
    assert {name.partition(".")[0] for name in state} == {"generator", "encoder", "mean_codes"}
    config, state = found["port"]
    assert set(config) == {"generator"}
    assert {name.partition(".")[0] for name in state} == {"generator"}
    config, state = found["face"]
    assert config["kind"] == "arcface"
    assert "trunk.stem.conv.weight" in state
    config, state = found["parser"]
    assert config == {"kind": "bisenet", "options": {"classes": 19, "width": 4}}
    assert "scores.weight" in state


@pytest.mark.parametrize("suffix", [".pth", ""])
def test_a_face_parser_is_converted_and_loaded(suffix: str, tmp_path: Path) -> None:
    """Whole and in the right order, also out of the file that it was converted to."""
    state = published_parser()
    path = saved(tmp_path / f"parser{suffix}", state)
    about = models.convert(path, tmp_path / "parser.safetensors")
    assert about.startswith("bisenet, ")
    config, expected = read_bisenet(path)
    network = BiSeNet(**config).eval()
    network.load_state_dict(expected)
    pictures = torch.rand(1, 3, 64, 64) * 2 - 1
    for file in (path, tmp_path / "parser.safetensors"):
        found: Any = models.load_network(file)
        assert isinstance(found, BiSeNet) and not found.training
        with torch.no_grad():
            torch.testing.assert_close(found(pictures), network(pictures))
        assert FaceParser(found, 64).parse(pictures).shape == (1, 64, 64)
    del state["cp.arm16.conv.conv.weight"]
    with pytest.raises(FormatError, match=r"lacks cp\.arm16\.conv\.conv\.weight$"):
        wplus.load(saved(path, state))


CALLED: list[object] = []


def trap(*args: object) -> object:
    CALLED.append(args)
    return args


class Trap:
    """What runs a function when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return trap, ("caught",)


class Shell:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def old_torch(path: Path, content: object) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=False)
    return path


def plain_pickle(path: Path, content: object) -> Path:
    path.write_bytes(pickle.dumps(content))
    return path


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".pkl", ".ckpt", ".bin", ""])
@pytest.mark.parametrize("write", [saved, old_torch, plain_pickle])
def test_pickles_that_would_run_code_are_refused(write: Any, suffix: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    for content in (
        Shell(f"touch {mark}"),
        Trap(),
        {"g_ema": {"a": Trap()}, "latent_avg": Shell(f"touch {mark}")},
        {"cp.resnet.conv1.weight": torch.zeros(4, 3, 7, 7), "x": Shell(f"touch {mark}")},
        {"state_dict": {"encoder.a": torch.zeros(1)}, "opts": Shell(f"touch {mark}")},
    ):
        path = write(tmp_path / f"model{suffix}", content)
        with pytest.raises(FormatError) as error:
            wplus.load(path)
        message = str(error.value)
        assert message.startswith(f"{path}: ")
        assert "\n" not in message
        assert not mark.exists()
        assert not CALLED


def test_the_trap_of_the_test_above_is_one(tmp_path: Path) -> None:
    path = plain_pickle(tmp_path / "model.pt", Trap())
    pickle.loads(path.read_bytes())
    assert CALLED.pop() == ("caught",)


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "-")


OTHERS: dict[str, Any] = {
    "a web page": lambda path: path.write_text("<!DOCTYPE html>\n<html>quota exceeded</html>\n"),
    "a web page after blanks": lambda path: path.write_text("\n\n  <html>\n</html>\n"),
    "a text": lambda path: path.write_text("these are not the weights\nyou are looking for\n"),
    "nothing": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(5000)),
    "an archive": zipped,
    "a table": lambda path: torch.save({"a": 1}, path),
    "a tensor": lambda path: torch.save(torch.zeros(3), path),
    "a list": lambda path: torch.save([torch.zeros(3)], path),
    "an optimizer": lambda path: torch.save({"state_dict": {"layer": torch.zeros(1)}}, path),
    "half a file": lambda path: (
        torch.save({"g_ema": {"a": torch.zeros(9999)}}, path),
        path.write_bytes(path.read_bytes()[:20_000]),
    ),
    "a folder": lambda path: path.mkdir(),
    "no file": lambda path: None,
}


@pytest.mark.parametrize(
    "suffix", [".pt", ".pkl", ".onnx", ".ckpt", ".xml", ".safetensors", ".weird"]
)
@pytest.mark.parametrize("kind", OTHERS)
def test_other_files_get_one_line(kind: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    OTHERS[kind](path)
    with pytest.raises(FormatError) as error:
        wplus.load(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < len(str(path)) + 200
    if kind == "no file":
        assert "no such file" in message.lower() or "missing" in message
    if kind.startswith("a web page") and suffix in (".pt", ".pkl", ".ckpt"):
        assert "is a web page" in message
    if kind == "a folder":
        assert "is a folder" in message
