"""Networks built around the tensors of a file, without allocating or initializing them first.

Parameters are placeholders without memory until the tensors of the file, which is mapped, take
their place: a model of 1.2 GB takes 1.2 GB. A configuration cannot ask for more than its file has.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from wplus.config import ModelConfig, Part
from wplus.errors import ConfigError
from wplus.formats.strict import load_strict
from wplus.models.registry import CORRECTORS, ENCODERS, GENERATORS, build
from wplus.psp import PSP

logger = logging.getLogger(__name__)

LARGEST = 1 << 16  # number in any configuration; larger ones must be a dimension of a tensor
SPARE_TENSORS = 1000  # that constructors may make beside those of the file

_FACTORIES = {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn}
_KEEP_SHAPE = {"mul", "div", "__rmul__", "true_divide", "multiply", "clone"}


class Placeholders(TorchFunctionMode):
    """While active, constructors make tensors without memory, and initialization does nothing.

    Not `with torch.device("meta")`: there, random numbers and quotients are computed by Python
    code whose import takes a second.

    Args:
        limit: largest number of tensors.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.left = limit

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Torch calls this in place of its function `func`."""
        kwargs = dict(kwargs or {})
        if func in _FACTORIES:
            self.left -= 1
            if self.left < 0:
                raise ConfigError("it describes more tensors than the file has")
            if func in (torch.rand, torch.randn):
                func = torch.empty
                kwargs.pop("generator", None)
            return func(*args, **{**kwargs, "device": "meta"})
        name = getattr(func, "__name__", "")
        if getattr(func, "__module__", None) == "torch.nn.init" or name in _KEEP_SHAPE:
            tensors = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
            if len(tensors) == 1 and tensors[0].is_meta:
                return tensors[0]
        return func(*args, **kwargs)


def assemble(config: ModelConfig | Part, state: Mapping[str, Tensor], what: str) -> nn.Module:
    """Build the network of `config` around the tensors of `state`, without a copy.

    Args:
        config: of a whole model, or of one network.
        state: its tensors. Half precision becomes float32.
        what: their file, for messages.

    Returns:
        A `PSP` for a whole model; in evaluation mode and frozen, on the CPU.

    Raises:
        ConfigError: the configuration makes no sense.
        FormatError: the tensors do not fit it.
    """
    state = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    _check_numbers(config, max((max(v.shape, default=0) for v in state.values()), default=0))
    with Placeholders(len(state) + SPARE_TENSORS):
        network = _build(config)
    lacking = set()
    if isinstance(network, PSP):  # foreign generators can come without a mean code
        means = {"generator.mean_w": network.generator.mean_w, "mean_codes": network.mean_codes}
        lacking = means.keys() - state.keys()
        state |= {name: torch.zeros(means[name].shape) for name in lacking}
    load_strict(network, state, what, assign=True)
    if any(tensor.is_meta for tensor in chain(network.parameters(), network.buffers())):
        network = _build(config)  # it has constants that are in no file; its size is checked
        load_strict(network, state, what, assign=True)
    if isinstance(network, PSP):
        if "generator.mean_w" in lacking:
            logger.info("%s has no mean code; estimating it from 100,000 samples", what)
            network.generator.mean_w = network.generator.estimate_mean_w()
        if "mean_codes" in lacking:
            network.mean_codes = network.generator.mean_w.expand_as(network.mean_codes).clone()
    return network.eval().requires_grad_(False)


def _build(config: ModelConfig | Part) -> nn.Module:
    if isinstance(config, Part):
        return build(config)
    generator = build(config.generator, GENERATORS)
    generator.weights_id = config.generator_id or ""
    encoder = build(config.encoder, ENCODERS) if config.encoder else None
    corrector = build(config.corrector, CORRECTORS) if config.corrector else None
    return PSP(encoder, generator, config, corrector)


def _check_numbers(config: ModelConfig | Part, dimension: int) -> None:
    """Refuse numbers that no network of this file can have, before loops run to them."""
    limit = max(LARGEST, dimension)

    def check(value: object) -> None:
        if isinstance(value, int) and abs(value) > limit:
            raise ConfigError(f"its configuration has {value:.3g}, and no tensor is so large")
        if isinstance(value, Mapping):
            value = tuple(value.values())
        if isinstance(value, tuple):
            for item in value:
                check(item)

    parts = (config,) if isinstance(config, Part) else tuple(config.parts.values())
    for part in parts:
        check(part.options)
