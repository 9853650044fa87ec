"""The command `wplus`: each command parses, calls one library function and prints."""

from wplus.cli import files, pictures
from wplus.cli.app import app, main

__all__ = ["app", "files", "main", "pictures"]
