"""What is printed: results as table or JSON, errors, Ctrl-C, names with control characters."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from wplus.cli.terminal import LONGEST, print_error, print_line, print_table, report, safe
from wplus.progress import ProgressFor


@dataclass(frozen=True)
class Done:
    input: str
    error: str | None = None


def table(good: list[Done]) -> None:
    print_table(["input"], [[result.input] for result in good])


def work(*results: Done | type[BaseException]) -> Callable[[ProgressFor], Iterator[Done]]:
    def start(progress: ProgressFor) -> Iterator[Done]:
        for result in results:
            if not isinstance(result, Done):
                raise result
            progress(result.input)(1, 2)
            yield result

    return start


GOOD, BAD = Done("good.jpg"), Done("bad.jpg", "bad.jpg: is no picture")


def test_a_table_of_what_is_good_and_a_line_for_the_rest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert report(work(BAD, GOOD), table, json_output=False) == 1
    out, err = capsys.readouterr()
    assert "good.jpg" in out and "bad.jpg" not in out
    assert err == "error: bad.jpg: is no picture\n"
    assert report(work(GOOD), table, json_output=False) == 0


def test_nothing_good_is_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(work(BAD), table, json_output=False) == 1
    assert capsys.readouterr().out == ""


def test_json_has_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(work(GOOD, BAD), table, json_output=True) == 1
    entries = json.loads(capsys.readouterr().out)
    assert [entry["error"] for entry in entries] == [None, BAD.error]


@pytest.mark.parametrize("json_output", [False, True])
def test_what_is_done_when_stopped_is_told(
    json_output: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    start = work(GOOD, BAD, KeyboardInterrupt, GOOD)
    assert report(start, table, json_output) == 130
    out, err = capsys.readouterr()
    assert out.count("good.jpg") == 1
    assert err.splitlines()[-1] == "stopped; 1 done"
    if json_output:
        assert len(json.loads(out)) == 2


def test_other_errors_pass_through() -> None:
    with pytest.raises(ZeroDivisionError):
        report(work(GOOD, ZeroDivisionError), table, json_output=True)


HOSTILE = "\x1b[31mred\nerror: disk failure\u202e\udcff.jpg"


def test_names_cannot_move_the_cursor_or_pass_for_messages(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_line(HOSTILE)
    print_error(f"{HOSTILE}: is no picture")
    print_table(["[bold]input"], [[f"[red]{HOSTILE}"]])
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == r"\x1b[31mred\nerror: disk failure\u202e\udcff.jpg"
    assert len(err.splitlines()) == 1
    assert err.startswith(r"error: \x1b[31mred error: disk failure")
    assert "[red]" in out, "names are not markup"
    for text in (out, err):
        assert all(each.isprintable() for each in text if each != "\n")


def test_long_names_are_shortened() -> None:
    line = safe("a" * 5000 + "b")
    assert LONGEST <= len(line) <= LONGEST + 3
    assert line.endswith("ab")
