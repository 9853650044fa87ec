from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

import tiny
from wplus.editing.attributes import AttributeReader, Attributes, read_attributes
from wplus.errors import ConfigError, FormatError, WplusError
from wplus.nn.mobilefacenet import MobileFaceNet, MobileFaceTrunk

TABLE = """id,sex,yaw,age,glasses,same
00000,female,1.5,20,None,1
00001,male,-3,,Reading,1
00002,female,0,60,Sun,1
00003,male,4.5,40,Reading,1
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "faces.csv"
    path.write_text(TABLE)
    return path


def net() -> MobileFaceNet:
    trunk = MobileFaceTrunk(3, 4, tiny.FACE_STAGES)
    made = MobileFaceNet(trunk, 6, 4, 8, 32)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for parameter in made.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return made.eval().requires_grad_(False)


def test_columns_of_numbers_and_of_words(table: Path) -> None:
    found = read_attributes(
        table, ["sex", "yaw", "age", "glasses"], {"glasses": ("None", "Reading")}
    )
    assert found.names == ("sex", "yaw", "age", "glasses")
    assert found.binary == (True, False, False, True)
    assert found.values[:, 0].tolist() == [0, 1, 0, 1]
    assert math.isnan(found.values[1, 2])
    assert [math.isnan(value) for value in found.values[:, 3]] == [False, False, True, False]
    assert found.units == ("from female to male", "degree of yaw", "unit", "from None to Reading")


def test_without_names_what_cannot_be_used_is_left_out(table: Path) -> None:
    assert read_attributes(table).names == ("sex", "yaw", "age", "same")


def test_rows_by_stem_and_missing_ones(table: Path) -> None:
    found = read_attributes(table, ["yaw"]).rows(["00003", "gone", "00001"])
    assert found.values[:, 0].tolist()[::2] == [4.5, -3]
    assert math.isnan(found.values[1, 0])


def test_standard_deviations_but_degrees(table: Path) -> None:
    found = read_attributes(table, ["sex", "yaw", "age"]).standardized()
    assert found.values[:, 1].tolist() == [1.5, -3, 0, 4.5]
    age = found.values[:, 2]
    assert age[~age.isnan()].tolist() == pytest.approx([-1, 1, 0])
    assert "20" in found.units[2]
    assert "from female to male" in found.units[0]
    with pytest.raises(ConfigError, match="same value"):
        read_attributes(table, ["same"]).standardized()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("id,a\n1,2,3\n", "row 2"),
        ("id,a\n", "is empty"),
        ("", "CSV|empty"),
        ("id\n1\n", "is empty"),
        ("id,a\n1,2\n1,3\n", "twice"),
        ("id,a\n1,inf\n", "not finite"),
        ("id,a\n1,x\n2,y\n3,z\n", "different words"),
    ],
)
def test_tables_that_cannot_be_used(content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(content)
    with pytest.raises(WplusError, match=said) as error:
        read_attributes(path, ["a"] if content.startswith("id,a") else [])
    assert str(path) in str(error.value)


def test_names_and_contrasts_that_are_not_there(table: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no column 'nose'"):
        read_attributes(table, ["nose"])
    with pytest.raises(ConfigError, match="no 'Monocle'"):
        read_attributes(table, ["glasses"], {"glasses": ("None", "Monocle")})
    with pytest.raises(FormatError, match="no such file"):
        read_attributes(tmp_path / "gone.csv")


def test_the_reader_reads_what_is_in_pictures() -> None:
    """Brightness of one half of a picture: easily seen in features of any net."""
    rng = torch.Generator().manual_seed(0)
    level = torch.rand(80, generator=rng) * 1.6 - 0.8
    pictures = 0.1 * torch.randn(80, 3, 64, 64, generator=rng)
    pictures[:, :, :32] += level[:, None, None, None]
    values = torch.stack([10 * level, torch.randn(80, generator=rng)], 1)
    values[::7, 0] = math.nan
    about = Attributes(
        tuple(map(str, range(60))), ("level", "noise"), values[:60], (False,) * 2, ("", "")
    )
    reader = AttributeReader(net())
    reader.fit(reader.features(pictures[:60]), about)
    guess = reader(pictures[60:])[:, 0]
    assert reader.shares["level"] > 0.9 > 0.3 > reader.shares["noise"]
    assert float((guess - 10 * level[60:]).square().mean()) < 0.2 * float((10 * level).var())


def test_the_reader_needs_pictures_with_values() -> None:
    about = Attributes(("a",) * 12, ("x",), torch.full((12, 1), math.nan), (False,), ("",))
    with pytest.raises(ConfigError, match="0 values"):
        AttributeReader(net()).fit(torch.randn(12, 5), about)
