"""Files of photographs to files of crops."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wplus import images
from wplus.errors import FaceError, ImageError
from wplus.faces.align import align


@dataclass(frozen=True)
class CropResult:
    """One crop (`crop` is its file, `geometry` where it was), or an input and its error."""

    input: str
    face: int = 1
    crop: str | None = None
    geometry: dict[str, Any] | None = None
    error: str | None = None


def align_files(
    paths: Iterable[str], folder: Path, size: int, all_faces: bool
) -> Iterator[CropResult]:
    """Crop the faces of photographs into PNG files of `folder`, one after the other.

    A file that cannot be used gives a `CropResult` with its error, and the others go on. Inputs of
    the same name get different outputs.
    """
    taken: set[str] = set()
    for path in paths:
        try:
            found = align(images.read(path), "all" if all_faces else "largest", size)
            for number, face in enumerate(found, start=1):
                stem = Path(path).stem + (f"-face{number}" if len(found) > 1 else "")
                file = folder / f"{unused(stem, taken)}.png"
                images.save(face.picture, file)
                yield CropResult(path, number, str(file), face.geometry.to_dict())
        except (FaceError, ImageError) as error:
            yield CropResult(path, error=about(path, error))


def unused(stem: str, taken: set[str]) -> str:
    """`stem`, or `stem-2`, … if this call has used it: inputs of one name must not overwrite."""
    name, count = stem, 1
    while name.lower() in taken:  # some file systems do not tell cases apart
        count += 1
        name = f"{stem}-{count}"
    taken.add(name.lower())
    return name


def about(path: str, error: Exception) -> str:
    """One line that names the input once."""
    reason = " ".join(str(error).split())
    return reason if path in reason else f"{path}: {reason}"
