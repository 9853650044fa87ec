"""Photographs and a table of their attributes to a set of directions."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from wplus import images
from wplus.data import listing
from wplus.editing.attributes import AttributeReader, Attributes, read_attributes
from wplus.editing.directions import Direction, save
from wplus.editing.fit import calibrate, draw_codes, fit_directions, read_codes
from wplus.editing.options import SearchOptions
from wplus.errors import ConfigError, ImageError
from wplus.latents import layers_of
from wplus.losses import load_mobilefacenet
from wplus.nn.mobilefacenet import MobileFaceNet
from wplus.progress import Progress, ProgressFor, silent
from wplus.psp import PSP

logger = logging.getLogger(__name__)

LEAST = 50  # photographs or samples
SAMPLES_WITHOUT_ENCODER = 4000
FACES = 16  # samples on which the length of directions is tried
SEED_OF_FACES = 1_000_003  # far from the seeds that directions are found on


@dataclass(frozen=True)
class Search:
    """The result of a search.

    Attributes:
        directions: in the order of the attributes.
        shares: R² of reading each attribute from photographs that were left out.
        photographs: the number used.
        unreadable: files that cannot be used, each with its reason.
    """

    directions: list[Direction]
    shares: dict[str, float]
    photographs: int
    unreadable: list[str]


def find_directions(
    model: PSP,
    options: SearchOptions,
    out: Path,
    name: str = "",
    progress: ProgressFor = lambda stage: silent,
) -> Search:
    """Find a direction for every attribute of a table, and write them to a file.

    Args:
        model: see `search`.
        options: photographs, table, and how.
        out: the file of directions.
        name: of the model, for the file.
        progress: of each stage.

    Raises:
        ConfigError, FormatError: a folder or the table cannot be used; see `search`.
        OSError: the file cannot be written.
    """
    table = read_attributes(options.attributes, options.only, options.contrasts)
    found = [Path(path) for folder in options.data for _, path in listing.images_in(folder)]
    samples = options.samples
    if samples is None:
        samples = SAMPLES_WITHOUT_ENCODER if model.encoder is None else 0
    styles = layers_of(options.layers, model.generator.style_resolutions)
    layers = None if options.layers == "all" else styles
    result = search(model, found, table, samples, options.seed, layers, progress=progress)
    metadata = {
        "model": name,
        "photographs": result.photographs,
        "samples": samples,
        "seed": options.seed,
        "read": {attribute: round(share, 3) for attribute, share in result.shares.items()},
    }
    save(result.directions, out, metadata)
    return result


def search(
    model: PSP,
    photographs: Sequence[Path],
    table: Attributes,
    samples: int = 0,
    seed: int = 0,
    layers: Sequence[int] | None = None,
    net: MobileFaceNet | None = None,
    progress: ProgressFor = lambda stage: silent,
) -> Search:
    """Find a direction for every attribute of the table.

    Args:
        model: with an encoder, unless there are samples.
        photographs: aligned faces; those whose stem the table does not name are passed over.
        table: attributes by stem, see `read_attributes`.
        samples: find them on this many samples of the generator, whose attributes a reader
            predicts that learned from the photographs; 0 for the photographs' own codes.
        seed: of the samples.
        layers: the styles that may move; None for all.
        net: its features are read; MobileFaceNet, fetched if None.
        progress: of each stage.

    Raises:
        ConfigError: too few samples, or photographs in the table; an attribute does not vary or
            cannot be edited; or the model has no encoder and there are no samples.
        WeightsError: the network cannot be fetched.
    """
    if 0 < samples < LEAST:
        raise ConfigError(f"{samples} samples are too few to find directions; at least {LEAST}")
    if model.encoder is None and not samples:
        raise ConfigError(
            "this model has no encoder, so photographs have no codes; use --samples 4000 to find"
            " directions on samples of its generator"
        )
    stem, count = Counter(path.stem for path in photographs).most_common(1)[0]
    if count > 1:
        raise ConfigError(
            f"{count} photographs are called {stem!r}; the table cannot tell them apart"
        )
    paths = [path for path in photographs if path.stem in set(table.ids)]
    if len(paths) < LEAST:
        raise ConfigError(
            f"the table names {len(paths)} of the photographs; at least {LEAST} are needed"
        )
    reader = AttributeReader((net or load_mobilefacenet()).to(model.device).eval())
    ids, features, codes, unreadable = _read(
        model, reader, paths, not samples, progress("photographs")
    )
    raw = table.rows(ids)
    attributes = raw.standardized()
    reader.fit(features, attributes)
    for name, share in reader.shares.items():
        logger.info("%s: R² %.2f on photographs that were left out", name, share)
    scales = [float(column[~column.isnan()].std()) for column in attributes.values.T]
    if samples:
        codes = draw_codes(model, samples, seed)
        values = read_codes(codes, model, reader, progress("samples"), samples).cpu()
        binary = (False,) * len(attributes.names)  # the reader predicts degrees
        labels = replace(attributes, ids=(), values=values, binary=binary)
        how = f"ridge regression on {samples} samples, read by one on {len(ids)} photographs"
    else:
        values = torch.where(torch.tensor(raw.binary), raw.values, attributes.values)
        labels = replace(attributes, values=values)
        how = f"ridge and logistic regression on the codes of {len(ids)} photographs"
    directions = fit_directions(codes, labels, how, layers)
    faces = draw_codes(model, FACES, SEED_OF_FACES, (0.7, 0.7))
    directions = calibrate(
        directions, attributes.units, scales, faces, model, reader, progress("trials")
    )
    return Search(directions, dict(reader.shares), len(ids), unreadable)


@torch.no_grad()
def _read(
    model: PSP, reader: AttributeReader, paths: Sequence[Path], encode: bool, progress: Progress
) -> tuple[list[str], Tensor, Tensor, list[str]]:
    """Stems, features and codes of photographs, and why others cannot be used."""
    ids: list[str] = []
    features, codes = [], []
    unreadable: list[str] = []
    for path in paths:
        try:
            image = images.read(path)
            if image.width != image.height:
                raise ImageError(f"{path}: is not square; align it first: wplus align")
        except ImageError as error:
            unreadable.append(str(error))
            continue
        face = images.to_tensor(images.middle_square(image, images.WORKING_SIZE)).to(model.device)
        features.append(reader.features(face).cpu())
        if encode:
            codes.append(model.encode(face).cpu())
        ids.append(path.stem)
        progress(len(ids), len(paths))
    if not ids:
        raise ConfigError(f"none of the {len(paths)} photographs can be read: {unreadable[0]}")
    return ids, torch.cat(features), torch.cat(codes) if codes else torch.empty(0), unreadable
