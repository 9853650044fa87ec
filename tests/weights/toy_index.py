"""A package index on the loopback interface, with small archives, that can be told to misbehave."""

import hashlib
import io
import json
import tarfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from wplus.weights import table

WHEEL, SDIST = "toy_net-1.0-py3-none-any.whl", "toy-loss-2.0.tar.gz"
FIRST = bytes(range(256)) * 300
SECOND = b"second" * 20_000
THIRD = b"third" * 10_000


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def wheel(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
    return buffer.getvalue()


def sdist(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            file.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


@dataclass
class Index:
    """What the server serves and how; `log` holds the paths it was asked for."""

    files: dict[str, bytes]
    projects: dict[str, list[str]]
    listed_sums: dict[str, str] = field(default_factory=dict)
    statuses: list[int] = field(default_factory=list)  # answers to the next requests
    cut: dict[str, int] = field(default_factory=dict)  # bytes after which the line breaks
    stall_after: dict[str, int] = field(default_factory=dict)
    declare_length: bool = True
    page_type: str = "text/html"
    before_file: Callable[[], None] = lambda: None
    log: list[str] = field(default_factory=list)
    encodings: list[str] = field(default_factory=list)
    url: str = ""

    def downloads(self, file: str) -> int:
        return self.log.count(f"/files/{file}")


def handler(served: Index) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            served.log.append(self.path)
            if served.statuses and (status := served.statuses.pop(0)) != 200:
                self.send_error(status)
                return
            _, kind, name, *_ = self.path.split("/")
            if kind == "simple" and name in served.projects:
                self._send(self._page(name), served.page_type)
            elif kind == "files" and name in served.files:
                served.encodings.append(self.headers.get("Accept-Encoding", ""))
                served.before_file()
                self._send(served.files[name], "application/octet-stream", name)
            else:
                self.send_error(404)

        def _page(self, project: str) -> bytes:
            links = "".join(
                f'<a href="/files/{file}{"#sha256=" + sum_ if sum_ else ""}">{file}</a>'
                for file in served.projects[project]
                for sum_ in [served.listed_sums.get(file, "")]
            )
            return f"<!DOCTYPE html><html><body>{links}</body></html>".encode()

        def _send(self, body: bytes, kind: str, file: str = "") -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            if served.declare_length:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            try:
                stall = served.stall_after.get(file, 0)
                self.wfile.write(body[:stall])
                time.sleep(0.4 if stall else 0)
                self.wfile.write(body[stall : served.cut.get(file)])
            except (BrokenPipeError, ConnectionResetError):  # the client has given up
                self.close_connection = True

    return Handler


def leftovers(folder: Path) -> list[str]:
    """Everything in the cache that is neither an asset nor an (empty) lock file."""
    if not folder.exists():
        return []
    locks = [file for file in folder.iterdir() if file.name.endswith(".lock")]
    assert all(file.stat().st_size == 0 for file in locks)
    return sorted(
        str(file.relative_to(folder))
        for file in folder.rglob("*")
        if file not in locks and file.name not in table.ASSETS
    )


def in_process(name: str, ready: Path | None = None) -> list[str]:
    """Arguments for Python that fetch toy asset `name` in a process of its own."""
    rows = json.dumps([asdict(row) for row in table.ASSETS.values()])
    return [
        "-c",
        f"""
import json, pathlib
from wplus.weights import fetching, table
rows = [table.Asset(**{{**row, "archive": table.Archive(**row["archive"])}})
        for row in json.loads({rows!r})]
table.ASSETS = type(table.ASSETS)("pretrained file", rows)
if {str(ready)!r} != "None":
    pathlib.Path({str(ready)!r}).touch()
print(fetching.path({name!r}))
""",
    ]


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
