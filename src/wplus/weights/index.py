"""Download of one exact archive from the package index, through a client of its simple API."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from wplus.errors import WeightsError
from wplus.weights.cache import cache_folder, damage
from wplus.weights.table import Archive

if TYPE_CHECKING:
    import requests
    from pypi_simple import ProjectPage, PyPISimple

INDEX_VARIABLES = ("WPLUS_INDEX_URL", "PIP_INDEX_URL")
"""Environment variables that name another index (its simple API); the first that is set counts."""

TIMEOUT = (10.0, 30.0)  # seconds to connect, and between two arrivals of bytes
RETRY_WAITS = (0.5, 2.0)  # seconds before the second and the third attempt

_logger = logging.getLogger(__name__)


class _Interrupted(Exception):
    """The body ended before all of the archive had come."""


def download(archive: Archive, target: Path, *, progress: bool = True) -> None:
    """Fetch `archive` to the file `target` and check its size and sha256.

    Temporary failures (no connection, time-outs, a broken transfer, status 429 and 5xx) are
    retried twice. With `progress`, a terminal shows a bar on stderr; elsewhere one
    line is logged.

    Raises:
        WeightsError: the index cannot be reached, lacks the archive, or gave another file.
        OSError: `target` cannot be written.
    """
    import requests
    import urllib3
    from pypi_simple import PyPISimple

    endpoint = _endpoint()
    with PyPISimple(endpoint, session=_session()) as client, _shown(archive, progress) as moved:
        for wait in (*RETRY_WAITS, None):
            try:
                _attempt(client, archive, target, moved)
                break
            except (_Interrupted, requests.RequestException, urllib3.exceptions.HTTPError) as error:
                cause = _cause(error, endpoint)
                if wait is None or not _passing(error):
                    size = f"{archive.size / 1e6:.1f} MB"
                    raise WeightsError(f"cannot fetch {archive.file} ({size}): {cause}") from error
            _logger.info("%s; trying again in %.1f s", cause, wait)
            time.sleep(wait)
    if wrong := damage(target, archive.size, archive.sha256):
        raise WeightsError(
            f"{archive.file} from {_host(endpoint)} is not the file this version of wplus knows "
            f"({wrong}); it was deleted"
        )


def _attempt(
    client: PyPISimple, archive: Archive, target: Path, moved: Callable[[int], None]
) -> None:
    """Find the archive on the page of its project, and download it."""
    host = _host(client.endpoint)
    page = _page(client, archive, host)
    package = next((found for found in page.packages if found.filename == archive.file), None)
    if package is None:
        raise WeightsError(
            f"cannot fetch {archive.file}: {host} does not list this file among the "
            f"{len(page.packages)} of package {archive.package}"
        )
    listed = package.digests.get("sha256", archive.sha256)
    if listed != archive.sha256:  # known before a byte of it is downloaded
        raise WeightsError(
            f"{archive.file} on {host} is not the file this version of wplus knows "
            f"(sha256 {listed}, expected {archive.sha256}); it was not fetched"
        )
    meter = _Meter(archive, host, moved)
    client.download_package(
        package,
        target,
        verify=False,  # against the sums of the page, which may lack them; ours are checked later
        progress=lambda _length: meter,
        timeout=TIMEOUT,
        # Some servers declare a .tar.gz as a compressed .tar, which would be unpacked in flight.
        headers={"Accept-Encoding": "identity"},
    )
    if meter.count < archive.size:
        raise _Interrupted(f"only {meter.count:,} of {archive.size:,} bytes came")


def _page(client: PyPISimple, archive: Archive, host: str) -> ProjectPage:
    """The index's page of the archive's package."""
    import requests
    import urllib3
    from pypi_simple import NoSuchProjectError, UnsupportedRepoVersionError

    cause: Exception
    try:
        return client.get_project_page(archive.package, timeout=TIMEOUT)
    except NoSuchProjectError as error:
        problem, cause = f"{host} has no package {archive.package}", error
    except (requests.RequestException, urllib3.exceptions.HTTPError):
        raise  # though they are also OSError or ValueError; `download` handles them
    except (ValueError, UnsupportedRepoVersionError) as error:
        problem = f"{host} does not answer like a package index ({_one_line(error)})"
        cause = error
    except OSError as error:
        # Nothing is written here. What remains is the set-up of TLS, such as a missing bundle of
        # certificates, which must not pass for a fault of the cache folder.
        problem, cause = f"{host} cannot be reached ({_one_line(error)})", error
    raise WeightsError(f"cannot fetch {archive.file}: {problem}") from cause


class _Meter:
    """Counts the bytes of one attempt, and refuses more than the archive has."""

    def __init__(self, archive: Archive, host: str, moved: Callable[[int], None]) -> None:
        self.count = 0
        self._archive = archive
        self._host = host
        self._moved = moved

    def __enter__(self) -> _Meter:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, increment: int) -> None:
        self.count += increment
        if self.count > self._archive.size:
            raise WeightsError(
                f"{self._archive.file} from {self._host} is not the file this version of wplus "
                f"knows (more than the expected {self._archive.size:,} bytes); it was deleted"
            )
        self._moved(self.count)


@contextmanager
def _shown(archive: Archive, progress: bool) -> Iterator[Callable[[int], None]]:
    """Show what is being fetched; yield a function that takes the bytes so far."""
    if not progress:
        yield lambda count: None
        return
    if sys.stderr is None or not sys.stderr.isatty():
        # A warning, because Python shows those on stderr where logging is not set up: a program
        # that is silent for a minute to load 40 MB should say why, and logging can silence it.
        size = archive.size / 1e6
        _logger.warning("fetching %s (%.1f MB) into %s", archive.file, size, cache_folder())
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

    columns = (*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(f"fetching {archive.package}", total=archive.size)  # short: 80 columns
        yield lambda count: bar.update(task, completed=count)


def _endpoint() -> str:
    """The address of the simple API, of the environment or the client's default."""
    from pypi_simple import PYPI_SIMPLE_ENDPOINT

    for variable in INDEX_VARIABLES:
        if address := os.environ.get(variable, "").strip():
            try:
                parts = urlsplit(address)
                usable = parts.scheme in ("http", "https") and bool(parts.hostname)
            except ValueError:
                usable = False
            if not usable:
                raise WeightsError(
                    f"{variable} is not an http(s) address of a package index; "
                    f"set {INDEX_VARIABLES[0]} to one"
                )
            return address
    return PYPI_SIMPLE_ENDPOINT


