"""Inputs that may be photographs or codes files, as the editing commands take them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from wplus.cli.app import DEFAULT_MODEL, Device, Model, device_of
from wplus.cli.terminal import print_error, progress_bar
from wplus.errors import WplusError
from wplus.inference.options import InversionOptions

if TYPE_CHECKING:
    from torch import Tensor

    from wplus.inference.run import Inference
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

    def open(self) -> Inference:
        """The inversion of photographs by the model. Raises WplusError."""
        from wplus.inference.run import open_inversion

        options = InversionOptions(refine=self.refine, align=self.align)
        return open_inversion(self.model, device_of(self.device), options)

    def load(self) -> PSP:
        """The model. Raises WplusError."""
        return self.open().model


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
    """The code of each input, or what is wrong with it; the others go on."""
    from wplus.inference.options import Options
    from wplus.inference.results import Result
    from wplus.inference.run import Inference
    from wplus.optimize import photograph_task

    options = Options(refine=common.refine, align=common.align)
    inference = Inference(model, photograph_task(model), options, common.model)
    for path in paths:
        for sample in inference.samples([path]):
            if isinstance(sample, Result):
                yield WplusError(sample.error)
                continue
            with progress_bar() as progress:
                code = inference.codes([sample], progress(path))[0]
            yield Given(path, sample.stem, code, inference.metadata(sample, 0))


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


def folder_for(out: Path) -> Path:
    """The folder of --out. Raises WplusError where it is a file."""
    if out.exists() and not out.is_dir():
        raise WplusError(f"{out}: is a file; --out needs a folder")
    return out
