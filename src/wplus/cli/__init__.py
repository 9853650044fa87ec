"""The command `wplus`: each command parses, calls one library function and prints."""

from wplus.cli import evaluate, files, pictures, train
from wplus.cli.app import app, main

__all__ = ["app", "evaluate", "files", "main", "pictures", "train"]