def _session() -> requests.Session:
    """A session with pip's settings of the environment; HTTP(S)_PROXY, … take precedence."""
    import requests

    session = requests.Session()
    session.headers["User-Agent"] = f"wplus {requests.utils.default_user_agent()}"
    if certificates := os.environ.get("PIP_CERT"):
        session.verify = certificates
    if proxy := os.environ.get("PIP_PROXY"):
        session.proxies = {"http": proxy, "https": proxy}
    return session


def _passing(error: Exception) -> bool:
    """Whether the same request may succeed in a moment."""
    from requests import exceptions as http

    if isinstance(error, http.HTTPError):
        status = error.response.status_code if error.response is not None else 0
        return status == 429 or status >= 500
    if isinstance(error, (http.SSLError, http.ProxyError)):
        return False
    return isinstance(
        error, (_Interrupted, http.ConnectionError, http.Timeout, http.ChunkedEncodingError)
    )


def _cause(error: Exception, endpoint: str) -> str:
    """One clause, without the addresses and objects of the client's messages."""
    import urllib3
    from requests import exceptions as http

    request: Any = getattr(error, "request", None)
    response: Any = getattr(error, "response", None)
    host = _host(getattr(request, "url", None) or endpoint)
    if isinstance(error, _Interrupted):
        return f"{host} broke off the transfer, {error}"
    if isinstance(error, http.HTTPError) and response is not None:
        return f"{host} answers {response.status_code} {response.reason}"
    if isinstance(error, http.ProxyError):
        return f"the proxy on the way to {host} cannot be used; check HTTPS_PROXY"
    if isinstance(error, http.SSLError):
        return (
            f"no trusted (TLS) connection to {host}; if a proxy inspects your connections, "
            f"set REQUESTS_CA_BUNDLE to its certificates"
        )
    stalled = error.args and isinstance(error.args[0], urllib3.exceptions.ReadTimeoutError)
    if isinstance(error, http.Timeout) or stalled:
        return f"{host} does not answer in time; try again, or set {INDEX_VARIABLES[0]} to a mirror"
    if isinstance(error, http.ChunkedEncodingError):
        return f"{host} broke off the transfer"
    if isinstance(error, http.ConnectionError):
        return (
            f"no connection to {host}; connect to the network, set {INDEX_VARIABLES[0]} to a "
            f"mirror, or copy in the cache folder of another machine"
        )
    return f"{host} cannot be used ({type(error).__name__})"


def _host(address: str) -> str:
    """Host and port only: an address may hold a password."""
    return f"package index {urlsplit(address).netloc.rpartition('@')[2]}"


def _one_line(error: Exception) -> str:
    """The message of `error`, with passwords removed from addresses."""
    return re.sub(r"//[^/\s]*@", "//", " ".join(str(error).split()))[:200]
