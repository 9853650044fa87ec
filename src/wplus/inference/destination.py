"""Where results are written: never over an input, and never over the results of another input."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from torch import Tensor

from wplus import codes as code_files
from wplus import images
from wplus.errors import ConfigError, ImageError, WplusError
from wplus.files import atomic
from wplus.inference.inputs import Input, is_file, name_of

logger = logging.getLogger(__name__)

LONGEST_NAME = 255  # bytes, of every usual file system
ORIGIN = "origin"
"""Under this name the digest of the input stands in codes files and PNG files."""


class Code(NamedTuple):
    """What a codes file holds."""

    codes: Tensor
    metadata: Mapping[str, Any]


Content = Image.Image | Tensor | Code | Callable[[Path], None]
"""What a file of results holds (an image, or an image tensor), or a function that writes it."""


class Destination:
    """A folder for results, in which no input and no result of another input is overwritten.

    Args:
        folder: it is made when the first result is written.
        inputs: everything that the command reads; those that are files are never replaced.
        overwrite: replace existing results of other inputs instead of numbering.

    Raises:
        ConfigError: the folder is a file.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        inputs: Iterable[Input | None] = (),
        overwrite: bool = False,
    ) -> None:
        self.folder, self.overwrite = Path(folder), overwrite
        if not os.fspath(folder):
            raise ConfigError("--out '': name a folder for the results")
        if self.folder.exists() and not self.folder.is_dir():
            raise ConfigError(f"{self.folder}: is a file; --out needs a folder")
        self._inputs = _identities(inputs)
        self._taken: set[str] = set()

    def check(self, stems: Iterable[str], suffixes: Sequence[str]) -> None:
        """Refuse results that would replace an input, before anything is computed.

        Raises:
            ConfigError: names both.
        """
        for stem in stems:
            for suffix in suffixes:
                self._refuse_input(self.folder / (_shortened(stem, suffixes) + suffix))

    def write(self, stem: str, origin: str, contents: Mapping[str, Content]) -> dict[str, str]:
        """Write the files of one result, all or none.

        The name is the stem; with a number where this command has used it already, or where files
        of another input stand; shortened where a file's name would be too long.

        Args:
            stem: of the files.
            origin: digest of what the result was made of; equal ones may replace each other.
            contents: by what follows the stem in the file's name.

        Returns:
            Paths by the same keys.

        Raises:
            ConfigError: a file would replace an input.
            ImageError: a file cannot be written.
            OSError: likewise.
        """
        place = self._reserve(stem, list(contents), origin)
        files = {suffix: place.with_name(place.name + suffix) for suffix in contents}
        with ExitStack() as stack:  # renames all temporary files when all are written
            for suffix, content in contents.items():
                temporary = stack.enter_context(atomic(files[suffix]))
                try:
                    _write_content(content, temporary, origin)
                except (WplusError, OSError) as error:
                    reason = getattr(error, "strerror", None) or str(error)
                    reason = reason.replace(str(temporary), str(files[suffix]))
                    raise ImageError(
                        reason
                        if str(files[suffix]) in reason
                        else f"{files[suffix]}: cannot be written ({reason})"
                    ) from error
        return {suffix: str(file) for suffix, file in files.items()}

    def _reserve(self, stem: str, suffixes: Sequence[str], origin: str) -> Path:
        """Folder and stem under which all of the files may be written."""
        foreign: Path | None = None
        for name in _candidates(stem, suffixes):
            files = [self.folder / (name + suffix) for suffix in suffixes]
            if any(file.name.lower() in self._taken for file in files):
                continue
            for file in files:
                self._refuse_input(file)
            others = [file for file in files if not self.overwrite and _is_foreign(file, origin)]
            if others:
                foreign = foreign or others[0]
                continue
            if foreign is not None:
                logger.warning(
                    "%s: is there already, of another input; writing %s (--overwrite replaces)",
                    foreign,
                    files[0].name,
                )
            self._taken.update(file.name.lower() for file in files)
            return self.folder / name
        raise AssertionError("numbers do not end")

    def _refuse_input(self, file: Path) -> None:
        for identity in _identity(file):
            if identity in self._inputs:
                raise ConfigError(
                    f"{self._inputs[identity]}: would be replaced by its result {file};"
                    " choose another --out"
                )


def refuse_inputs(file: str | os.PathLike[str], inputs: Iterable[Input | None]) -> None:
    """Refuse an output file that is one of the inputs.

    Raises:
        ConfigError: names both.
    """
    known = _identities(inputs)
    for identity in _identity(Path(file)):
        if identity in known:
            raise ConfigError(f"{known[identity]}: would be replaced by the output {file}")


def _identities(inputs: Iterable[Input | None]) -> dict[object, str]:
    """Names of the input files by everything that identifies them."""
    found: dict[object, str] = {}
    for given in inputs:
        if given is not None and is_file(given):
            for identity in _identity(Path(given)):  # type: ignore[arg-type]
                found.setdefault(identity, name_of(given))
    return found


def _identity(file: Path) -> list[object]:
    """The resolved path, and number of device and file where it exists."""
    try:
        status = file.stat()
        return [os.path.realpath(file), (status.st_dev, status.st_ino)]
    except (OSError, ValueError):
        return [os.path.realpath(file)]


def _candidates(stem: str, suffixes: Sequence[str]) -> Iterator[str]:
    """The stem, stem-2, stem-3, …."""
    yield _shortened(stem, suffixes)
    number = 2
    while True:
        end = f"-{number}"
        yield _shortened(stem, [end + suffix for suffix in suffixes]) + end
        number += 1


def _shortened(stem: str, suffixes: Sequence[str]) -> str:
    """The stem, cut so that all names have at most `LONGEST_NAME` bytes."""
    room = LONGEST_NAME - max(len(os.fsencode(suffix)) for suffix in suffixes)
    while len(os.fsencode(stem)) > room:
        stem = stem[:-1]
    return stem


def _is_foreign(file: Path, origin: str) -> bool:
    """Whether a file exists that is not known to be of the same input."""
    if not os.path.lexists(file):
        return False
    try:
        if file.suffix == ".safetensors":
            return code_files.load(file)[1].get(ORIGIN) != origin
        with Image.open(file, formats=["PNG"]) as image:
            return image.info.get(ORIGIN) != origin
    except (WplusError, OSError, ValueError, SyntaxError):
        return True


def _write_content(content: Content, path: Path, origin: str) -> None:
    if isinstance(content, Image.Image | Tensor):
        images.save(content, path, {ORIGIN: origin} if origin else {})
    elif isinstance(content, Code):
        code_files.save(content.codes, path, {**content.metadata, ORIGIN: origin})
    else:
        content(path)
