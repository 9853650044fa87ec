"""What is told of files that are worked through one by one: table, JSON, errors, Ctrl-C."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from rich.table import Table

from wplus.cli.results import Report, tell


@dataclass(frozen=True)
class Done:
    input: str
    error: str | None = None


def table(good: list[Done]) -> Table:
    made = Table("input")
    for result in good:
        made.add_row(result.input)
    return made


def work(*results: Done | type[BaseException]) -> Callable[[Report], Iterator[Done]]:
    def start(report: Report) -> Iterator[Done]:
        for result in results:
            if not isinstance(result, Done):
                raise result
            report(result.input, 1, 2)
            yield result

    return start


GOOD, BAD = Done("good.jpg"), Done("bad.jpg", "bad.jpg: is no picture")


def test_a_table_of_what_is_good_and_a_line_for_the_rest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert tell(work(BAD, GOOD), table, json_output=False) == 1
    out, err = capsys.readouterr()
    assert "good.jpg" in out and "bad.jpg" not in out
    assert err == "error: bad.jpg: is no picture\n"
    assert tell(work(GOOD), table, json_output=False) == 0


def test_nothing_good_is_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert tell(work(BAD), table, json_output=False) == 1
    assert capsys.readouterr().out == ""


def test_json_has_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert tell(work(GOOD, BAD), table, json_output=True) == 1
    entries = json.loads(capsys.readouterr().out)
    assert [entry["error"] for entry in entries] == [None, BAD.error]


@pytest.mark.parametrize("json_output", [False, True])
def test_what_is_done_when_stopped_is_told(
    json_output: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    start = work(GOOD, BAD, KeyboardInterrupt, GOOD)
    assert tell(start, table, json_output) == 130
    out, err = capsys.readouterr()
    assert out.count("good.jpg") == 1
    assert err.splitlines()[-1] == "stopped; 1 done"
    if json_output:
        assert len(json.loads(out)) == 2


def test_other_errors_pass_through() -> None:
    with pytest.raises(ZeroDivisionError):
        tell(work(GOOD, ZeroDivisionError), table, json_output=True)
