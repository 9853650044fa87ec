"""Ranger: rectified Adam, lookahead and centralized gradients in one optimizer."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer

from wplus.errors import ConfigError

MIN_SMA = 5.0
"""Length of the moving average above which the second moment is trusted (RAdam, algorithm 2)."""

# Values that move together, whose temporaries stand in memory at once. A CPU is twice as fast when
# they fit its cache; a GPU wants few launches, but not 3 GB of temporaries for a model of 1 GB.
BATCH = {"cpu": 1 << 18, "cuda": 1 << 24}

STATE = ("step", "exp_avg", "exp_avg_sq", "slow")


class Ranger(Optimizer):
    """The optimizer of "Encoding in Style" (implementation details), step by step as published.

    With g the gradient, of which tensors of two or more dimensions lose the mean over all but the
    first (Yong et al. 2020), the step t of a weight θ with first and second moments m and v is

        ρ∞ = 2/(1 - β₂) - 1,    ρ = ρ∞ - 2t·β₂ᵗ/(1 - β₂ᵗ)
        θ ← θ - lr·r/(1 - β₁ᵗ) · m/(√v + ε)     if ρ > 5
        θ ← θ - lr/(1 - β₁ᵗ) · m                otherwise
        r = √((1 - β₂ᵗ) · (ρ - 4)(ρ - 2)ρ∞ / ((ρ∞ - 4)(ρ∞ - 2)ρ))

    (Liu et al. 2020; ε is added to √v before its bias is corrected, which the factor 1 - β₂ᵗ does).
    After every k-th step the slow weights s, which start at the first weights, and θ become
    s + α·(θ - s) (Zhang et al. 2019).

    Every parameter counts its own steps: those without a gradient wait, and those added late start
    as if the others had not begun. State is kept in the precision of the parameters, which must be
    float32 or float64: steps of 1e-4 vanish in the 8 bits of a bfloat16. For speed run the networks
    under `torch.autocast`.

    Args:
        params: tensors, or groups with settings of their own, as every torch optimizer takes them.
        lr: learning rate, 0 or more.
        betas: β₁ and β₂, in [0, 1).
        eps: ε, above 0.
        weight_decay: every step also scales the weights by 1 - lr·weight_decay.
        k: steps between two of the slow weights.
        alpha: α, in (0, 1].

    Raises:
        ConfigError: a setting out of range, or parameters that are not float32 or float64.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.95, 0.999),
        eps: float = 1e-5,
        weight_decay: float = 0.0,
        k: int = 6,
        alpha: float = 0.5,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "k": k,
            "alpha": alpha,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters, with settings of their own if given.

        Raises:
            ConfigError: a setting out of range, or parameters that are not float32 or float64.
        """
        super().add_param_group(param_group)
        try:
            _check(self.param_groups[-1])
            for p in self.param_groups[-1]["params"]:
                if p.dtype not in (torch.float32, torch.float64):
                    raise ConfigError(
                        f"Ranger moves float32 weights, not {p.dtype}; train float32 ones, under"
                        " torch.autocast for speed"
                    )
        except ConfigError:
            self.param_groups.pop()
            raise

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Move every parameter that has a gradient. Gradients are left as they are.

        Args:
            closure: computes the loss and its gradients anew.

        Returns:
            What the closure returned.

        Raises:
            ConfigError: a gradient is sparse; no parameter has moved then.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        moved = [[p for p in group["params"] if p.grad is not None] for group in self.param_groups]
        if any(p.grad.layout is not torch.strided for params in moved for p in params):
            raise ConfigError(
                "Ranger takes no sparse gradients; build the embedding with sparse=False"
            )
        for group, params in zip(self.param_groups, moved):
            for step, batch in self._batches(params):
                self._move(batch, step, group)
        return loss

    def _batches(self, params: list[Tensor]) -> Iterator[tuple[int, list[Tensor]]]:
        """Parameters that can move in one go, with the number of the step they are to take."""
        alike: dict[tuple[int, torch.device, torch.dtype], list[Tensor]] = defaultdict(list)
        for p in params:
            state = self.state[p]
            if not state:
                state["step"] = 0
                state["exp_avg"] = torch.zeros_like(p)
                state["exp_avg_sq"] = torch.zeros_like(p)
                state["slow"] = p.detach().clone()
            state["step"] += 1
            alike[state["step"], p.device, p.dtype].append(p)
        for (step, device, _), members in alike.items():
            room = BATCH.get(device.type, BATCH["cuda"])
            batch: list[Tensor] = []
            values = 0
            for p in members:
                if batch and values + p.numel() > room:
                    yield step, batch
                    batch, values = [], 0
                batch.append(p)
                values += p.numel()
            yield step, batch

    def _move(self, params: list[Tensor], step: int, group: dict[str, Any]) -> None:
        lr, (beta1, beta2) = group["lr"], group["betas"]
        first, second, slow = ([self.state[p][key] for p in params] for key in STATE[1:])
        gradients = [_centralized(p.grad) for p in params if p.grad is not None]

        torch._foreach_mul_(second, beta2)
        torch._foreach_addcmul_(second, gradients, gradients, 1 - beta2)
        torch._foreach_mul_(first, beta1)
        torch._foreach_add_(first, gradients, alpha=1 - beta1)

        if group["weight_decay"]:
            torch._foreach_mul_(params, 1 - lr * group["weight_decay"])
        rate = lr / (1 - beta1**step)
        rectifier = _rectifier(step, beta2)
        if rectifier is None:
            torch._foreach_add_(params, first, alpha=-rate)
        else:
            scale = torch._foreach_sqrt(second)
            torch._foreach_add_(scale, group["eps"])
            torch._foreach_addcdiv_(params, first, scale, -rate * rectifier)

        if step % group["k"] == 0:
            torch._foreach_lerp_(slow, params, group["alpha"])
            torch._foreach_copy_(params, slow)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the optimizer that gave `state_dict` stood, bit for bit.

        Raises:
            ConfigError: the state is another optimizer's, or of parameters of other shapes.
            ValueError: it has other groups of parameters (from torch).
        """
        groups = state_dict["param_groups"]
        if any(set(self.defaults) - set(group) for group in groups):
            raise ConfigError("this is the state of another optimizer than Ranger; it cannot go on")
        for group in groups:
            _check(group)
        places = [place for group in groups for place in group["params"]]
        params = [p for group in self.param_groups for p in group["params"]]
        for place, p in zip(places, params):
            state = state_dict["state"].get(place)
            if state is None:  # it never had a gradient
                continue
            if set(state) != set(STATE) or not isinstance(state["step"], int):
                raise ConfigError("this is the state of another optimizer than Ranger")
            shapes = {tuple(state[key].shape) for key in STATE[1:]}
            if shapes != {tuple(p.shape)}:
                raise ConfigError(
                    f"the optimizer's state is of other parameters: {shapes.pop()} stands where the"
                    f" model has {tuple(p.shape)}"
                )
        super().load_state_dict(state_dict)


