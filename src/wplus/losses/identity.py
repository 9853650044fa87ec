"""Identity: the cosine of two face embeddings (pSp, "Loss functions")."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from wplus.losses.cosine import CosineLoss

SIZE = 256
"""Side of FFHQ-aligned images at which the crop below frames a face as ArcFace expects it."""
ROWS = slice(35, 223)
COLUMNS = slice(32, 220)


class IdentityLoss(CosineLoss):
    """1 - <R(y), R(y_hat)> on the inner face of FFHQ-aligned images, as `id`.

    Args:
        net: face network R of 112x112 faces, such as `facenets.ArcFace` or `MobileFaceNet`.
    """

    def __init__(self, net: nn.Module, name: str = "id") -> None:
        super().__init__(net, name)

    def prepare(self, images: Tensor) -> Tensor:
        """Crop aligned images (N, 3, 256, 256) to the face and area-pool it to 112x112.

        Raises:
            ValueError: the images have another shape.
        """
        if images.ndim != 4 or images.shape[1:] != (3, SIZE, SIZE):
            raise ValueError(
                f"identity is compared on (N, 3, {SIZE}, {SIZE}), not {tuple(images.shape)}"
            )
        size = int(getattr(self.net, "size", 112))
        return functional.adaptive_avg_pool2d(images[:, :, ROWS, COLUMNS], size)
