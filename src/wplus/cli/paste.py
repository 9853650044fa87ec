"""The command that lays a result back into its photograph."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from wplus.cli.app import FACES, app
from wplus.errors import FaceError, WplusError


@app.command(group=FACES)
def paste(
    photo: Annotated[Path, Parameter(help="The photograph that was inverted.")],
    result: Annotated[
        Path, Parameter(help="Square picture of its crop, such as wplus invert makes.")
    ],
    /,
    *,
    codes: Path,
    out: Path,
    mask: Annotated[str, Parameter(help="face, head, ellipse, square, or a picture.")] = "face",
    feather: float = 0.04,
    match_light: bool = True,
) -> None:
    """Put a result for an aligned face back into the original photograph.

    Example: wplus paste photo.jpg out/photo.png --codes out/photo.codes.safetensors --out new.jpg

    Parameters
    ----------
    codes
        The codes file written with the result; it says where in the photograph the face was.
    out
        File for the picture: .png, .jpg or .webp.
    mask
        What is replaced: the face (found by a face parser, in photograph and result), the head with
        its hair, an ellipse (needs no parser), the whole square, or a square picture in the crop's
        frame, white where the result shall show.
    feather
        Width of the fading border, as a share of the crop's side.
    match_light
        Make the result as bright and as tinted as the photograph along the border.
    """
    from wplus import codes as code_files
    from wplus import faces, images
    from wplus.faces.paste import paste as lay_back
    from wplus.faces.regions import REGIONS, paste_mask

    original, picture = images.read(photo), images.read(result)
    _, metadata = code_files.load(codes)
    if not isinstance(metadata.get("crop"), dict):
        raise WplusError(f"{codes}: says nothing of a crop; wplus invert writes such files")
    try:
        geometry = faces.CropGeometry.from_dict(metadata["crop"])
        if mask in REGIONS:
            area: Any = paste_mask(mask, original, picture, geometry)
        else:
            area = images.read(mask).convert("L")
        done = lay_back(
            original, picture, geometry, mask=area, feather=feather, match_light=match_light
        )
    except FaceError as error:
        raise FaceError(f"{photo}: {error}") from error
    images.save(done, out)
    print(out)
