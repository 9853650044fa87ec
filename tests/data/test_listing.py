"""Pairs by name: what belongs together, and what is refused."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from painting import paint

from wplus.data import Folder, check
from wplus.data.listing import images_in, pair, read_list
from wplus.errors import ConfigError


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def relative(pairs: list[tuple[str, str, str]], folder: Path) -> list[tuple[str, str, str]]:
    return [(name, *(str(Path(f).relative_to(folder)) for f in files)) for name, *files in pairs]


def test_names_without_padding_and_with_a_suffix(tmp_path: Path) -> None:
    """Sorted side by side, 1_edges stands beside 1 but 10_edges beside 10 no more."""
    numbers = [1, 2, 10, 11, 100, 9]
    touch(*(tmp_path / "a" / f"{n}_edges.png" for n in numbers))
    touch(*(tmp_path / "b" / f"{n}.jpg" for n in numbers))
    pairs, problems = pair(tmp_path / "a", tmp_path / "b", "_edges")
    assert not problems
    assert sorted(relative(pairs, tmp_path)) == sorted(
        (str(n), f"a/{n}_edges.png", f"b/{n}.jpg") for n in numbers
    )
    # The published way, both sides sorted and zipped, gets most of them wrong.
    zipped = zip(sorted(f"{n}_edges" for n in numbers), sorted(f"{n}" for n in numbers))
    assert sum(a.removesuffix("_edges") != b for a, b in zipped) >= 3


def test_suffixes_on_both_sides_and_subfolders(tmp_path: Path) -> None:
    touch(tmp_path / "a/x/1-s.png", tmp_path / "a/y/1-s.png", tmp_path / "b/x/1-t.webp")
    touch(tmp_path / "b/y/1-t.JPG")
    pairs, problems = pair(tmp_path / "a", tmp_path / "b", "-s", "-t")
    assert not problems
    assert relative(pairs, tmp_path) == [
        ("x/1", "a/x/1-s.png", "b/x/1-t.webp"),
        ("y/1", "a/y/1-s.png", "b/y/1-t.JPG"),
    ]


def test_what_does_not_pair_is_named_with_its_reason(tmp_path: Path) -> None:
    touch(*(tmp_path / "a" / name for name in ("1_e.png", "2_e.png", "3.png", "_e.png")))
    touch(*(tmp_path / "b" / name for name in ("1.png", "4.png", "5.png", "5.jpg")))
    pairs, problems = pair(tmp_path / "a", tmp_path / "b", "_e")
    assert [name for name, _, _ in pairs] == ["1"]
    assert [(str(Path(file).relative_to(tmp_path)), what) for file, what in problems] == [
        ("a/2_e.png", "has no target"),
        ("a/3.png", "has no suffix '_e' after its name"),
        ("a/_e.png", "has no suffix '_e' after its name"),
        ("b/4.png", "has no source"),
        ("b/5.jpg", "is one of several called '5'"),
        ("b/5.png", "is one of several called '5'"),
    ]


@pytest.mark.parametrize(
    ("suffixes", "files"),
    [
        (("_edges", ""), {"1": ("1_edges.png", "1.jpg"), "2": ("2_edges.png", "2.jpg")}),
        (("", "_photo"), {"1": ("1.png", "1_photo.jpg"), "2": ("2.png", "2_photo.jpg")}),
        (("_a", "_b"), {"1": ("1_a.png", "1_b.png"), "2": ("2_a.png", "2_b.png")}),
        (("_bw", "w"), {"1": ("1_bw.png", "1w.png")}),
    ],
)
def test_one_folder_for_both(
    tmp_path: Path, suffixes: tuple[str, str], files: dict[str, tuple[str, str]]
) -> None:
    touch(*(tmp_path / file for both in files.values() for file in both))
    pairs, problems = pair(tmp_path, tmp_path, *suffixes)
    assert not problems
    assert {name: both for name, *both in relative(pairs, tmp_path)} == {
        name: list(both) for name, both in files.items()
    }


def test_one_folder_for_both_needs_to_tell_them_apart(tmp_path: Path) -> None:
    touch(tmp_path / "1.png")
    with pytest.raises(ConfigError, match="different suffixes"):
        pair(tmp_path, tmp_path / ".")
    touch(tmp_path / "1_a.png", tmp_path / "1_b.png")
    assert pair(tmp_path, tmp_path, "_a", "_b")[1] == [
        (str(tmp_path / "1.png"), "has no suffix '_a' after its name"),
        (str(tmp_path / "1.png"), "has no suffix '_b' after its name"),
    ]


def test_two_ways_to_write_the_same_letter(tmp_path: Path) -> None:
    for folder, form in (("a", "NFC"), ("b", "NFD")):
        touch(tmp_path / folder / (unicodedata.normalize(form, "é_ü") + ".png"))
    pairs, problems = pair(tmp_path / "a", tmp_path / "b")
    assert not problems and [name for name, *_ in pairs] == ["é_ü"]
    touch(tmp_path / "a" / (unicodedata.normalize("NFD", "é_ü") + ".png"))
    assert len(pair(tmp_path / "a", tmp_path / "b")[1]) == 3, "two names that look the same"


def test_pictures_are_found_by_ending_and_hidden_files_left_out(tmp_path: Path) -> None:
    wanted = ["10.jpg", "2.jpg", "sub/1.PNG", "sub/deep.er/4.jpeg", "v1.2.webp", "5.tiff"]
    touch(*(tmp_path / name for name in wanted))
    touch(
        *(tmp_path / name for name in (".h.jpg", ".x/1.jpg", "n.txt", "list.csv", "x.npz", "jpg"))
    )
    found = images_in(tmp_path)
    assert [str(Path(path).relative_to(tmp_path)) for _, path in found] == [
        "10.jpg", "2.jpg", "5.tiff", "sub/1.PNG", "sub/deep.er/4.jpeg", "v1.2.webp",
    ]  # fmt: skip
    assert [name for name, _ in found] == ["10", "2", "5", "sub/1", "sub/deep.er/4", "v1.2"]


def test_folders_without_pictures(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone: cannot be read as a folder \(No such file"):
        images_in(tmp_path / "gone")
    with pytest.raises(ConfigError, match="no images in this folder"):
        images_in(tmp_path)
    file = paint(tmp_path / "1.png")
    with pytest.raises(ConfigError, match=r"1\.png: cannot be read as a folder"):
        images_in(file)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "l.txt",
            "a/1.png\n\n# no\nb.jpg\n",
            [("a/1", "a/1.png", "a/1.png"), ("b",) + ("b.jpg",) * 2],
        ),
        ("l.txt", "s, t.png\tc.png", [("c", "s, t.png", "c.png")]),
        ("l.csv", "\ufeffs.png,t.png\r\n", [("t", "s.png", "t.png")]),
        ("l.csv", '"s,1.png", t.png', [("t", "s,1.png", "t.png")]),
        ("l.csv", "target,source\nt.png,s.png\n", [("t", "s.png", "t.png")]),
        ("l.csv", "name,target\nanna,t.png\n", [("anna", "t.png", "t.png")]),
        ("l.tsv", "source\ttarget\tname\ns.png\tt.png\tn", [("n", "s.png", "t.png")]),
        ("l.csv", "v1.2/x.y.png", [("v1.2/x.y", "v1.2/x.y.png", "v1.2/x.y.png")]),
    ],
)
def test_lists(tmp_path: Path, name: str, text: str, expected: list[tuple[str, str, str]]) -> None:
    path = tmp_path / name
    path.write_bytes(text.encode())
    assert relative(read_list(path), tmp_path) == expected


def test_telephone_pictures_are_not_passed_over(tmp_path: Path) -> None:
    """Pillow reads HEIC with a plug-in only: without one they are named as what cannot be read."""
    touch(*(tmp_path / name for name in ("1.HEIC", "2.heif", "3.avif", "4.jpg", "5.txt")))
    assert [name for name, _ in images_in(tmp_path)] == ["1", "2", "3", "4"]
    problems = dict(check(Folder(tmp_path)))
    assert problems[str(tmp_path / "1.HEIC")].startswith("refused: ")


def test_absolute_paths_in_a_list(tmp_path: Path) -> None:
    path = tmp_path / "in" / "l.txt"
    path.parent.mkdir()
    path.write_text(f"{tmp_path}/1.png\n../2.png\n")
    assert [Path(pair.target).resolve() for pair in read_list(path)] == [
        tmp_path.resolve() / "1.png",
        tmp_path.resolve() / "2.png",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "is empty"),
        (b"# nothing\n\n", "is empty"),
        (b"a.png,b.png\nc.png\n", r"line 2: expected 2 files, found 'c.png'"),
        (b"a.png,b.png,c.png\n", r"line 1: expected 2 files"),
        (b"a.png,\n", r"line 1: expected 2 files"),
        (b"\xff\xfe\x00a", "cannot be read as a list"),
    ],
)
def test_malformed_lists(tmp_path: Path, text: bytes, message: str) -> None:
    path = tmp_path / "l.csv"
    path.write_bytes(text)
    with pytest.raises(ConfigError, match=message):
        read_list(path)


def names_and_warnings(folder: Path, caplog: pytest.LogCaptureFixture) -> tuple[list[str], str]:
    caplog.clear()
    names = [name for name, _ in images_in(folder)]
    return names, " ".join(record.getMessage() for record in caplog.records)


def test_linked_folders_are_followed_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path / "photos/1.png", tmp_path / "elsewhere/2.png", tmp_path / "elsewhere/x/3.png")
    photos = tmp_path / "photos"
    (photos / "link").symlink_to(tmp_path / "elsewhere")
    assert names_and_warnings(photos, caplog) == (["1", "link/2", "link/x/3"], "")
    (photos / "again").symlink_to(tmp_path / "elsewhere" / "x")
    (tmp_path / "elsewhere" / "loop").symlink_to(photos)
    names, said = names_and_warnings(photos, caplog)
    assert sorted(Path(name).name for name in names) == ["1", "2", "3"]
    assert "2 seen under another name (link/loop, link/x)" in said
    (tmp_path / "top").symlink_to(photos)
    assert len(images_in(tmp_path / "top")) == 3


def test_what_is_left_out_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path / "1.png", tmp_path / "notes.txt", tmp_path / "._1.png", tmp_path / ".DS_Store")
    touch(tmp_path / ".git" / "x.png", tmp_path / ".wplus-writing-a" / "1.png")
    assert names_and_warnings(tmp_path, caplog) == (["1"], "")
    touch(tmp_path / ".hidden.png", tmp_path / ".thumbs" / "1.png")
    for name, head in (
        ("download", b"\xff\xd8\xff\xe0"),
        ("a/photo.jpg_large", b"\xff\xd8\xff\xdb"),
        ("b.dat", b"RIFF1234WEBP"),
        ("IMG_1", b"\0\0\0\x18ftypheic"),
    ):
        touch(tmp_path / name)
        (tmp_path / name).write_bytes(head)
    names, said = names_and_warnings(tmp_path, caplog)
    assert names == ["1"]
    assert "2 hidden (.hidden.png, .thumbs)" in said
    assert "4 images without such an ending (IMG_1, a/photo.jpg_large, b.dat)" in said
    (tmp_path / "1.png").unlink()
    with pytest.raises(ConfigError, match=r"no images in this folder; left out: 2 hidden"):
        images_in(tmp_path)


def test_a_folder_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "1.png", tmp_path / "closed" / "2.png")
    scan = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ConfigError, match=r"closed: cannot be read as a folder .Permission"):
        images_in(tmp_path)
