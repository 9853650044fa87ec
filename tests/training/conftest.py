"""What the tests of whole runs use."""

from __future__ import annotations

from pathlib import Path

import pytest
import toy


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    result = toy.run(folder)
    assert (result.step, result.signal) == (12, None)
    return folder
