"""The command `wplus`: each command parses, calls one library function and prints."""

from wplus.cli import (
    directions,
    edit,
    evaluate,
    faces,
    files,
    prepare,
    train,
    translate,
)
from wplus.cli.app import app, main

__all__ = [
    "app",
    "directions",
    "edit",
    "evaluate",
    "faces",
    "files",
    "main",
    "prepare",
    "train",
    "translate",
]
