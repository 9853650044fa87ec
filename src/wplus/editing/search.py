"""Photographs and a table of their attributes to a set of directions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from wplus import images
from wplus.editing.attributes import AttributeReader, Attributes
from wplus.editing.directions import Direction
from wplus.editing.finding import SIZE, calibrate, draw_codes, fit_directions, read_codes
from wplus.errors import ConfigError, ImageError
from wplus.losses import load_mobilefacenet
from wplus.nn.mobilefacenet import MobileFaceNet
from wplus.psp import PSP

logger = logging.getLogger(__name__)

BATCH = 16
FACES = 16  # samples that the length of directions is tried on
SEED_OF_FACES = 1_000_003  # far from the seeds that directions are found on
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Search:
    """How to look for directions.

    Attributes:
        samples: find them on so many samples of the generator, read by what the photographs teach;
            0 for the codes that the model's encoder gives the photographs.
        seed: of the samples.
        layers: the styles that may move; None for all.

    Raises:
        ConfigError: fewer than 0 samples, or too few for any regression.
    """

    samples: int = 0
    seed: int = 0
    layers: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.samples and self.samples < 50:
            raise ConfigError(f"{self.samples} samples are too few to find directions; at least 50")


@dataclass(frozen=True)
class Found:
    """What a search gave.

    Attributes:
        directions: by the order of the attributes.
        shares: R² of reading each attribute from photographs that were left out.
        photographs: how many were used.
        unreadable: files that could not be, each with its reason.
    """

    directions: list[Direction]
    shares: dict[str, float]
    photographs: int
    unreadable: list[str]


def search(
    model: PSP,
    photographs: Sequence[Path],
    table: Attributes,
    settings: Search,
    net: MobileFaceNet | None = None,
    progress: Progress | None = None,
) -> Found:
    """Find a direction for every attribute of the table.

    Args:
        model: with an encoder, or settings with samples.
        photographs: aligned faces; those whose stem the table does not name are passed over.
        table: attributes by stem, see `read_attributes`.
        settings: how.
        net: whose features the attributes are read from; fetched if None.
        progress: called with what is being done, how much of it is, and how much there is.

    Raises:
        ConfigError: too few photographs are in the table, an attribute does not vary or cannot be
            edited, or the model has no encoder and there are no samples.
        WeightsError: the net cannot be fetched.
    """
    if model.encoder is None and not settings.samples:
        raise ConfigError(
            "this model has no encoder to give photographs their codes; say --samples 4000 to find"
            " directions on samples of its generator"
        )
    stems = [path.stem for path in photographs]
    twice = next((stem for i, stem in enumerate(stems) if stem in stems[:i]), None)
    if twice is not None:
        raise ConfigError(f"two photographs are called {twice!r}; the table cannot tell them apart")
    known = set(table.ids)
    paths = [path for path in photographs if path.stem in known]
    if len(paths) < 50:
        raise ConfigError(
            f"the table names {len(paths)} of the photographs; at least 50 are needed"
        )
    reader = AttributeReader((net or load_mobilefacenet()).to(model.device).eval())
    ids, features, codes, unreadable = _look(model, reader, paths, not settings.samples, progress)
    raw = table.rows(ids)
    attributes = raw.standardized()
    reader.fit(features, attributes)
    for name, share in reader.shares.items():
        logger.info("%s: R² %.2f on photographs that were left out", name, share)
    scales = [float(column[~column.isnan()].std()) for column in attributes.values.T]
    if settings.samples:
        codes = draw_codes(model, settings.samples, settings.seed)
        report = None if progress is None else (lambda i, n: progress("samples", i, n))
        values = read_codes(codes, model, reader, report).cpu()
        binary = (False,) * len(attributes.names)  # what is read is a degree of it
        known_of_codes = replace(attributes, ids=(), values=values, binary=binary)
        how = f"ridge regression on {len(codes)} samples, read by one on {len(ids)} photographs"
    else:
        labels = torch.stack(
            [(raw if two else attributes).values[:, k] for k, two in enumerate(raw.binary)], 1
        )
        known_of_codes = replace(attributes, values=labels)
        how = f"ridge and logistic regression on the codes of {len(ids)} photographs"
    first = fit_directions(codes, known_of_codes, how, settings.layers)
    faces = draw_codes(model, FACES, SEED_OF_FACES, (0.7, 0.7))
    report = None if progress is None else (lambda i, n: progress("trials", i, n))
    directions = calibrate(first, attributes.units, scales, faces, model, reader, report)
    return Found(directions, dict(reader.shares), len(ids), unreadable)


@torch.no_grad()
def _look(
    model: PSP,
    reader: AttributeReader,
    paths: Sequence[Path],
    encode: bool,
    progress: Progress | None,
) -> tuple[list[str], Tensor, Tensor, list[str]]:
    """Stems, features and codes of photographs, and what is wrong with those not readable."""
    ids: list[str] = []
    features, codes = [], []
    unreadable: list[str] = []
    for batch in _batches(paths, unreadable):
        names, pictures = zip(*batch)
        x = torch.cat(pictures).to(model.device)
        features.append(reader.features(x).cpu())
        if encode:
            codes.append(model.encode(x).cpu())
        ids += names
        if progress is not None:
            progress("photographs", len(ids), len(paths))
    if not ids:
        raise ConfigError(f"none of the {len(paths)} photographs can be read: {unreadable[0]}")
    return ids, torch.cat(features), torch.cat(codes) if codes else torch.empty(0), unreadable


def _batches(paths: Sequence[Path], unreadable: list[str]) -> Iterator[list[tuple[str, Tensor]]]:
    batch: list[tuple[str, Tensor]] = []
    for path in paths:
        try:
            picture = images.to_tensor(images.read(path))
        except ImageError as error:
            unreadable.append(str(error))
            continue
        if picture.shape[2] != picture.shape[3]:
            unreadable.append(f"{path}: is not square; align it first: wplus align")
            continue
        batch.append((path.stem, images.resize(picture, SIZE)))
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
