"""The options of an evaluation, checked when they are made. They are the flags of the command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from wplus.errors import ConfigError


@dataclass(frozen=True)
class Options:
    """What to score, and how.

    Attributes:
        model: A shipped model's name, or a model file of any known kind. Without it and without
            pairs, faces.
        data: Folder of photographs to reconstruct.
        pairs: Instead of a model, two folders: targets and outputs, paired by stem.
        suffixes: Ends of the stems in the two folders, such as: --suffixes "" _out
        samples: Also score the model on this many samples of its own generator, from seeds that
            training does not use.
        truncation: Of these samples.
        refine: Also score after this many steps of optimization from the first pass (and warm-up
            steps, as in wplus invert).
        align: Find the faces of the photographs and crop them first.
        limit: Only this many photographs or pairs, the first by name.
        without: Leave out metrics, such as: lpips-vgg16 fid
        face_net: ONNX file of another face network for identity: (1, 3, S, S), RGB in [-1, 1].
        batch: Images per batch; by default 1 on a CPU, where more gain nothing, and 8 on a GPU.
        seed: Of the bootstrap.
        precision: Of the convolutions. auto refines in bfloat16 where the processor computes in
            it, and makes the final images in float32, as wplus invert does.

    Raises:
        ConfigError: a number is out of range, nothing to score, or options that contradict.
    """

    model: str | None = None
    data: Path | None = None
    pairs: tuple[Path, Path] | None = None
    suffixes: tuple[str, str] = ("", "")
    samples: int = 0
    truncation: float = 1.0
    refine: int = 0
    align: bool = False
    limit: int | None = None
    without: tuple[str, ...] = ()
    face_net: Path | None = None
    batch: int | None = None
    seed: int = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"

    def __post_init__(self) -> None:
        lowest = {"samples": 0, "refine": 0, "batch": 1, "seed": 0, "limit": 1}
        for name, least in lowest.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name} {value}: must be at least {least}")
        if self.pairs is not None:
            if self.model or self.data or self.samples or self.refine:
                raise ConfigError("pairs exclude a model, data, samples and refinement")
        elif self.data is None and not self.samples:
            raise ConfigError(
                "nothing to score: name a folder of data, pairs of folders, or samples"
            )
