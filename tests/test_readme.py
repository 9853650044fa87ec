"""The README says what is so: its commands exist, its files exist, its code runs."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from wplus import images

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str = "") -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    return [text for name, text in found if name == language]


def test_both_shell_lines_are_complete() -> None:
    invert, test = (block.strip() for block in blocks("sh")[:2])
    for line in (invert, test):
        assert "\n" not in line
        assert line.startswith("python3 -m venv .venv && .venv/bin/pip install ")
    assert "wplus invert examples/portrait.jpg" in invert
    assert (ROOT / "examples" / "portrait.jpg").is_file()


def test_every_command_named_exists() -> None:
    from wplus.cli import app

    named = set(re.findall(r"`wplus (\w+)", README))
    assert named
    assert named <= {name for name in app if not name.startswith("-")}


def test_the_tree_is_the_tree() -> None:
    [tree] = blocks()
    folder = ROOT
    for line in tree.splitlines():
        first, *others = line.split()
        if line.startswith("  "):
            named = [first, *(word for word in others if word.endswith(".py"))]
            folder = ROOT / "src" / "wplus"
        else:
            named, folder = [first], ROOT
        for name in named:
            assert (folder / name).exists(), name


def test_every_module_is_in_the_tree() -> None:
    for path in (ROOT / "src" / "wplus").iterdir():
        if not path.name.startswith("__") and path.suffix in ("", ".py"):
            assert path.name in README, path.name


def test_linked_files_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


@pytest.mark.network
@pytest.mark.slow
def test_the_python_block_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    block = blocks("python")[0]
    assert len([line for line in block.splitlines() if line.strip()]) == 5
    shutil.copy(ROOT / "examples" / "portrait.jpg", tmp_path / "photo.jpg")
    shutil.copy(ROOT / "examples" / "sketches" / "1.png", tmp_path / "sketch.png")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(block, "README.md", "exec"), names)
    assert (tmp_path / "older.png").is_file()
    face, faces = names["face"], names["faces"]
    assert face.image.size == (1024, 1024)
    assert face.codes.ndim == 2
    assert face.crop.picture_size == images.read(tmp_path / "photo.jpg").size
    assert len(faces) == 4
    assert Path(face.save("out").images[0]).is_file()