def _centralized(gradient: Tensor) -> Tensor:
    if gradient.ndim < 2:
        return gradient
    return gradient - gradient.mean(tuple(range(1, gradient.ndim)), keepdim=True)


def _rectifier(step: int, beta2: float) -> float | None:
    """The factor r of the class's formula; None while ρ <= 5."""
    decay = beta2**step
    longest = 2 / (1 - beta2) - 1
    length = longest - 2 * step * decay / (1 - decay)
    if length <= MIN_SMA:
        return None
    variance = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
    return math.sqrt((1 - decay) * variance)


def _check(group: dict[str, Any]) -> None:
    beta1, beta2 = group["betas"]
    rules = (
        ("lr", 0 <= group["lr"] < math.inf, "must be 0 or more"),
        ("betas", 0 <= beta1 < 1 and 0 <= beta2 < 1, "must both be in [0, 1)"),
        ("eps", 0 < group["eps"] < math.inf, "must be above 0"),
        ("weight_decay", 0 <= group["weight_decay"] < math.inf, "must be 0 or more"),
        ("k", isinstance(group["k"], int) and group["k"] >= 1, "must be a whole number from 1 up"),
        ("alpha", 0 < group["alpha"] <= 1, "must be in (0, 1]"),
    )
    for name, right, rule in rules:
        if not right:
            raise ConfigError(f"Ranger's {name} {rule}, not {group[name]!r}")
