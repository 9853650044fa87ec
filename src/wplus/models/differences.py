"""Files with the differences of a network from the same network of a shipped model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wplus.config import ModelConfig
from wplus.errors import ConfigError, FormatError
from wplus.formats import differences
from wplus.formats.opening import line
from wplus.models.files import Tensors, read_tensors

PARTS = ("encoder", "generator")


@dataclass(frozen=True)
class Differences:
    """The header of such a file.

    Attributes:
        path: the file.
        config: of the whole model, with the other networks of the base.
        part: which network, one of `PARTS`.
        base: name of the shipped model whose network it differs from.
        sha256: digest of that network's tensors (`formats.differences.digest`).
    """

    path: Path
    config: ModelConfig
    part: str
    base: str
    sha256: str

    @classmethod
    def parse(cls, content: Mapping[str, Any], path: Path) -> Differences:
        """From the header of a file. Raises FormatError if it makes no sense."""
        about = content["differences"]
        try:
            if not isinstance(about, dict) or set(about) != {"part", "base", "sha256"}:
                raise ConfigError("its differences lack one of part, base and sha256")
            if about["part"] not in PARTS or not all(isinstance(x, str) for x in about.values()):
                raise ConfigError("its differences make no sense in part, base and sha256")
            return cls(path, ModelConfig.parse(content.get("model")), **about)
        except ConfigError as error:
            raise FormatError(f"{path}: {error}") from None

    def on(self, base: Tensors) -> Tensors:
        """The network's tensors, from those of the base.

        Raises:
            FormatError: the differences were taken from another base, or the file is damaged.
        """
        if differences.digest(base) != self.sha256:
            raise FormatError(
                f"{self.path}: holds differences from another {self.part} than that of this"
                f" wplus's {self.base}; take both from one release of wplus"
            )
        try:
            return differences.unpack(read_tensors(self.path), base)
        except ValueError as error:
            raise FormatError(f"{self.path}: is damaged ({line(error)})") from None
