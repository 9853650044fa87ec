"""An encoder of photographs made to read something else: only its first convolution changes.

A sketch is a gray picture and a label map can be painted, so the first convolution can be given
what it would have computed of the painted picture, and all that the encoder knows of faces is of
use from the first step on.
"""

from __future__ import annotations

import copy

import torch

from wplus.config import Part
from wplus.encoders import Encoder
from wplus.errors import ConfigError
from wplus.faces.labels import LABELS
from wplus.formats.strict import load_strict
from wplus.models.registry import build
from wplus.sources.label_colors import PALETTE

COLORS = 3


def adapt(encoder: Encoder, part: Part, channels: int) -> tuple[Encoder, Part]:
    """A copy of an encoder that reads sources of other channels.

    Args:
        encoder: of color pictures in [-1, 1].
        part: what it is made of.
        channels: 1 for gray pictures in [0, 1] as sketches are, 19 for the one-hot label maps of
            CelebAMask-HQ, which are then seen in their colors; for any other number the first
            convolution begins at random.

    Returns:
        The encoder, and what it is made of now.

    Raises:
        ConfigError: it does not read color pictures.
    """
    if encoder.input_channels == channels:
        return copy.deepcopy(encoder), part  # what was read stands in its file's memory
    if encoder.input_channels != COLORS:
        raise ConfigError(
            f"an encoder of {encoder.input_channels} channels cannot be trained further on sources"
            f" of {channels}; start from one of photographs"
        )
    made = Part(part.kind, {**part.options, "input_channels": channels})
    adapted = build(made)
    assert isinstance(adapted, Encoder)
    state = {name: value.clone() for name, value in encoder.state_dict().items()}
    name = next(
        name for name, value in adapted.state_dict().items() if value.shape != state[name].shape
    )
    kernel = state[name]
    bias = state.get(name.removesuffix("weight") + "bias")
    if channels == 1:
        # Gray s in [0, 1] is the color 2s - 1 in all channels.
        if bias is not None:
            bias -= kernel.sum(dim=(1, 2, 3))
        kernel = 2 * kernel.sum(dim=1, keepdim=True)
    elif channels == len(LABELS):
        colors = torch.tensor(PALETTE, dtype=kernel.dtype) / 127.5 - 1
        kernel = torch.einsum("ochw,kc->okhw", kernel, colors)
    else:
        kernel = adapted.state_dict()[name][:, :channels]
    state[name] = kernel
    load_strict(adapted, state, "the adapted encoder")
    return adapted, made
