"""The editing commands as functions: photographs or codes in, files out.

An input is whatever `Inference.read` takes: a code is used as it is, a photograph is inverted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image
from torch import Tensor

from wplus import codes as code_files
from wplus import images, latents
from wplus.editing import closed_form, regions, video
from wplus.editing.directions import apply, load, shipped
from wplus.editing.lookup import moves
from wplus.editing.morph import morph
from wplus.editing.options import (
    EditOptions,
    ExploreOptions,
    MixOptions,
    MorphOptions,
    TransplantOptions,
)
from wplus.editing.rendering import shown
from wplus.editing.tables import amounts_of, explore, mixing_table
from wplus.editing.transplant import SCHEDULE, blend, transplant
from wplus.errors import ConfigError, WeightsError, WplusError
from wplus.inference.destination import Code, Content, Destination, refuse_inputs
from wplus.inference.inputs import Input, Sample
from wplus.inference.results import Result, describe
from wplus.inference.run import Inference
from wplus.optimize import fast_precision
from wplus.progress import ProgressFor, silent

STRIP = 8  # frames of a morph beside its video


def edit_files(
    inputs: Sequence[Input],
    folder: Path,
    inference: Inference,
    options: EditOptions,
    progress: ProgressFor = lambda _: silent,
) -> Iterator[Result]:
    """Move the code of each face along directions.

    Writes NAME.png, NAME.codes.safetensors and NAME.compare.png (before and after). An input that
    cannot be used gives a `Result` with its error, and the others are edited.

    Args:
        inputs: photographs, codes, or folders of photographs.
        folder: results go here; it is made.
        inference: inverts photographs; its model makes the images.
        options: directions and amounts.
        progress: of the inversion of each photograph.

    Raises:
        ConfigError, FormatError: see `lookup.moves`; or a result would replace an input.
        WeightsError: a network that is needed cannot be fetched.
    """
    model = inference.model
    chosen = moves(model, options.amounts, options.layers, options.directions)
    edits = {direction.name: amount for direction, amount in chosen}
    label = ", ".join(f"{name} {amount:+g}" for name, amount in edits.items())

    def make(sample: Sample, code: Tensor) -> dict[str, Content]:
        edited = apply(code[None], chosen)[0]
        own = code[None]
        both = [
            images.to_picture(inference.decode([sample], own, target))
            for target in (None, edited[None])
        ]
        return {
            ".png": both[1],
            code_files.SUFFIX: Code(edited, {**inference.metadata(sample), "edits": edits}),
            ".compare.png": _side_by_side(both, ["before", label], 512),
        }

    return _each(inputs, folder, inference, make, progress)


def explore_files(
    inputs: Sequence[Input],
    folder: Path,
    inference: Inference,
    options: ExploreOptions,
    progress: ProgressFor = lambda _: silent,
) -> Iterator[Result]:
    """Show what directions do to each face: NAME.explore.png, a row each, a column per amount.

    Args, Raises: see `edit_files`; ConfigError too for amounts or directions that do not exist.
    """
    model, file = inference.model, options.directions
    styles = latents.layers_of(options.layers, model.generator.style_resolutions)
    if options.what == "named":
        known = load(file)[0] if file else shipped(model.generator)
        rows = [d if options.layers == "all" else d.only(styles) for d in known.values()]
    else:
        make_rows = closed_form.sefa if options.what == "sefa" else closed_form.pca
        rows = make_rows(model.generator, styles, options.count)
    columns, reach = options.columns, options.reach
    amounts_of(rows[0], columns, reach)  # refuses before anything is inverted

    def make(sample: Sample, code: Tensor) -> dict[str, Content]:
        table = explore(code, rows, model, columns, reach, options.size, progress(sample.name))
        return {".explore.png": table}

    return _each(inputs, folder, inference, make, progress)


def mix_files(
    inputs: Sequence[Input],
    folder: Path,
    inference: Inference,
    options: MixOptions,
    progress: ProgressFor = lambda _: silent,
) -> Iterator[Result]:
    """Give the first face styles of each of the others, or make a table of all pairs.

    Writes CONTENT-with-STYLE.png and its code for every style; a table is mix.png.

    Args: see `edit_files`.

    Raises:
        ConfigError: fewer than two inputs, or layers that the generator does not have.
        WplusError: an input cannot be used; nothing is written then.
    """
    if len(inputs) < 2 and not options.columns:
        raise ConfigError("mixing needs a content and a style: give two inputs")
    model = inference.model
    styles = latents.layers_of(options.layers, model.generator.style_resolutions)
    if not styles:
        raise ConfigError(f"--layers {options.layers}: this generator has no such styles")
    destination = Destination(folder, [*inputs, *options.columns], inference.options.overwrite)
    samples, codes = inference.all_codes(inputs, progress)
    if options.grid:
        tops = inference.all_codes(options.columns, progress)[1] if options.columns else codes
        alpha, size = options.alpha, options.size
        table = mixing_table(codes, tops, model, styles, alpha, size, progress("mix"))
        yield _write(destination, samples, "mix", {".png": table})
        return
    for sample, code in zip(samples[1:], codes[1:]):
        mixed = latents.mix(codes[:1], code[None], styles, options.alpha)[0]
        metadata = {
            "model": inference.name,
            "content": Path(samples[0].name).name,
            "style": Path(sample.name).name,
            "layers": styles,
            "alpha": options.alpha,
        }
        image = images.to_picture(inference.decode(samples[:1], codes[:1], mixed[None]))
        contents: dict[str, Content] = {".png": image, code_files.SUFFIX: Code(mixed, metadata)}
        name = f"{samples[0].stem}-with-{sample.stem}"
        yield _write(destination, [samples[0], sample], name, contents)


def morph_files(
    inputs: Sequence[Input],
    out: Path,
    inference: Inference,
    options: MorphOptions,
    progress: ProgressFor = lambda _: silent,
) -> Result:
    """Film the path from face to face; beside the video, NAME.strip.png has some of its frames.

    Args:
        inputs, inference, options, progress: see `edit_files`.
        out: the video, see `video.write`.

    Raises:
        ConfigError: fewer than two inputs, or more than frames; or `out` is an input, or cannot be
            written.
        WplusError: an input cannot be used; nothing is written then.
    """
    video.check(out, options.fps)
    strip_file = out.with_name(f"{out.stem}.strip.png")
    for file in (out, strip_file):
        refuse_inputs(file, inputs)
    if len(inputs) < 2:
        raise ConfigError("a morph needs at least two faces")
    model = inference.model
    _, codes = inference.all_codes(inputs, progress)
    lpips = inference.networks.lpips if options.even else None
    frames = options.frames
    path = morph(codes, model, frames, lpips, options.ending, progress=progress("measuring"))
    in_strip = {round(i * (frames - 1) / (STRIP - 1)) for i in range(STRIP)}
    strip: list[Image.Image] = []

    def film() -> Iterator[Image.Image]:
        advance = progress("frames")
        for i, frame in enumerate(shown(path.codes(), model, options.size)):
            if i in in_strip:
                strip.append(frame.resize((192, 192)))
            yield frame
            advance(i + 1, len(path.times))

    video.write(film(), out, options.fps)
    images.save(images.grid(strip, len(strip)), strip_file)
    return Result(str(out), images=(str(out), str(strip_file)))


def transplant_files(
    into: Input,
    donor: Input,
    folder: Path,
    inference: Inference,
    options: TransplantOptions,
    progress: ProgressFor = lambda _: silent,
) -> Result:
    """Put a region of one face into another: INTO-with-DONOR.png, its code, and all side by side.

    Args:
        into, donor: the faces that receive and give.
        folder, inference, options, progress: see `edit_files`.

    Raises:
        ConfigError: an unknown region, or one that is empty or everything.
        WplusError: an input cannot be used; nothing is written then.
    """
    if options.mask is None:
        area = regions.region(options.region or "", images.WORKING_SIZE)
    else:
        area = regions.read_mask(options.mask, images.WORKING_SIZE)
    destination = Destination(folder, [into, donor, options.mask], inference.options.overwrite)
    model = inference.model
    samples, codes = inference.all_codes([into, donor], progress)
    result = transplant(
        model,
        codes[0],
        codes[1],
        area,
        inference.networks.lpips,
        schedule=replace(SCHEDULE, steps=options.steps),
        precision=fast_precision(model.device),
        progress=progress("transplant"),
    )
    into_code, donor_code = codes[:1], codes[1:]
    three = [
        inference.decode(samples[:1], into_code),
        inference.decode(samples[1:], donor_code),
        inference.decode(samples[:1], into_code, result.codes[None]),
    ]
    if options.blend:
        three[2] = blend(three[0], three[2], area)
    row = [images.to_picture(image) for image in three]
    name = options.region or os.fspath(options.mask or "")
    metadata = {**inference.metadata(samples[0]), "donor": Path(samples[1].name).name}
    contents: dict[str, Content] = {
        ".png": row[2],
        code_files.SUFFIX: Code(result.codes, {**metadata, "region": name}),
        ".compare.png": _side_by_side(row, ["into", "from", options.region or "mask"], 384),
    }
    return _write(destination, samples, f"{samples[0].stem}-with-{samples[1].stem}", contents)


def _each(
    inputs: Iterable[Input],
    folder: Path,
    inference: Inference,
    make: Callable[[Sample, Tensor], dict[str, Content]],
    progress: ProgressFor,
) -> Iterator[Result]:
    """The results of inputs one by one; `make` gives the contents of files by their suffixes."""
    inputs = list(inputs)
    destination = Destination(folder, inputs, inference.options.overwrite)
    for sample in inference.samples(inputs):
        if isinstance(sample, Result):
            yield sample
            continue
        try:
            [code] = inference.codes([sample], progress(sample.name))
            yield _write(destination, [sample], sample.stem, make(sample, code))
        except WeightsError:  # a network that cannot be fetched is missing for all inputs
            raise
        except (WplusError, OSError) as error:
            yield Result(sample.name, sample.face, error=describe(sample.name, error))


def _write(
    destination: Destination, samples: Sequence[Sample], stem: str, contents: dict[str, Content]
) -> Result:
    """Write the files of one result of some samples."""
    origin = "-".join(sample.origin for sample in samples)
    files = destination.write(stem, origin, contents)
    comparison, code = files.pop(".compare.png", None), files.pop(code_files.SUFFIX, None)
    made = tuple(files.values())
    return Result(samples[0].name, samples[0].face, made, (code,) if code else (), comparison)


def _side_by_side(row: Sequence[Image.Image], labels: Sequence[str], size: int) -> Image.Image:
    return images.side_by_side([image.resize((size, size)) for image in row], labels)
