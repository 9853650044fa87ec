"""The house stays as it is drawn: who may import whom, what importing costs, how long files are."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "wplus"

# A module imports from its own room and from rooms above it.
ROOMS = [
    "errors",
    "files",
    "registry",
    "progress",
    "schedules",
    "config",
    "image_files",
    "images",
    "nn",
    "latents",
    "weights",
    "formats",
    "codes",
    "faces",
    "sources",
    "generators",
    "encoders",
    "correctors",
    "psp",
    "losses",
    "tasks",
    "models",
    "data",
    "prepare",
    "training",
    "optimize",
    "inference",
    "editing",
    "evaluate",
    "api",
    "cli",
]

LONGEST = 400  # lines of a file
SLOW = ("onnx", "onnxruntime", "openvino", "requests", "pypi_simple", "rich", "cyclopts", "av")


def sources(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    assert found
    return found


def imports(path: Path) -> Iterator[str]:
    """Full names of everything that a file imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def rooms_of(path: Path) -> Iterator[str]:
    """The rooms that a file imports from; the package's own contents are nobody's."""
    for name in imports(path):
        first, _, rest = name.partition(".")
        room = rest.partition(".")[0]
        if first == "wplus" and not room.startswith("__"):
            yield room


def test_every_room_has_its_place() -> None:
    found = {room_of(path) for path in sources("src/wplus")} - {"__init__", "__main__"}
    assert found <= set(ROOMS)
    assert len(ROOMS) == len(set(ROOMS))


def test_the_plan_names_the_rooms_in_this_order() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| ((?:`\w+/?` ?)+)\|", text, re.MULTILINE)
    named = [name for cell in cells for name in re.findall(r"`(\w+)/?`", cell)]
    assert len(named) > 10
    assert named == [room for room in ROOMS if room in named]


@pytest.mark.parametrize(
    "path", [pytest.param(path, id=str(path.relative_to(PACKAGE))) for path in sources("src/wplus")]
)
def test_imports_point_upwards(path: Path) -> None:
    room = room_of(path)
    if room in ("__init__", "__main__"):  # the doors
        return
    allowed = ROOMS[: ROOMS.index(room) + 1]
    below = [other for other in rooms_of(path) if other not in allowed]
    assert not below, f"{room} imports from {', '.join(below)}, which stand below it"


def test_the_check_sees_every_kind_of_import(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text(
        "import wplus.cli\nfrom wplus import psp\nfrom wplus.nn.fir import blur\n"
        "def f():\n    from wplus.losses import LPIPS\n"
        "import torch\nfrom wplus import __version__\n"
    )
    assert list(rooms_of(file)) == ["cli", "psp", "nn", "losses"]


def test_no_torchvision() -> None:
    for path in sources("src", "tests", "benchmarks"):
        names = {name.partition(".")[0] for name in imports(path)}
        assert "torchvision" not in names, path
    assert "torchvision" not in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_files_are_short() -> None:
    for path in sources("src", "benchmarks"):
        count = len(path.read_text(encoding="utf-8").splitlines())
        assert count < LONGEST, f"{path} has {count} lines"


def test_the_library_logs_and_the_command_prints() -> None:
    for path in sources("src/wplus"):
        if room_of(path) == "cli":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            assert not called or node.func.id != "print", f"{path}:{node.lineno}"  # type: ignore[union-attr]


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter whose every usual place to write to is `folder`."""
    moved = ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
    environment = {**os.environ, **dict.fromkeys(moved, str(folder))}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    environment.pop("WPLUS_CACHE", None)
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )


def test_importing_does_no_work(tmp_path: Path) -> None:
    code = f"""
import json, sys
import wplus
alone = sorted(sys.modules)
import time, torch
start = time.process_time()
for name in wplus.__all__:
    getattr(wplus, name)
taken = time.process_time() - start
slow = [name for name in {SLOW!r} if name in sys.modules]
threads = __import__("threading").active_count()
print(json.dumps([taken, slow, threads, "torch" in alone]))
"""
    result = run(code, tmp_path)
    taken, slow, threads, torch_too = json.loads(result.stdout)
    assert result.stderr == ""
    assert taken < 2, "seconds beyond importing torch"
    assert slow == []
    assert threads == 1
    assert not torch_too, "`wplus --help` must not wait for torch"
    assert list(tmp_path.iterdir()) == []


def test_the_public_names(tmp_path: Path) -> None:
    code = """
import json, wplus
print(json.dumps([dir(wplus), wplus.load.__module__, wplus.PSP.__module__, wplus.__version__]))
try:
    wplus.nonsense
except AttributeError as error:
    print(error)
"""
    first, second = run(code, tmp_path).stdout.splitlines()
    names, *homes, version = json.loads(first)
    assert {"PSP", "WplusError", "images", "latents", "load"} <= set(names)
    assert homes == ["wplus.models", "wplus.psp"]
    assert f'version = "{version}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert second == "module 'wplus' has no attribute 'nonsense'"


def test_modules_of_tests_have_names_of_their_own() -> None:
    """Pytest puts their folders on one path, where the first of two equal names wins."""
    names = [path.name for path in sources("tests") if path.name != "conftest.py"]
    twice = {name for name in names if names.count(name) > 1}
    assert not twice
    users = [path for path in sources("tests") if "conftest" in set(imports(path))]
    assert not users, "conftest.py is not importable by name: there are several"
