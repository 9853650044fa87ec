"""The networks of losses, each loaded when it is first used, and once."""

from __future__ import annotations

from functools import cached_property

import torch

from wplus.losses.facenets import load_mobilefacenet
from wplus.losses.identity import IdentityLoss
from wplus.losses.perceptual import LPIPS, load_lpips


class LossNetworks:
    """LPIPS and the identity network on one device; make one per run and pass it down.

    Args:
        device: where the networks are.
        lpips, identity: networks that are loaded already.

    Attributes:
        lpips: LPIPS on AlexNet.
        identity: the identity loss on MobileFaceNet.

    Raises:
        WeightsError: on first use of an attribute, if its weights cannot be fetched.
    """

    def __init__(
        self,
        device: torch.device | str = "cpu",
        lpips: LPIPS | None = None,
        identity: IdentityLoss | None = None,
    ) -> None:
        self.device = torch.device(device)
        self._lpips, self._identity = lpips, identity

    @cached_property
    def lpips(self) -> LPIPS:  # noqa: D102
        return (self._lpips or load_lpips()).to(self.device)

    @cached_property
    def identity(self) -> IdentityLoss:  # noqa: D102
        return (self._identity or IdentityLoss(load_mobilefacenet())).to(self.device)
