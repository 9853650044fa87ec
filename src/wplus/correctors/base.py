"""What every corrector offers: a photograph and features in, corrections of the features out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Corrector(nn.Module, ABC):
    """C of G(w + d; C(x, F(w), F(w + d))), where F are features of the generator G.

    A W+ code holds what the generator has seen in training; what it has not (a background, a
    collar, the exact hair) is put into its features, for reconstruction (d = 0) and edits alike.

    Attributes:
        feature_channels: channels of the features that it corrects, by resolution.
        input_size: side of the photographs in pixels.
    """

    feature_channels: Mapping[int, int]
    input_size: int

    @property
    @abstractmethod
    def scales(self) -> dict[int, Tensor]:
        """By resolution, (C,): standard deviation of the features in each channel."""

    @abstractmethod
    def forward(
        self,
        images: Tensor,
        features: Mapping[int, Tensor],
        target_features: Mapping[int, Tensor] | None = None,
    ) -> dict[int, Tensor]:
        """Corrections of the target's features.

        Args:
            images: (N, 3, input_size, input_size) photographs in [-1, 1].
            features: by resolution R, (N, C, R, R): what the generator makes of their codes.
            target_features: the same for the codes to be decoded; None where they are the same
                codes.

        Returns:
            By resolution R, (N, C, R, R), to be added to the target's features.
        """

    @torch.no_grad()
    def calibrate(self, features: Mapping[int, Tensor], images: Tensor) -> None:
        """Measure what the network has to know of a generator, before training.

        Args:
            features: by resolution, (N, C, R, R), of codes as they will come.
            images: (N, 3, input_size, input_size), decoded from the same codes.
        """
