"""Photographs are decoded with corrections where the model has a corrector."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
import wplus
from wplus.errors import ConfigError
from wplus.inference.options import Options
from wplus.inference.run import Inference


def photograph() -> Image.Image:
    levels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    return Image.fromarray(levels).resize((256, 256))


def open_inference(**options: object) -> Inference:
    settings = Options(align=False, **{"correction": True, **options})  # type: ignore[arg-type]
    return Inference(tiny.corrected_model(), options=settings)


def test_an_inversion_is_corrected() -> None:
    inference = open_inference()
    samples = inference.read(photograph())
    [[output]] = inference.generate(samples)
    photo, model = samples[0].photo, inference.model
    assert photo is not None
    code = model.encode(photo)
    expected = model.decode(code, corrections=model.correct(photo, code))[0]
    torch.testing.assert_close(output.pixels, expected)
    plain = open_inference(correction=False)
    [[output]] = plain.generate(plain.read(photograph()))
    torch.testing.assert_close(output.pixels, model.decode(code)[0])
    assert not torch.allclose(output.pixels, expected)


def test_an_edit_gets_the_corrections_of_its_code() -> None:
    inference = open_inference()
    [sample] = inference.read(photograph())
    own = inference.codes([sample])
    edited = own + 0.2
    assert sample.photo is not None
    corrections = inference.model.correct(sample.photo, own, edited)
    expected = inference.model.decode(edited, corrections=corrections)
    torch.testing.assert_close(inference.decode([sample], own, edited), expected)


def test_a_code_has_no_photograph_to_keep() -> None:
    inference = open_inference()
    code = inference.model.sample(1, seed=0)[0]
    [sample] = inference.read(code)
    found = inference.decode([sample], code[None])
    torch.testing.assert_close(found, inference.model.decode(code[None]))


def test_the_library_takes_the_option() -> None:
    model = tiny.corrected_model()
    image = photograph()
    plain = wplus.invert(image, model, align=False)
    kept = wplus.invert(image, model, align=False, correction=True)
    assert not torch.equal(kept.pixels, plain.pixels)  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match="unexpected keyword"):
        wplus.invert(image, model, corrections=False)
