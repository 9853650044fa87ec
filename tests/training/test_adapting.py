"""An encoder of photographs begins to read sketches and label maps as if they were painted."""

from __future__ import annotations

import pytest
import torch

import tiny
from wplus.encoders import Encoder
from wplus.errors import ConfigError
from wplus.sources.label_colors import PALETTE
from wplus.training.setup import adapt


def photographs(kind: str) -> tuple[Encoder, object]:
    model = tiny.model("mobilestylegan" if kind == "compact" else "stylegan2", kind)
    assert model.encoder is not None
    return model.encoder.eval(), model.config.encoder


def test_labels_are_seen_in_their_colors() -> None:
    for kind in ("compact", "pyramid"):
        encoder, part = photographs(kind)
        adapted, made = adapt(encoder, part, 19)  # type: ignore[arg-type]
        assert made.options["input_channels"] == 19
        numbers = torch.randint(19, (1, encoder.input_size, encoder.input_size))
        one_hot = torch.nn.functional.one_hot(numbers, 19).permute(0, 3, 1, 2).float()
        painted = torch.tensor(PALETTE)[numbers].permute(0, 3, 1, 2) / 127.5 - 1
        torch.testing.assert_close(adapted.eval()(one_hot), encoder(painted), rtol=1e-3, atol=1e-4)


def test_a_sketch_is_seen_as_a_gray_picture() -> None:
    encoder, part = photographs("compact")
    adapted, _ = adapt(encoder, part, 1)  # type: ignore[arg-type]
    name = "trunk.stem.0.conv"
    first, theirs = adapted.get_submodule(name), encoder.get_submodule(name)
    sketch = torch.rand(1, 1, 32, 32)
    gray = (2 * sketch - 1).expand(-1, 3, -1, -1)
    inside = (..., slice(1, -1), slice(1, -1))  # around the picture lies gray, not black
    torch.testing.assert_close(first(sketch)[inside], theirs(gray)[inside], rtol=1e-4, atol=1e-5)


def test_the_rest_is_the_same_and_is_a_copy() -> None:
    encoder, part = photographs("compact")
    for channels in (3, 1, 19, 7):
        adapted, made = adapt(encoder, part, channels)  # type: ignore[arg-type]
        assert adapted.input_channels == channels
        for name, value in encoder.state_dict().items():
            if not name.startswith("trunk.stem.0."):
                assert torch.equal(adapted.state_dict()[name], value)
        next(reversed(list(adapted.parameters()))).data.add_(1)
        before = next(reversed(list(encoder.parameters())))
        assert not torch.equal(next(reversed(list(adapted.parameters()))), before)
    sketches, made = adapt(encoder, part, 1)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="an encoder of 1 channels cannot"):
        adapt(sketches, made, 19)
