"""NVIDIA's pickles: the same images as a plain reading of their networks, and nothing run."""

from __future__ import annotations

import pathlib
import pickle
import sys
import types
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wplus.errors import FormatError
from wplus.formats import nvidia
from wplus.generators.stylegan2 import StyleGAN2

RESOLUTION, STYLE_DIM, MAPPING_LAYERS = 16, 12, 2
WIDTHS = {4: 8, 8: 8, 16: 4}  # min(64 / resolution, 8)
CLAMP = 2.0
SIZES = tuple(WIDTHS)


# ------------------------------------------------ files as NVIDIA's code writes them
# Classes are pickled by name, so the modules of that code have to exist while a file is written.


def _module(name: str, **contents: Any) -> types.ModuleType:
    module = types.ModuleType(name)
    for key, value in contents.items():
        setattr(module, key, value)
        if isinstance(value, type) or callable(value):
            value.__module__, value.__qualname__ = name, key
    return module


def _reconstruct_persistent_obj(meta: dict[str, Any]) -> None:
    raise AssertionError("called while reading")


class EasyDict(dict):  # type: ignore[type-arg]
    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class Network:
    """TensorFlow's; pickled by its state."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state

    def __getstate__(self) -> dict[str, Any]:
        return self.state

    def __setstate__(self, state: dict[str, Any]) -> None:
        raise AssertionError("called while reading")


@contextmanager
def nvidia_modules() -> Iterator[None]:
    modules = {
        "torch_utils": _module("torch_utils"),
        "torch_utils.persistence": _module(
            "torch_utils.persistence", _reconstruct_persistent_obj=_reconstruct_persistent_obj
        ),
        "dnnlib": _module("dnnlib"),
        "dnnlib.util": _module("dnnlib.util", EasyDict=EasyDict),
        "dnnlib.tflib": _module("dnnlib.tflib"),
        "dnnlib.tflib.network": _module("dnnlib.tflib.network", Network=Network),
    }
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in modules:
            del sys.modules[name]


def write(path: pathlib.Path, content: Any, protocol: int = 4) -> pathlib.Path:
    with nvidia_modules():
        path.write_bytes(pickle.dumps(content, protocol))
    return path


@pytest.fixture
def mark(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A file that appears if the source code in a pickle is run."""
    mark = tmp_path / "code-was-run"
    yield mark
    assert not mark.exists()


class Persistent(nn.Module):
    """A module with a class of its own source, pickled with that source."""

    def __init__(self, kind: str, source: str, **attributes: Any) -> None:
        super().__init__()
        self._init_args = ()
        self._init_kwargs = EasyDict(attributes)
        self.__dict__["kind"], self.__dict__["source"] = kind, source
        for name, value in attributes.items():
            setattr(self, name, value)

    def __reduce__(self) -> Any:
        state = {k: v for k, v in self.__dict__.items() if k not in ("kind", "source")}
        meta = {
            "type": "class",
            "version": 6,
            "module_src": self.source,
            "class_name": self.kind,
            "state": state,
        }
        return _reconstruct_persistent_obj, (meta,), None

    def parameter(self, name: str, value: Tensor) -> None:
        self.register_parameter(name, nn.Parameter(value, requires_grad=False))


def filter_2d() -> Tensor:
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    return torch.outer(taps, taps) / 64


