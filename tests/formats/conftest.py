"""What the tests of files use."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest


@pytest.fixture
def mark(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A file that appears if the source code in a pickle is run."""
    mark = tmp_path / "code-was-run"
    yield mark
    assert not mark.exists()
