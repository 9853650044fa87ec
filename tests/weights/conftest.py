"""Three toy assets in place of the table, an empty cache, and an index that serves them."""

import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from toy_index import FIRST, SDIST, SECOND, THIRD, WHEEL, Index, handler, sdist, sha256, wheel

from wplus.errors import WeightsError
from wplus.registry import Registry
from wplus.weights import cache, index, table
from wplus.weights.table import Archive, Asset


@pytest.fixture
def toy_assets(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Put three small assets of two archives in place of the table; return the archives."""
    files = {
        WHEEL: wheel({"toy/readme.txt": b"-", "toy/a.bin": FIRST, "toy/b.bin": SECOND}),
        SDIST: sdist({"toy-loss-2.0/setup.py": b"raise SystemExit", "toy-loss-2.0/c.ckpt": THIRD}),
    }
    net, loss = (
        Archive(package, version, name, len(files[name]), sha256(files[name]), "MIT", "any use")
        for package, version, name in (("toy.Net", "1.0", WHEEL), ("toy-loss", "2.0", SDIST))
    )
    rows = [
        Asset("first.bin", "one", net, "toy/a.bin", len(FIRST), sha256(FIRST)),
        Asset("second.bin", "two", net, "toy/b.bin", len(SECOND), sha256(SECOND)),
        Asset("third.ckpt", "three", loss, "toy-loss-2.0/c.ckpt", len(THIRD), sha256(THIRD)),
    ]
    monkeypatch.setattr(table, "ASSETS", Registry("pretrained file", rows, WeightsError))
    return files


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of its own; nothing remembered from other tests."""
    place = tmp_path / "cache"
    monkeypatch.setenv("WPLUS_CACHE", str(place))
    monkeypatch.setattr(cache, "_checked", {})
    return place


@pytest.fixture
def served(
    toy_assets: dict[str, bytes], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Index]:
    """The running index; the environment points at it, and retries do not wait."""
    state = Index(toy_assets, {"toy-net": ["toy_net-1.0.tar.gz", WHEEL], "toy-loss": [SDIST]})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(state))
    state.url = f"http://127.0.0.1:{server.server_port}/simple/"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    for variable in ("PIP_INDEX_URL", "PIP_PROXY", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("WPLUS_INDEX_URL", state.url)
    monkeypatch.setattr(index, "RETRY_WAITS", (0.0, 0.0))
    yield state
    server.shutdown()
    server.server_close()
