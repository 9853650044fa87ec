"""One minus the cosine of two embeddings: the base of identity and similarity."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional


class CosineLoss(nn.Module, ABC):
    """L = 1 - <R(y), R(y_hat)> with unit vectors R, mean over the batch (pSp, "Loss functions").

    The network is frozen and stays in evaluation mode. Gradients reach the output image only.

    Args:
        net: maps what `prepare` returns to (N, D).
        name: of the loss among the terms; the gain is called `<name>_gain`.
    """

    def __init__(self, net: nn.Module, name: str) -> None:
        super().__init__()
        self.net = net.requires_grad_(False)
        self.name = name
        self.train()

    def train(self, mode: bool = True) -> CosineLoss:
        """Stay in evaluation mode for any `mode`: the network's statistics are part of R."""
        super().train(False)
        return self

    @abstractmethod
    def prepare(self, images: Tensor) -> Tensor:
        """Map images (N, 3, H, W) in [-1, 1] to the network's input."""

    def embed(self, images: Tensor) -> Tensor:
        """Unit vectors (N, D), float32, of images (N, 3, H, W) in [-1, 1].

        To compare many outputs with one target, embed it once, under `torch.no_grad()`.
        """
        return functional.normalize(self.net(self.prepare(images)).float())

    def compare(
        self, output: Tensor, target: Tensor, source: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Terms from unit vectors (N, D) that `embed` returned; see `forward`."""
        target = target.detach()
        similarity = (output * target).sum(1)
        terms = {self.name: 1 - similarity.mean()}
        if source is not None:
            before = (source.detach() * target).sum(1)
            terms[f"{self.name}_gain"] = (similarity.detach() - before).mean()
        return terms

    def forward(
        self, output: Tensor, target: Tensor, source: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Compare an output with its target.

        Args:
            output: (N, 3, H, W) in [-1, 1].
            target: the same shape; no gradient reaches it.
            source: the encoder's input, if it is a photograph, to log the gain over it.

        Returns:
            Scalars by name: the loss and, with a source, the gain of the output over the source,
            <R(y_hat), R(y)> - <R(y), R(x)>, for the log only.
        """
        with torch.no_grad():
            wanted = self.embed(target)
            if source is None or source is target:
                before = None if source is None else wanted
            else:
                before = self.embed(source)
        return self.compare(self.embed(output), wanted, before)
