"""Names and paths of training files: images of a folder, pairs of files by name, lists."""

from __future__ import annotations

import csv
import logging
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from wplus import images
from wplus.errors import ConfigError
from wplus.files import PREFIX

_COLUMNS = {"source", "target", "name"}
_TELEPHONES = {".heic", ".heif", ".avif"}
"""Listed even where Pillow cannot read them, so that they are reported instead of skipped."""
_TELEPHONES_INSIDE = {b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypavif"}
_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"II*\0", b"MM\0*")
_IGNORED = (PREFIX, "._", ".git", ".DS_Store", ".Trash", ".ipynb_checkpoints")
"""Hidden files of programs, left out without a warning."""
logger = logging.getLogger(__name__)


class Pair(NamedTuple):
    """Source and target of an example, which may be the same file, and its name."""

    name: str
    source: str
    target: str


def pair(
    sources: str | os.PathLike[str],
    targets: str | os.PathLike[str],
    source_suffix: str = "",
    target_suffix: str = "",
) -> tuple[list[Pair], list[tuple[str, str]]]:
    """Pair two folders by name, never by order.

    A name is the path within the folder without extension and suffix: with "_edges" as suffix of
    one side, `a/7.jpg` and `a/7_edges.png` both are `a/7`. The two folders may be the same; then
    the suffixes distinguish the files.

    Returns:
        The pairs, sorted by name, and (file, problem) of every unpaired file.

    Raises:
        ConfigError: a folder is missing, cannot be read, or has no images; or one folder with
            equal suffixes.
    """
    same = Path(sources).resolve() == Path(targets).resolve()
    if same and source_suffix == target_suffix:
        raise ConfigError(
            f"{os.fsdecode(sources)}: sources and targets in one folder need different suffixes"
        )
    problems: set[tuple[str, str]] = set()
    sides: list[dict[str, str]] = []
    suffixes = [unicodedata.normalize("NFC", each) for each in (source_suffix, target_suffix)]
    for folder, suffix, other in zip((sources, targets), suffixes, suffixes[::-1]):
        side: dict[str, list[str]] = {}
        for name, path in images_in(folder):
            theirs = same and name.endswith(other)
            if theirs and (len(other) > len(suffix) or not name.endswith(suffix)):
                continue
            if not name.endswith(suffix) or name.rpartition("/")[2] == suffix:
                problems.add((path, f"has no suffix {suffix!r} after its name"))
            else:
                side.setdefault(name.removesuffix(suffix), []).append(path)
        for name, paths in side.items():
            if len(paths) > 1:
                problems.update((path, f"is one of several called {name!r}") for path in paths)
        sides.append({name: paths[0] for name, paths in side.items() if len(paths) == 1})
    first, second = sides
    pairs = [Pair(name, first[name], second[name]) for name in sorted(first.keys() & second.keys())]
    problems.update((path, "has no target") for name, path in first.items() if name not in second)
    problems.update((path, "has no source") for name, path in second.items() if name not in first)
    return pairs, sorted(problems)


def images_in(folder: str | os.PathLike[str]) -> list[tuple[str, str]]:
    """(name, path) of the images in a folder and its subfolders, sorted by name.

    The name is the path within the folder without extension, in Unicode's composed form NFC
    (file systems differ in how they store é). Links to folders are followed, each folder once.
    Files with other extensions than those of images are left out. A warning names what else is
    left out: hidden files, folders already visited under another name, and images whose names have
    no extension of an image.

    Raises:
        ConfigError: the folder is missing, has no images, or it or a subfolder cannot be read.
    """
    top = os.fsdecode(folder)
    kinds = Image.registered_extensions()
    endings = {ending for ending, kind in kinds.items() if kind in images.FORMATS} | _TELEPHONES
    found: list[tuple[str, str]] = []
    left_out: dict[str, list[str]] = {}
    seen: set[str] = set()
    try:
        for place, folders, files in os.walk(top, onerror=_give_up, followlinks=True):
            inside = os.path.relpath(place, top).replace(os.sep, "/")
            prefix = "" if inside == "." else inside + "/"
            if (real := os.path.realpath(place)) in seen:
                left_out.setdefault("seen under another name", []).append(inside)
                folders.clear()
                continue
            seen.add(real)
            for name in [*folders, *files]:
                stem, ending = os.path.splitext(name)  # noqa: PTH122  (as above)
                is_image = ending.lower() in endings
                path = os.path.join(place, name)  # noqa: PTH118
                if name.startswith("."):
                    if (is_image or name in folders) and not name.startswith(_IGNORED):
                        left_out.setdefault("hidden", []).append(prefix + name)
                elif name in folders:
                    continue
                elif is_image:
                    found.append((unicodedata.normalize("NFC", prefix + stem), path))
                elif _is_image_inside(path):
                    left_out.setdefault("images without such an ending", []).append(prefix + name)
            folders[:] = sorted(name for name in folders if not name.startswith("."))
    except OSError as error:
        where = top if error.filename is None else os.fsdecode(error.filename)
        raise ConfigError(f"{where}: cannot be read as a folder ({error.strerror})") from error
    about = "; ".join(f"{len(x)} {why} ({', '.join(sorted(x)[:3])})" for why, x in left_out.items())
    if not found:
        also = f"; left out: {about}" if about else ""
        raise ConfigError(f"{top}: there are no images in this folder{also}")
    if about:
        logger.warning("%s: left out: %s", top, about)
    return sorted(found)


def _is_image_inside(path: str) -> bool:
    """Whether the first bytes of a file are those of an image format."""
    if not os.path.isfile(path):  # noqa: PTH113  (as above)
        return False
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            head = file.read(12)
    except OSError:
        return False
    return head.startswith(_BEGINNINGS) or head[8:] == b"WEBP" or head[4:] in _TELEPHONES_INSIDE


def _give_up(error: OSError) -> None:
    raise error  # by default os.walk skips folders that it cannot read


def read_list(path: Path) -> list[Pair]:
    """The pairs of a list, see `pairs.FileList`; the files need not exist.

    Raises:
        ConfigError: the list cannot be read, is empty, or a line is malformed.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [
                (number, line)
                for number, line in enumerate(file, start=1)
                if line.strip() and not line.startswith("#")
            ]
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"{path}: cannot be read as a list of files ({error})") from error
    separator = "," if path.suffix.lower() == ".csv" else "\t"
    pairs: list[Pair] = []
    columns: Sequence[str] | None = None
    for number, line in lines:
        cells = [cell.strip() for cell in next(csv.reader([line], delimiter=separator))]
        if columns is None:
            columns = ("source", "target")[-len(cells) :]
            if set(cells) <= _COLUMNS and "target" in cells:
                columns = cells
                continue
        if len(cells) != len(columns) or not all(cells):
            raise ConfigError(
                f"{path}, line {number}: expected {len(columns)} files, found {line.strip()!r}"
            )
        row = dict(zip(columns, cells))
        target = os.fspath(path.parent / row["target"])
        source = os.fspath(path.parent / row["source"]) if "source" in row else target
        stem = os.path.splitext(row["target"])[0].replace(os.sep, "/")  # noqa: PTH122
        pairs.append(Pair(row.get("name", stem), source, target))
    if not pairs:
        raise ConfigError(f"{path}: the list is empty")
    return pairs
