"""Inputs that may be photographs or codes files, as the editing commands take them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from wplus.cli.app import DEFAULT_MODEL, Device, Model, bar, load_model
from wplus.errors import WplusError

if TYPE_CHECKING:
    from torch import Tensor

    from wplus.psp import PSP

Inputs = Annotated[
    list[str], Parameter(required=True, negative=(), help="Photographs or codes files.")
]


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """What the editing commands share.

    Attributes:
        model: a name or a file.
        refine: steps of optimization for photographs; as in `wplus invert`.
        align: whether faces are found and cropped.
        device: where to compute.
    """

    model: Model = DEFAULT_MODEL
    refine: Annotated[
        int | None, Parameter(help="Steps of optimization for photographs, as in wplus invert.")
    ] = None
    align: Annotated[
        bool, Parameter(help="Find the face; --no-align for photographs that are cropped already.")
    ] = True
    device: Device = "auto"

    def load(self) -> PSP:
        """The model. Raises WplusError."""
        if self.refine is not None and self.refine < 0:
            raise WplusError(f"--refine {self.refine}: the number of steps cannot be negative")
        return load_model(self.model, self.device)


DEFAULTS = Common()


@dataclass(frozen=True, eq=False)
class Given:
    """One input.

    Attributes:
        path: as it was named.
        stem: what its results are called after.
        code: (L, style_dim).
        metadata: of its codes file, or the photograph's.
    """

    path: str
    stem: str
    code: Tensor
    metadata: dict[str, Any]


def read_given(paths: Iterable[str], model: PSP, common: Common) -> Iterator[Given | WplusError]:
    """The code of each input, or what is wrong with it; the others go on.

    Codes files are read; of photographs the largest face is inverted, as `wplus invert` does.
    """
    from wplus.faces.batch import about, unused

    taken: set[str] = set()
    for path in paths:
        try:
            given = _codes(path, model) if path.endswith(".safetensors") else None
            given = given or _photograph(path, model, common)
            yield Given(path, unused(given.stem, taken), given.code, given.metadata)
        except WplusError as error:
            yield WplusError(about(path, error))


def all_given(paths: Iterable[str], model: PSP, common: Common) -> list[Given]:
    """The codes of inputs that make one result together.

    Raises:
        WplusError: one of them cannot be used; the others that cannot are printed.
    """
    good: list[Given] = []
    bad: list[WplusError] = []
    for given in read_given(paths, model, common):
        if isinstance(given, Given):
            good.append(given)
        else:
            bad.append(given)
    if bad:
        for error in bad[:-1]:
            print_error(error)
        raise bad[-1]
    return good


def print_error(error: WplusError) -> None:
    """One line on standard error."""
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)


def folder_for(out: Path) -> Path:
    """The folder of --out. Raises WplusError where it is a file."""
    if out.exists() and not out.is_dir():
        raise WplusError(f"{out}: is a file; --out needs a folder")
    return out


def _codes(path: str, model: PSP) -> Given:
    from wplus import codes as code_files

    code, metadata = code_files.load(path)
    if code.shape != model.mean_codes.shape:
        raise WplusError(
            f"{path}: holds a code of {tuple(code.shape)}, and this model takes"
            f" {tuple(model.mean_codes.shape)}"
        )
    if not bool(code.isfinite().all()):
        raise WplusError(f"{path}: holds values that are not finite")
    name = Path(path).name
    stem = name.removesuffix(code_files.SUFFIX).removesuffix(".safetensors")
    return Given(path, stem, code.to(model.device), metadata)


def _photograph(path: str, model: PSP, common: Common) -> Given:
    from wplus.invert import (
        STEPS_WITHOUT_ENCODER,
        Options,
        find_faces,
        invert_face,
    )
    from wplus.optimize import fast_precision

    [face, *_] = find_faces(path, Options(align=common.align))
    steps = common.refine
    if steps is None:
        steps = 0 if model.encoder is not None else STEPS_WITHOUT_ENCODER
    with bar(False) as progress:
        task = progress.add_task(Path(path).name, total=None)
        done = invert_face(
            face.picture,
            model,
            steps,
            None,
            fast_precision(model.device),
            lambda step, total: progress.update(task, completed=step, total=total),
        )
    metadata = {
        "model": common.model,
        "source": Path(path).name,
        "crop": face.geometry.to_dict(),
    }
    return Given(path, Path(path).stem, done.codes, metadata)
