"""Freed memory that is kept: asked for where glibc is, harmless elsewhere."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from wplus.cli import memory

CODE = """
import ctypes, sys
from wplus.cli.memory import keep_freed_memory
print(keep_freed_memory())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc's malloc")
def test_it_is_granted() -> None:
    """In a process of its own: it lasts as long as that."""
    found = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert found.stdout == "True\n"


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not memory.keep_freed_memory()
