"""Outputs: the codes and images of one sample, and their files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from wplus import codes as code_files
from wplus import images
from wplus.faces import CropGeometry
from wplus.inference.crops import PREVIEW_SIZE, cut
from wplus.inference.destination import Code, Content, Destination
from wplus.inference.inputs import Sample
from wplus.inference.pasting import paste_back
from wplus.inference.results import Figures, Result


@dataclass(frozen=True, eq=False)
class Output:
    """One output of one sample.

    Attributes:
        sample: what it was made of.
        codes: (L, style_dim) float32.
        pixels: (3, S, S) in [-1, 1], G(codes).
        metadata: for the codes file: the model, the input, the task, the crop.
        index: 0 for the encoder's own; in the others, styles are drawn at random.
        figures: how close it is to the input, and by how many steps.
    """

    sample: Sample
    codes: Tensor
    pixels: Tensor
    metadata: Mapping[str, Any] = field(default_factory=dict)
    index: int = 0
    figures: Figures = field(default_factory=Figures)

    @cached_property
    def image(self) -> Image.Image:
        """The final image, RGB; of inpainting, the whole photograph."""
        generated = images.to_picture(self.pixels)
        return generated if self.sample.finish is None else self.sample.finish(generated)

    @property
    def crop(self) -> CropGeometry | None:
        """Which square of the input was read; None for inputs that are not cropped."""
        return self.sample.geometry

    @property
    def square(self) -> Image.Image:
        """The image of the crop alone."""
        if self.sample.finish is None or self.crop is None:
            return self.image
        return cut(self.image, self.crop, PREVIEW_SIZE)

    def pasted(self) -> Image.Image | None:
        """The photograph with the output in place of the face; None where that is no other image.

        Raises:
            FaceError: the photograph would be too large.
            WeightsError: the face parser cannot be fetched.
        """
        sample = self.sample
        if sample.finish is not None or sample.image is None or sample.geometry is None:
            return None
        return paste_back(sample.image, self.image, sample.geometry, sample.factor)

    def save(self, folder: str | os.PathLike[str], overwrite: bool = False) -> Result:
        """Write NAME.png and NAME.codes.safetensors, named like the input; see `Destination`.

        Raises:
            ConfigError: a file would replace the input.
            ImageError: a file cannot be written.
        """
        given = [self.sample.name] if self.sample.name[:1] != "<" else []
        return write([self], Destination(Path(folder), given, overwrite))


def write(
    outputs: Sequence[Output],
    destination: Destination,
    sheet: str | None = None,
    paste: bool = False,
) -> Result:
    """Write the outputs of one sample; all files or none.

    Args:
        outputs: the first is NAME.png and NAME.codes.safetensors, the others NAME-out1.png, ….
        destination: where.
        sheet: label of the outputs, to write NAME.compare.png: the input and them side by side.
        paste: write NAME.pasted.png too: photographs with the outputs in them.

    Raises:
        ConfigError: a file would replace an input.
        FaceError, WeightsError: see `Output.pasted`.
        ImageError: a file cannot be written.
    """
    first, sample = outputs[0], outputs[0].sample
    contents: dict[str, Content] = {}
    ends = [f"-out{output.index}" if output.index else "" for output in outputs]
    for end, output in zip(ends, outputs):
        contents[f"{end}.png"] = output.image
        contents[end + code_files.SUFFIX] = Code(output.codes, output.metadata)
        pasted = output.pasted() if paste else None
        if pasted is not None:
            contents[f"{end}.pasted.png"] = pasted
    if sheet is not None:
        shown = [sample.preview(), *(output.square for output in outputs)]
        labels = [sheet] if len(outputs) == 1 else [f"{sheet} {each.index}" for each in outputs]
        row = [_at_height(image, PREVIEW_SIZE) for image in shown]
        contents[".compare.png"] = images.side_by_side(row, ["input", *labels])
    files = destination.write(sample.stem, sample.origin, contents)
    return Result(
        sample.name,
        sample.face,
        tuple(files[f"{end}.png"] for end in ends),
        tuple(files[end + code_files.SUFFIX] for end in ends),
        files.get(".compare.png"),
        tuple(files[name] for name in files if name.endswith(".pasted.png")),
        first.figures,
    )


def _at_height(image: Image.Image, height: int) -> Image.Image:
    width = max(1, round(image.width * height / image.height))
    return image.resize((width, height), Image.Resampling.LANCZOS)
