"""What became of one face of one input, as commands report it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Figures:
    """How an output was made and how close it is to the input.

    Attributes:
        factor: super-resolution: by how much the face is smaller than 256 pixels.
        mse: mean squared error in [-1, 1] at 256²; None where the output is no reconstruction.
        lpips: LPIPS (AlexNet) at 256²; None where it was not needed.
        consistency_before: PSNR in dB between the target of the constraint and the degraded
            output, before optimization; None without a constraint.
        consistency: the same of the final image.
        steps: of optimization, through the whole generator.
        warmup_steps: before them, through the truncated generator.
    """

    factor: float | None = None
    mse: float | None = None
    lpips: float | None = None
    consistency_before: float | None = None
    consistency: float | None = None
    steps: int = 0
    warmup_steps: int = 0


@dataclass(frozen=True)
class Result:
    """Files and figures of one face, or why there are none.

    Attributes:
        input: as it was named.
        face: number of the face in the photograph, from 1.
        images: the outputs' files, the plain one first.
        codes: their codes files.
        comparison: the sheet of input and outputs.
        pasted: photographs with the outputs in them.
        figures: of the plain output.
        seconds: reading and writing included.
        error: why there is no result; everything else is empty then.
    """

    input: str
    face: int = 1
    images: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    comparison: str | None = None
    pasted: tuple[str, ...] = ()
    figures: Figures = field(default_factory=Figures)
    seconds: float | None = None
    error: str | None = None


def describe(name: str, error: Exception) -> str:
    """One line about an error that names the input once."""
    shown = name if name.isprintable() else ascii(name)  # as `images` writes it
    if isinstance(error, OSError) and error.filename is not None:
        reason = f"{error.filename}: {error.strerror}"
    else:
        reason = " ".join(str(error).split())
    return reason if name in reason or shown in reason else f"{shown}: {reason}"
