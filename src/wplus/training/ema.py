"""A slow average of the encoder's weights: what is validated and exported."""

from __future__ import annotations

import copy

import torch
from torch import nn

from wplus.encoders import Encoder


class Average:
    """Exponential moving average of an encoder.

    Its decay grows with the steps, (1 + t)/(10 + t) up to `decay`, so that a short run does not
    keep the weights it began with. What is not learned (running means of batch norms) is copied.

    Args:
        encoder: the one that is trained.
        decay: share of the old average in the new one; 0 makes the encoder itself the "average".
    """

    def __init__(self, encoder: Encoder, decay: float) -> None:
        self.decay = decay
        self._trained = encoder
        self.encoder = copy.deepcopy(encoder).eval().requires_grad_(False) if decay else encoder

    @torch.no_grad()
    def update(self, step: int) -> None:
        """After step 1, 2, … of the optimizer."""
        if not self.decay:
            return
        decay = min(self.decay, (1 + step) / (10 + step))
        _lerp(self.encoder, self._trained, 1 - decay)
        for mine, its in zip(self.encoder.buffers(), self._trained.buffers()):
            mine.copy_(its)


def _lerp(mine: nn.Module, its: nn.Module, share: float) -> None:
    torch._foreach_lerp_(list(mine.parameters()), list(its.parameters()), share)
