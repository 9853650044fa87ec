"""The published implementation's results, through files in its layout on disk and `wplus.load`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

import wplus
from published_files import normal, picture, published_checkpoint

CASES = {
    "single_w_64": ("BackboneEncoderUsingLastLayerIntoW", 1, True),
    "naive_wplus_64": ("BackboneEncoderUsingLastLayerIntoWPlus", 10, False),
}


def close(found: Tensor, expected: np.ndarray, tolerance: float) -> None:
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=0, atol=tolerance)


@pytest.fixture(scope="module")
def pyramid(tmp_path_factory: pytest.TempPathFactory) -> wplus.PSP:
    path = tmp_path_factory.mktemp("psp") / "pyramid.pt"
    published_checkpoint(
        "pyramid_256",
        path,
        num_styles=14,
        encoder_type="GradualStyleEncoder",
        output_size=256,
        learn_in_w=False,
        dataset_type="ffhq_encode",
    )
    model = wplus.load(path)
    path.unlink()  # 0.9 GB; what is mapped stays readable
    return model


def test_pyramid(pyramid: wplus.PSP, cases: dict[str, np.ndarray]) -> None:
    codes = pyramid.encode(picture("pyramid_256", (1, 3, 256, 256)))
    close(codes, cases["pyramid_256.codes"], 1e-4)
    close(pyramid.decode(codes)[..., ::4, ::4], cases["pyramid_256.image"], 1e-3)


def test_pyramid_with_gradients(pyramid: wplus.PSP, cases: dict[str, np.ndarray]) -> None:
    """The way that training takes through the generator is another one."""
    codes = torch.from_numpy(cases["pyramid_256.codes"]).requires_grad_()
    image = pyramid.decode(codes)
    assert image.requires_grad
    close(image[..., ::4, ::4], cases["pyramid_256.image"], 1e-3)


def test_mixing(pyramid: wplus.PSP, cases: dict[str, np.ndarray]) -> None:
    w = pyramid.map(normal("mixing.z", (1, 512)))
    close(w, cases["mixing.w"], 1e-4)
    codes = pyramid.encode(picture("pyramid_256", (1, 3, 256, 256)))
    codes = wplus.latents.mix(codes, w, range(8, 14), alpha=0.5)
    close(codes, cases["mixing.codes"], 1e-4)
    close(pyramid.decode(codes)[..., ::4, ::4], cases["mixing.image"], 1e-3)


@pytest.mark.parametrize("case", CASES)
def test_baselines(
    case: str, tmp_path: pytest.TempPathFactory, cases: dict[str, np.ndarray]
) -> None:
    encoder, rows, learn_in_w = CASES[case]
    path = tmp_path / f"{case}.pt"
    published_checkpoint(
        case, path, num_styles=rows, encoder_type=encoder, output_size=64, learn_in_w=learn_in_w
    )
    model = wplus.load(path)
    codes = model.encode(picture(case, (2, 3, 256, 256)))
    assert codes.shape == (2, 10, 512)
    close(codes, cases[f"{case}.codes"], 1e-4)
    close(model.decode(codes)[..., ::4, ::4], cases[f"{case}.image"], 1e-3)
