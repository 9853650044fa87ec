"""The command `wplus`: each command parses, calls one library function and prints."""

from wplus.cli import (
    combine,
    directions,
    edit,
    evaluate,
    files,
    paste,
    pictures,
    prepare,
    train,
    translate,
)
from wplus.cli.app import app, main

__all__ = [
    "app",
    "combine",
    "directions",
    "edit",
    "evaluate",
    "files",
    "main",
    "paste",
    "pictures",
    "prepare",
    "train",
    "translate",
]