def pytorch_generator(source: str = "", seed: int = 0) -> Persistent:
    """A generator of StyleGAN2-ADA's PyTorch version, with no parameter at its initial value."""
    rng = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=rng)

    def dense(inputs: int, outputs: int, activation: str, multiplier: float, bias: float) -> Any:
        layer = Persistent(
            "FullyConnectedLayer",
            source,
            activation=activation,
            weight_gain=multiplier / np.sqrt(inputs),  # a numpy number, as theirs
            bias_gain=multiplier,
        )
        layer.parameter("weight", normal(outputs, inputs) / multiplier)
        layer.parameter("bias", bias + 0.3 * normal(outputs) / multiplier)
        return layer

    def styled(inputs: int, outputs: int, size: int, up: int) -> Persistent:
        layer = Persistent(
            "SynthesisLayer",
            source,
            resolution=size,
            up=up,
            use_noise=True,
            activation="lrelu",
            conv_clamp=CLAMP,
            padding=1,
            act_gain=np.sqrt(2),
        )
        layer.register_buffer("resample_filter", filter_2d())
        layer.affine = dense(STYLE_DIM, inputs, "linear", 1, 1)
        weight = normal(outputs, inputs, 3, 3)
        if size == RESOLUTION:  # as half-precision layers store theirs
            weight = weight.to(memory_format=torch.channels_last)
        layer.parameter("weight", weight)
        layer.register_buffer("noise_const", normal(size, size))
        layer.parameter("noise_strength", 0.3 * normal())
        layer.parameter("bias", 0.3 * normal(outputs))
        return layer

    def block(inputs: int, size: int) -> Persistent:
        outputs = WIDTHS[size]
        block = Persistent(
            "SynthesisBlock",
            source,
            in_channels=inputs,
            resolution=size,
            architecture="skip",
            use_fp16=size == RESOLUTION,
            is_last=size == RESOLUTION,
        )
        block.register_buffer("resample_filter", filter_2d())
        if inputs == 0:
            block.parameter("const", normal(outputs, 4, 4))
        else:
            block.conv0 = styled(inputs, outputs, size, 2)
        block.conv1 = styled(outputs, outputs, size, 1)
        torgb = Persistent("ToRGBLayer", source, conv_clamp=CLAMP, weight_gain=1 / np.sqrt(outputs))
        torgb.affine = dense(STYLE_DIM, outputs, "linear", 1, 1)
        torgb.parameter("weight", normal(3, outputs, 1, 1))
        torgb.parameter("bias", 0.3 * normal(3))
        block.torgb = torgb
        return block

    mapping = Persistent(
        "MappingNetwork", source, z_dim=STYLE_DIM, c_dim=0, w_avg_beta=0.995, num_ws=6
    )
    for i in range(MAPPING_LAYERS):
        setattr(mapping, f"fc{i}", dense(STYLE_DIM, STYLE_DIM, "lrelu", 0.01, 0))
    mapping.register_buffer("w_avg", normal(STYLE_DIM))
    synthesis = Persistent("SynthesisNetwork", source, w_dim=STYLE_DIM, img_resolution=RESOLUTION)
    for size in SIZES:
        setattr(synthesis, f"b{size}", block(WIDTHS[size // 2] if size > 4 else 0, size))
    root = Persistent(
        "Generator", source, z_dim=STYLE_DIM, c_dim=0, w_dim=STYLE_DIM, img_channels=3
    )
    root.synthesis, root.mapping = synthesis, mapping
    return root


def pytorch_snapshot(generator: Persistent) -> dict[str, Any]:
    other = pytorch_generator(generator.source, seed=1)
    return {
        "training_set_kwargs": EasyDict(class_name="training.dataset.ImageFolderDataset"),
        "G": other,
        "D": Persistent("Discriminator", generator.source, hooks=OrderedDict(), freeze={1, 2}),
        "G_ema": generator,
        "augment_pipe": None,
    }


def tensorflow_generator(source: str = "", seed: int = 0, **settings: Any) -> Network:
    """A generator of TensorFlow's StyleGAN2, with no variable at its initial value."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int, scale: float = 1.0) -> Any:
        # tflib stores what the session returned: scalars are numpy scalars, not arrays
        return np.float32(scale) * rng.standard_normal(shape, dtype=np.float32)

    def network(name: str, function: str, variables: dict[str, Any], **components: Any) -> Network:
        return Network(
            {
                "version": 4,
                "name": name,
                "static_kwargs": dict(settings, resolution=RESOLUTION, num_channels=3),
                "components": components,
                "build_module_src": source,
                "build_func_name": function,
                "variables": list(variables.items()),
            }
        )

    def styled(scope: str, inputs: int, outputs: int, kernel: int = 3) -> dict[str, Any]:
        variables = {
            "weight": normal(kernel, kernel, inputs, outputs),
            "mod_weight": normal(STYLE_DIM, inputs),
            "mod_bias": normal(inputs, scale=0.3),
            "bias": normal(outputs, scale=0.3),
        }
        if kernel == 3:
            variables["noise_strength"] = np.float32(rng.standard_normal())
        return {f"{scope}/{name}": value for name, value in variables.items()}

    variables: dict[str, Any] = {}
    for index in range(2 * len(SIZES) - 1):
        size = 2 ** ((index + 5) // 2)
        variables[f"noise{index}"] = normal(1, 1, size, size)
    variables["4x4/Const/const"] = normal(1, WIDTHS[4], 4, 4)
    variables |= styled("4x4/Conv", WIDTHS[4], WIDTHS[4])
    for size in SIZES:
        if size > 4:
            variables |= styled(f"{size}x{size}/Conv0_up", WIDTHS[size // 2], WIDTHS[size])
            variables |= styled(f"{size}x{size}/Conv1", WIDTHS[size], WIDTHS[size])
        variables |= styled(f"{size}x{size}/ToRGB", WIDTHS[size], 3, kernel=1)
    dense: dict[str, Any] = {}
    for i in range(MAPPING_LAYERS):
        dense[f"Dense{i}/weight"] = normal(STYLE_DIM, STYLE_DIM, scale=100)
        dense[f"Dense{i}/bias"] = normal(STYLE_DIM, scale=30)
    return network(
        "Gs",
        "G_main",
        {"lod": np.float32(0), "dlatent_avg": normal(STYLE_DIM)},
        synthesis=network("G_synthesis", "G_synthesis_stylegan2", variables),
        mapping=network("G_mapping", "G_mapping", dense),
    )


def tensorflow_snapshot(generator: Network) -> tuple[Network, Network, Network]:
    source = generator.state["build_module_src"]
    other = tensorflow_generator(source, seed=1)
    return other, Network({"name": "D", "static_kwargs": EasyDict()}), generator


# ------------------------------------------------ their networks, read slowly and plainly


def slow_upfirdn(x: Tensor, up: int, padding: tuple[int, int], gain: float) -> Tensor:
    """Insert zeros, pad, filter: `upfirdn2d` without its kernel."""
    n, c, h, w = x.shape
    spread = torch.zeros(n, c, h * up, w * up, dtype=x.dtype)
    spread[:, :, ::up, ::up] = x
    spread = F.pad(spread, (*padding, *padding))
    kernel = (filter_2d() * gain).flip(0, 1).to(x.dtype)
    return F.conv2d(spread.flatten(0, 1)[:, None], kernel[None, None]).unflatten(0, (n, c))[:, :, 0]


def slow_modulated(
    x: Tensor, weight: Tensor, styles: Tensor, up: int, demodulate: bool, flip_weight: bool
) -> Tensor:
    """Sample by sample, with weights of its own; `flip_weight` False is a true convolution.

    Up-convolution is upsampling, then convolution, with the padding done once in front:
    (4 + 2 − 1) // 2 and (4 − 2) // 2 for the filter, and 1 each for the kernel.
    """
    images = []
    for image, style in zip(x, styles):
        w = weight * style[None, :, None, None]
        if demodulate:
            w = w / (w.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if not flip_weight:
            w = w.flip(2, 3)
        if up == 2:
            image = F.conv2d(slow_upfirdn(image[None], 2, (3, 2), 4.0), w)
        else:
            image = F.conv2d(image[None], w, padding=w.shape[2] // 2)
        images.append(image)
    return torch.cat(images)


def slow_act(x: Tensor, bias: Tensor, activation: str, clamp: float | None) -> Tensor:
    x = x + bias[:, None, None]
    if activation == "lrelu":
        x = torch.where(x < 0, 0.2 * x, x) * np.sqrt(2)
    return x if clamp is None else x.clip(-clamp, clamp)


def slow_dense(layer: Any, x: Tensor) -> Tensor:
    x = x @ (layer.weight * float(layer.weight_gain)).T + layer.bias * float(layer.bias_gain)
    return torch.where(x < 0, 0.2 * x, x) * np.sqrt(2) if layer.activation == "lrelu" else x


def slow_pytorch_map(generator: Any, z: Tensor) -> Tensor:
    x = z / (z.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()
    for i in range(MAPPING_LAYERS):
        x = slow_dense(getattr(generator.mapping, f"fc{i}"), x)
    return x


def slow_pytorch_synthesis(generator: Any, codes: Tensor) -> Tensor:
    def styled(layer: Any, x: Tensor, w: Tensor) -> Tensor:
        styles = slow_dense(layer.affine, w)
        x = slow_modulated(x, layer.weight, styles, layer.up, True, flip_weight=layer.up == 1)
        if layer.use_noise:
            x = x + layer.noise_const * layer.noise_strength
        return slow_act(x, layer.bias, "lrelu", layer.conv_clamp)

    image: Any = 0
    x = generator.synthesis.b4.const[None].expand(len(codes), -1, -1, -1)
    index = 0
    for size in SIZES:
        block = getattr(generator.synthesis, f"b{size}")
        if size > 4:
            x = styled(block.conv0, x, codes[:, index])
            index += 1
            image = slow_upfirdn(image, 2, (2, 1), 4.0)
        x = styled(block.conv1, x, codes[:, index])
        index += 1
        layer = block.torgb
        styles = slow_dense(layer.affine, codes[:, index]) * float(layer.weight_gain)
        rgb = slow_modulated(x, layer.weight, styles, 1, False, True)
        image = image + slow_act(rgb, layer.bias, "linear", layer.conv_clamp)
    return image


def slow_tensorflow_map(generator: Network, z: Tensor, multiplier: float = 0.01) -> Tensor:
    variables = dict(generator.state["components"]["mapping"].state["variables"])
    x = z / (z.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()
    for i in range(MAPPING_LAYERS):
        weight = torch.from_numpy(variables[f"Dense{i}/weight"])
        bias = torch.from_numpy(variables[f"Dense{i}/bias"])
        x = x @ (weight * (multiplier / np.sqrt(len(weight)))) + bias * multiplier
        x = torch.where(x < 0, 0.2 * x, x) * np.sqrt(2)
    return x


def slow_tensorflow_synthesis(generator: Network, codes: Tensor, clamp: float | None) -> Tensor:
    variables = {
        name: torch.from_numpy(np.asarray(value))
        for name, value in generator.state["components"]["synthesis"].state["variables"]
    }

    def convolve(x: Tensor, w: Tensor, scope: str, up: int, demodulate: bool) -> Tensor:
        weight = variables[f"{scope}/weight"]  # (k, k, in, out)
        weight = weight / np.sqrt(np.prod(weight.shape[:-1]))
        dense = variables[f"{scope}/mod_weight"] / np.sqrt(STYLE_DIM)
        styles = w @ dense + variables[f"{scope}/mod_bias"] + 1
        # `tf.nn.conv2d` correlates, and `upsample_conv_2d` is an upsampling followed by it.
        return slow_modulated(x, weight.permute(3, 2, 0, 1), styles, up, demodulate, True)

    def styled(x: Tensor, w: Tensor, scope: str, noise: int, up: int = 1) -> Tensor:
        x = convolve(x, w, scope, up, True)
        x = x + variables[f"noise{noise}"] * variables[f"{scope}/noise_strength"]
        return slow_act(x, variables[f"{scope}/bias"], "lrelu", clamp)

    def rgb(x: Tensor, w: Tensor, scope: str) -> Tensor:
        x = convolve(x, w, scope, 1, False)
        return slow_act(x, variables[f"{scope}/bias"], "linear", clamp)

    x = variables["4x4/Const/const"].expand(len(codes), -1, -1, -1)
    x = styled(x, codes[:, 0], "4x4/Conv", 0)
    image = rgb(x, codes[:, 1], "4x4/ToRGB")
    for k in range(3, RESOLUTION.bit_length()):
        size = f"{2**k}x{2**k}"
        x = styled(x, codes[:, 2 * k - 5], f"{size}/Conv0_up", 2 * k - 5, up=2)
        x = styled(x, codes[:, 2 * k - 4], f"{size}/Conv1", 2 * k - 4)
        image = slow_upfirdn(image, 2, (2, 1), 4.0)
        image = image + rgb(x, codes[:, 2 * k - 3], f"{size}/ToRGB")
    return image


# ------------------------------------------------ reading


def source_that_marks(mark: pathlib.Path) -> str:
    return f"open({str(mark)!r}, 'w').close()\nclass Generator: pass\ndef G_main(): pass\n"


def load(path: pathlib.Path) -> tuple[dict[str, Any], StyleGAN2]:
    config, state = nvidia.read(path)
    model = StyleGAN2(**config)
    model.load_state_dict(state, strict=True)
    assert all(value.dtype == torch.float32 for value in state.values())
    return config, model.eval()


def inputs() -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(2)
    z = torch.randn(2, STYLE_DIM, generator=rng)
    return z, torch.randn(2, 2 * len(SIZES), STYLE_DIM, generator=rng)


def expected_config(clamp: float | None) -> dict[str, Any]:
    return {
        "resolution": RESOLUTION,
        "style_dim": STYLE_DIM,
        "mapping_layers": MAPPING_LAYERS,
        "channel_base": 64,
        "channel_max": 8,
        "clamp": clamp,
    }


@torch.no_grad()
def test_pytorch_generator(tmp_path: pathlib.Path, mark: pathlib.Path) -> None:
    theirs = pytorch_generator(source_that_marks(mark))
    path = write(tmp_path / "network-snapshot.pkl", pytorch_snapshot(theirs))
    assert str(mark).encode() in path.read_bytes()
    config, ours = load(path)
    assert config == expected_config(CLAMP)
    z, codes = inputs()
    image = slow_pytorch_synthesis(theirs, codes)
    assert (image - slow_pytorch_synthesis(_unclamped(), codes)).abs().max() > 0.1
    torch.testing.assert_close(ours.map(z), slow_pytorch_map(theirs, z), atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.synthesize(codes), image, atol=1e-5, rtol=0)
    assert torch.equal(ours.mean_w, theirs.mapping.w_avg)


def _unclamped() -> Persistent:
    generator = pytorch_generator()
    for module in generator.modules():
        if hasattr(module, "conv_clamp"):
            module.conv_clamp = None
    return generator


@pytest.mark.parametrize("clamp", [None, CLAMP])
@torch.no_grad()
def test_tensorflow_generator(
    tmp_path: pathlib.Path, mark: pathlib.Path, clamp: float | None
) -> None:
    settings = {} if clamp is None else {"conv_clamp": clamp}  # a setting of StyleGAN2-ADA
    theirs = tensorflow_generator(source_that_marks(mark), **settings)
    path = write(tmp_path / "stylegan2-ffhq-config-f.pkl", tensorflow_snapshot(theirs))
    assert str(mark).encode() in path.read_bytes()
    config, ours = load(path)
    assert config == expected_config(clamp)
    z, codes = inputs()
    image = slow_tensorflow_synthesis(theirs, codes, clamp)
    torch.testing.assert_close(ours.map(z), slow_tensorflow_map(theirs, z), atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.synthesize(codes), image, atol=1e-5, rtol=0)
    average = dict(theirs.state["variables"])["dlatent_avg"]
    assert np.array_equal(ours.mean_w.numpy(), average)


@pytest.mark.parametrize("protocol", [2, 3, 5])
def test_pickles_of_every_protocol(
    tmp_path: pathlib.Path, mark: pathlib.Path, protocol: int
) -> None:
    source = source_that_marks(mark)
    for snapshot in (
        pytorch_snapshot(pytorch_generator(source)),
        tensorflow_snapshot(tensorflow_generator(source)),
    ):
        config, state = nvidia.read(write(tmp_path / "a.pkl", snapshot, protocol=4))
        other_config, other = nvidia.read(write(tmp_path / "b.pkl", snapshot, protocol))
        assert config == other_config
        assert state.keys() == other.keys()
        assert all(torch.equal(value, other[name]) for name, value in state.items())


def test_a_lone_network_is_a_generator_too(tmp_path: pathlib.Path) -> None:
    load(write(tmp_path / "gs.pkl", tensorflow_generator()))
    load(write(tmp_path / "g_ema.pkl", pytorch_generator()))


@torch.no_grad()
def test_another_learning_rate_of_the_mapping_network(tmp_path: pathlib.Path) -> None:
    z, _ = inputs()
    theirs = pytorch_generator()
    for i in range(MAPPING_LAYERS):
        layer = getattr(theirs.mapping, f"fc{i}")
        layer.bias_gain, layer.weight_gain = 0.02, 0.02 / np.sqrt(STYLE_DIM)
    _, ours = load(write(tmp_path / "a.pkl", theirs))
    torch.testing.assert_close(ours.map(z), slow_pytorch_map(theirs, z), atol=1e-5, rtol=1e-5)
    other = tensorflow_generator(mapping_lrmul=0.02)
    _, ours = load(write(tmp_path / "b.pkl", other))
    expected = slow_tensorflow_map(other, z, 0.02)
    torch.testing.assert_close(ours.map(z), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_generator_without_noise(tmp_path: pathlib.Path) -> None:
    theirs = pytorch_generator()
    for module in theirs.modules():
        if hasattr(module, "use_noise"):
            module.use_noise = False
            del module.noise_const, module.noise_strength
    _, ours = load(write(tmp_path / "a.pkl", theirs))
    _, codes = inputs()
    expected = slow_pytorch_synthesis(theirs, codes)
    torch.testing.assert_close(ours.synthesize(codes), expected, atol=1e-5, rtol=0)


def test_a_generator_without_an_average_of_w(tmp_path: pathlib.Path) -> None:
    theirs = pytorch_generator()
    del theirs.mapping.w_avg
    _, state = nvidia.read(write(tmp_path / "a.pkl", theirs))
    assert "mean_w" not in state


def test_files_of_numpy_1_and_2(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path / "a.pkl", tensorflow_generator(), protocol=3)
    for core in (b"numpy.core.multiarray", b"numpy._core.multiarray"):
        data = path.read_bytes().replace(b"numpy._core.multiarray", core)
        (tmp_path / "b.pkl").write_bytes(data.replace(b"numpy.core.multiarray", core))
        load(tmp_path / "b.pkl")


# ------------------------------------------------ refusing


def refusal(path: pathlib.Path) -> str:
    with pytest.raises(FormatError) as caught:
        nvidia.read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


class Call:
    """Pickled as a call of `function`."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.parts = (function, args)

    def __reduce__(self) -> Any:
        return self.parts


def _marking_call(mark: pathlib.Path) -> Call:
    return Call(eval, f"open({str(mark)!r}, 'w').close()")


def _blob(content: Any, path: pathlib.Path) -> bytes:
    """`content` as storages are saved inside a pickle."""
    if isinstance(content, Tensor):
        storage = content.untyped_storage()
        content = torch.storage.TypedStorage(
            wrap_storage=storage, dtype=content.dtype, _internal=True
        )
    torch.save(content, path, _use_new_zipfile_serialization=False)
    return path.read_bytes()


def _with_bias(blob: bytes, size: tuple[int, ...], stride: tuple[int, ...], offset: int) -> Any:
    """A generator of which one tensor is a view of the storage in `blob`."""
    theirs = pytorch_generator()
    storage = Call(torch.storage._load_from_bytes, blob)
    theirs.synthesis.b8.conv1._parameters["bias"] = Call(
        torch._utils._rebuild_tensor_v2, storage, offset, size, stride, False, OrderedDict()
    )
    return theirs


def test_a_tensor_by_hand(tmp_path: pathlib.Path) -> None:
    blob = _blob(torch.arange(20.0), tmp_path / "blob")
    _, ours = load(write(tmp_path / "a.pkl", _with_bias(blob, (8,), (2,), 1)))
    assert torch.equal(ours.blocks[0].conv.bias, torch.arange(1.0, 17.0, 2))


def test_malicious_storage_inside_a_pickle(tmp_path: pathlib.Path, mark: pathlib.Path) -> None:
    blob = _blob(_marking_call(mark), tmp_path / "blob")
    message = refusal(write(tmp_path / "a.pkl", _with_bias(blob, (8,), (1,), 0)))
    assert "refused: it asks for builtins.eval" in message


@pytest.mark.parametrize(
    ("content", "size", "stride", "offset", "reason"),
    [
        (torch.zeros(4), (1 << 40,), (0,), 0, "larger than its data"),
        (torch.zeros(4), (2,), (100,), 0, "not laid out as expected"),
        (torch.zeros(4), (2,), (1,), 3, "not laid out as expected"),
        (torch.zeros(4), (2,), (-1,), 3, "not laid out as expected"),
        (torch.zeros(4), (-2,), (1,), 0, "not laid out as expected"),
        (torch.zeros(4, dtype=torch.int64), (4,), (1,), 0, "floating-point"),
        ({"a": 1}, (4,), (1,), 0, "floating-point"),
    ],
)
def test_tensors_that_are_not_what_they_say(
    tmp_path: pathlib.Path, content: Any, size: Any, stride: Any, offset: int, reason: str
) -> None:
    blob = _blob(content, tmp_path / "blob")
    assert reason in refusal(write(tmp_path / "a.pkl", _with_bias(blob, size, stride, offset)))


def test_a_module_inside_itself(tmp_path: pathlib.Path) -> None:
    theirs = pytorch_generator()
    circle = Persistent("Circle", "")
    circle.__dict__["_modules"] = theirs._modules
    theirs._modules["circle"] = circle
    assert "more modules" in refusal(write(tmp_path / "a.pkl", theirs))


def _set(generator: Persistent, path: str, name: str, value: Any) -> None:
    generator.get_submodule(path).__dict__[name] = value


def _set_all(generator: Persistent, name: str, value: Any) -> None:
    for module in generator.modules():
        if name in module.__dict__:
            module.__dict__[name] = value


PYTORCH_FAULTS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "labels": (lambda g: _set(g, "", "c_dim", 10), "conditional generator (10 labels)"),
    "colors": (lambda g: _set(g, "", "img_channels", 1), "number of colors of 1"),
    "resnet": (lambda g: _set_all(g, "architecture", "resnet"), "architecture 'resnet'"),
    "relu": (lambda g: _set(g, "synthesis.b8.conv0", "activation", "relu"), "activation 'relu'"),
    "linear mapping": (lambda g: _set(g, "mapping.fc1", "activation", "linear"), "'linear'"),
    "filter": (
        lambda g: g.synthesis.b8.conv0.resample_filter.copy_(torch.full((4, 4), 1 / 16)),
        "another resampling filter",
    ),
    "longer filter": (
        lambda g: g.synthesis.b8.register_buffer("resample_filter", torch.ones(6, 6) / 36),
        "another resampling filter",
    ),
    "clamps": (lambda g: _set(g, "synthesis.b8.conv0", "conv_clamp", 256), "differ"),
    "StyleGAN3": (
        lambda g: setattr(g.synthesis, "input", Persistent("SynthesisInput", "")),
        "StyleGAN3",
    ),
    "another network": (lambda g: delattr(g, "mapping"), "holds a Generator, not a StyleGAN2"),
    "missing tensor": (
        lambda g: delattr(g.synthesis.b8.conv1, "bias"),
        "lacks synthesis.b8.conv1.bias",
    ),
    "unexpected tensor": (
        lambda g: g.mapping.register_buffer("extra\nline", torch.ones(1)),
        "has unexpected mapping.extra?line",
    ),
    "narrow z": (
        lambda g: g.mapping.fc0.parameter("weight", torch.ones(STYLE_DIM, 5)),
        "mapping network has a layer of (12, 5)",
    ),
    "widths": (
        lambda g: g.synthesis.b8.conv1.parameter("weight", torch.ones(3, 3, 3, 3)),
        "channels [8, 3, 4]",
    ),
    "no blocks": (lambda g: _set(g, "synthesis", "_modules", {}), "no StyleGAN2 synthesis"),
    "nonsense": (lambda g: _set(g, "synthesis", "_buffers", 5), "not laid out as expected"),
}


@pytest.mark.parametrize(("spoil", "reason"), PYTORCH_FAULTS.values(), ids=PYTORCH_FAULTS)
def test_pytorch_generators_that_ours_is_not(
    tmp_path: pathlib.Path, spoil: Callable[[Any], Any], reason: str
) -> None:
    theirs = pytorch_generator()
    spoil(theirs)
    assert reason in refusal(write(tmp_path / "a.pkl", pytorch_snapshot(theirs)))


def _rename(generator: Network, old: str, new: str) -> None:
    state = generator.state["components"]["synthesis"].state
    state["variables"] = [(name.replace(old, new), value) for name, value in state["variables"]]


TENSORFLOW_FAULTS: dict[str, tuple[dict[str, Any], Callable[[Any], Any], str]] = {
    "labels": ({"label_size": 10}, lambda g: None, "conditional generator (10 labels)"),
    "resnet": ({"architecture": "resnet"}, lambda g: None, "architecture 'resnet'"),
    "relu": ({"nonlinearity": "relu"}, lambda g: None, "activation 'relu'"),
    "filter": ({"resample_kernel": [1, 1]}, lambda g: None, "filter [1, 1]"),
    "box filter": ({"resample_kernel": None}, lambda g: None, "filter None"),
    "raw z": ({"normalize_latents": False}, lambda g: None, "normalized latents False"),
    "config D": ({}, lambda g: _rename(g, "16x16/ToRGB", "ToRGB_lod0"), "before config E"),
    "StyleGAN": ({}, lambda g: _rename(g, "mod_weight", "StyleMod/weight"), "before config E"),
    "unexpected": ({}, lambda g: _rename(g, "8x8/Conv1", "8x8/Conv2"), "lacks synthesis.b8.conv1"),
    "no parts": ({}, lambda g: g.state.update(components={}), "no generator of StyleGAN2"),
    "nonsense": ({}, lambda g: g.state.update(variables=[1]), "not laid out as expected"),
    "objects": ({}, lambda g: g.state.update(variables=[("dlatent_avg", "x")]), "floating-point"),
}


@pytest.mark.parametrize(
    ("settings", "spoil", "reason"), TENSORFLOW_FAULTS.values(), ids=TENSORFLOW_FAULTS
)
def test_tensorflow_generators_that_ours_is_not(
    tmp_path: pathlib.Path, settings: dict[str, Any], spoil: Callable[[Any], Any], reason: str
) -> None:
    theirs = tensorflow_generator(**settings)
    spoil(theirs)
    assert reason in refusal(write(tmp_path / "a.pkl", tensorflow_snapshot(theirs)))


def test_other_pickles(tmp_path: pathlib.Path) -> None:
    assert "no generator" in refusal(write(tmp_path / "a.pkl", {"G": 1}))
    assert "not a network" in refusal(write(tmp_path / "a.pkl", [1, 2]))
    assert "no such file" in refusal(tmp_path / "none.pkl")
    torch.save({"g_ema": {}}, tmp_path / "b.pkl")
    assert "torch checkpoint" in refusal(tmp_path / "b.pkl")
