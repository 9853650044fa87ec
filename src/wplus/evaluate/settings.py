"""What can be asked of an evaluation, checked when it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from wplus.errors import ConfigError
from wplus.evaluate.metrics import OPTIONAL


@dataclass(frozen=True)
class Settings:
    """What to score, and how.

    Attributes:
        model: name or file of the model; None where pairs are scored.
        data: folder of photographs.
        pairs: two folders of pictures, paired by stem, instead of a model.
        suffixes: of the two folders' names, after the stem.
        samples: how many samples of the model's own generator to score it on, 0 for none.
        truncation: of these samples.
        refine: also score after so many steps of optimization, 0 for none.
        align: crop the faces of the photographs first.
        limit: only the first so many photographs or pairs.
        without: names of `metrics.OPTIONAL` to leave out.
        face_net: ONNX file of the net for identity; None for EdgeFace-S.
        batch: pictures at once; None for 8 on a GPU and 1 on a CPU, which gains nothing from more.
        seed: of the bootstrap.
        precision: the model's. "auto" is float32, and refinement on the way in bfloat16 where the
            processor has it, as `wplus invert` does it.

    Raises:
        ConfigError: a number out of range, nothing to score, or settings that contradict.
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
    without: Sequence[str] = ()
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
        unknown = sorted(set(self.without) - set(OPTIONAL))
        if unknown:
            raise ConfigError(f"without {unknown[0]!r}: is none of {', '.join(OPTIONAL)}")
        if self.pairs is not None:
            if self.model or self.data or self.samples or self.refine:
                raise ConfigError(
                    "pairs are scored as they are: with no model, data, samples or refinement"
                )
        elif self.model is None:
            raise ConfigError("name a model, or pairs of folders")
        elif self.data is None and not self.samples:
            raise ConfigError(
                "nothing to score: name a folder of data, pairs of folders, or samples"
            )

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        content = asdict(self)
        for name in ("data", "face_net"):
            content[name] = None if content[name] is None else str(content[name])
        content["pairs"] = None if self.pairs is None else [str(folder) for folder in self.pairs]
        content["suffixes"], content["without"] = list(self.suffixes), list(self.without)
        return content

    @property
    def folders(self) -> list[Path]:
        """Where pictures are read from."""
        return [*(self.pairs or ()), *([] if self.data is None else [self.data])]
