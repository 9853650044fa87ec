"""A real generator of 64² with 11 styles of 8 numbers."""

from __future__ import annotations

import torch

from wplus.generators import MobileStyleGAN


def generator(seed: int = 0) -> MobileStyleGAN:
    """Frozen, with a mean that is not 0."""
    torch.manual_seed(seed)
    made = MobileStyleGAN(
        style_dim=8, mapping_layers=2, stem_channels=12, channels=(12, 8, 8)
    ).eval().requires_grad_(False)  # fmt: skip
    made.mean_w.normal_()
    return made
