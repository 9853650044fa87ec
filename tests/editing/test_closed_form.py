from __future__ import annotations

import numpy as np
import pytest
import torch

import tiny
from wplus.editing import closed_form
from wplus.errors import ConfigError
from wplus.generators import Generator


@pytest.fixture(params=["stylegan2", "mobilestylegan"])
def generator(request: pytest.FixtureRequest) -> Generator:
    return tiny.model(request.param, None).generator


def test_style_weights_are_what_the_layers_apply(generator: Generator) -> None:
    """Change one style by a step; only what its affine layers give may change, and by A·step."""
    seen: dict[str, torch.Tensor] = {}
    for name, module in generator.named_modules():
        if "affine" in name.split(".")[-1]:
            module.register_forward_hook(
                lambda _, __, out, name=name: seen.__setitem__(name, out.detach().clone())
            )
    codes = torch.randn(2, generator.num_styles, 12)  # two: the way that calls every layer
    with torch.enable_grad():
        generator.requires_grad_(True)  # the way through that calls every layer as it is
        generator.synthesize(codes)
    before = dict(seen)
    weights = closed_form.style_weights(generator)
    assert sum(len(matrices) for matrices in weights) == len(before)
    step = torch.randn(12)
    for style, matrices in enumerate(weights):
        moved = codes.clone()
        moved[:, style] += step
        generator.synthesize(moved)
        changes = [seen[name] - before[name] for name in before]
        changed = [change[0] for change in changes if change.abs().max() > 1e-6]
        expected = [matrix @ step for matrix in matrices]
        assert len(changed) == len(expected), style
        for a, b in zip(
            sorted(changed, key=lambda x: float(x.sum())),
            sorted(expected, key=lambda x: float(x.sum())),
        ):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)


def test_sefa_is_the_singular_vectors_of_the_stacked_matrices(generator: Generator) -> None:
    layers = [1, 2, 4]
    rows = np.concatenate(
        [m.numpy() for k in layers for m in closed_form.style_weights(generator)[k]]
    ).astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    _, _, expected = np.linalg.svd(rows)
    for k, direction in enumerate(closed_form.sefa(generator, layers, 3)):
        assert direction.name == f"sefa{k + 1}"
        assert direction.layers == layers
        for layer in layers:
            row = direction.vector[layer].numpy()
            cosine = abs(row @ expected[k]) / np.linalg.norm(row)
            assert cosine == pytest.approx(1, abs=1e-4)


def test_pca_is_in_standard_deviations_of_w(generator: Generator) -> None:
    z = torch.randn(8192, 12, generator=torch.Generator().manual_seed(5))
    w = generator.map(z).double().numpy()
    variances = np.sort(np.linalg.eigvalsh(np.cov(w.T)))[::-1]
    found = closed_form.pca(generator, [0, 3], 4)
    lengths = [float(direction.vector[3].norm()) for direction in found]
    assert np.allclose(np.square(lengths), variances[:4], rtol=0.1)  # of other samples
    assert found[0].layers == [0, 3]
    along = w @ (found[0].vector[0] / found[0].vector[0].norm()).double().numpy()
    assert along.std() == pytest.approx(lengths[0], rel=0.05)


def test_directions_do_not_depend_on_chance(generator: Generator) -> None:
    for make in (closed_form.sefa, closed_form.pca):
        first, second = make(generator, [0], 2), make(generator, [0], 2)
        assert all(torch.equal(a.vector, b.vector) for a, b in zip(first, second))


def test_what_is_not_there(generator: Generator) -> None:
    for make in (closed_form.sefa, closed_form.pca):
        with pytest.raises(ConfigError, match="at least one style"):
            make(generator, [])
        with pytest.raises(ConfigError, match="styles 0 to"):
            make(generator, [99])
        with pytest.raises(ConfigError, match="1 to 12"):
            make(generator, [0], 13)


def test_ranges_in_words() -> None:
    assert closed_form._ranges([0, 1, 2, 5, 7, 8]) == "0-2, 5, 7-8"
