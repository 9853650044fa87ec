"""Answers to files: pictures, codes, sheets, and photographs with the answers in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from wplus import codes as code_files
from wplus import images
from wplus.inference.crops import cut
from wplus.inference.inputs import Question
from wplus.inference.options import Options
from wplus.inference.pasting import put_back

SHOWN = 512  # side of the pictures in a sheet


@dataclass(frozen=True, eq=False)
class Reply:
    """The answers to one input.

    Attributes:
        codes: (outputs, L, style_dim), the plain answer first.
        pictures: (outputs, 3, S, S) in [-1, 1].
        before: consistency in dB before refinement, see `Constraint.consistency`; None for a task
            without one.
        after: the same of `pictures`.
        steps: steps of refinement made.
    """

    codes: Tensor
    pictures: Tensor
    before: float | None
    after: float | None
    steps: int


Files = tuple[tuple[str, ...], tuple[str, ...], str | None, tuple[str, ...]]


def write(
    place: Path,
    question: Question,
    reply: Reply,
    options: Options,
    metadata: Mapping[str, Any],
) -> Files:
    """Write what was found; each file whole or not at all.

    Args:
        place: folder and stem: the plain answer is `place.png` and `place.codes.safetensors`, the
            others `place-out1.png`, ….
        question: what was asked.
        reply: the answers.
        options: compare and paste.
        metadata: for the codes files; the crop's geometry and the draw are added.

    Returns:
        Paths of pictures, codes, the sheet if any, and photographs with the answers in them.

    Raises:
        FaceError: the photograph with the answer in it would be too large.
        ImageError: a picture cannot be written.
        WeightsError: the face parser, which pasting needs, cannot be fetched.
    """
    pictures, codes, pasted, shown = [], [], [], [question.shown]
    for index, (code, image) in enumerate(zip(reply.codes, reply.pictures)):
        stem = place.name + (f"-out{index}" if index else "")
        made = images.to_picture(image)
        final = made if question.finish is None else question.finish(made)
        file = place.with_name(f"{stem}.png")
        images.save(final, file)
        pictures.append(str(file))
        file = place.with_name(stem + code_files.SUFFIX)
        code_files.save(code, file, {**metadata, **_about(question, options, index)})
        codes.append(str(file))
        if question.finish is not None and question.geometry is not None:
            made = cut(final, question.geometry, SHOWN)  # for the sheet: what became of the square
        elif options.paste and question.picture is not None and question.geometry is not None:
            whole = put_back(question.picture, made, question.geometry, question.factor)
            file = place.with_name(f"{stem}.pasted.png")
            images.save(whole, file)
            pasted.append(str(file))
        shown.append(made)
    sheet = None
    if options.compare:
        file = place.with_name(f"{place.name}.compare.png")
        names = ["output"] if len(pictures) == 1 else [f"output {i}" for i in range(len(pictures))]
        fitted = [_fitted(each) for each in shown]
        images.save(images.side_by_side(fitted, ["input", *names]), file)
        sheet = str(file)
    return tuple(pictures), tuple(codes), sheet, tuple(pasted)


def _about(question: Question, options: Options, index: int) -> dict[str, Any]:
    """What belongs to a code besides the model."""
    about: dict[str, Any] = {"output": index}
    if index:
        about["seed"] = options.seed
    if question.geometry is not None:
        about["crop"] = question.geometry.to_dict()
    if question.factor is not None:
        about["factor"] = question.factor
    return about


def _fitted(picture: Image.Image) -> Image.Image:
    """At the height of a sheet."""
    width = max(1, round(picture.width * SHOWN / picture.height))
    return picture.resize((width, SHOWN), Image.Resampling.LANCZOS)
