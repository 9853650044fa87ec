"""Small networks in files as NVIDIA's code writes them."""

from __future__ import annotations

import pathlib
import pickle
import sys
import types
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wplus.formats import nvidia
from wplus.generators.stylegan2 import StyleGAN2

RESOLUTION, STYLE_DIM, MAPPING_LAYERS = 16, 12, 2
WIDTHS = {4: 8, 8: 8, 16: 4}  # min(64 / resolution, 8)
CLAMP = 2.0
SIZES = tuple(WIDTHS)


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


def source_that_marks(mark: pathlib.Path) -> str:
    return f"open({str(mark)!r}, 'w').close()\nclass Generator: pass\ndef G_main(): pass\n"


def load(path: pathlib.Path) -> tuple[dict[str, Any], StyleGAN2]:
    config, state = nvidia.read(path)
    model = StyleGAN2(**config)
    model.load_state_dict(state, strict=True)
    assert all(value.dtype == torch.float32 for value in state.values())
    return config, model.eval()
