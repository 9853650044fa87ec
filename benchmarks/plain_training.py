"""A training step as the paper reads and as it is usually run, for comparison.

Standard layers on contiguous NCHW activations, one after the other as the paper names them. The
target goes through LPIPS and the face network in every step, and so does the source, which for
inversion is the same picture. Frozen networks are frozen by not being handed to the optimizer; what
that costs is the caller's choice, who says which tensors take gradients. Networks are functions of
the tensors of ours, so both compute the same losses.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from plain_stylegan2 import PlainStyleGAN2
from torch import Tensor

from wplus.losses.perceptual import NETS, SCALE, SHIFT
from wplus.nn.irse import STAGES_50

State = Mapping[str, Tensor]


def norm(state: State, name: str, x: Tensor, training: bool) -> Tensor:
    """Batch norm; in training it moves its running statistics."""
    mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    return F.batch_norm(x, mean, variance, weight, bias, training)


def trunk(state: State, x: Tensor, training: bool) -> list[Tensor]:
    """(N, C, H, W) to the features after each of the 24 units of IR-SE-50."""
    x = F.conv2d(x, state["trunk.stem.conv.weight"], padding=1)
    x = norm(state, "trunk.stem.norm", x, training)
    x = F.prelu(x, state["trunk.stem.act.weight"])
    found: list[Tensor] = []
    for _, units in STAGES_50:
        for unit in range(units):
            name, stride = f"trunk.units.{len(found)}", 1 if unit else 2
            if f"{name}.shortcut.conv.weight" in state:
                shortcut = F.conv2d(x, state[f"{name}.shortcut.conv.weight"], stride=stride)
                shortcut = norm(state, f"{name}.shortcut.norm", shortcut, training)
            else:
                shortcut = F.max_pool2d(x, 1, stride)
            x = norm(state, f"{name}.norm_in", x, training)
            x = F.conv2d(x, state[f"{name}.conv1.weight"], padding=1)
            x = F.prelu(x, state[f"{name}.act.weight"])
            x = F.conv2d(x, state[f"{name}.conv2.weight"], stride=stride, padding=1)
            x = norm(state, f"{name}.norm_out", x, training)
            gate = F.adaptive_avg_pool2d(x, 1)
            gate = F.relu(F.conv2d(gate, state[f"{name}.excite.squeeze.weight"]))
            gate = torch.sigmoid(F.conv2d(gate, state[f"{name}.excite.expand.weight"]))
            x = x * gate + shortcut
            found.append(x)
    return found


def encode(state: State, x: Tensor) -> Tensor:
    """(N, 3, 256, 256) to offsets (N, L, 512): trunk, pyramid, a head for each style."""
    features = trunk(state, x, training=True)
    fine, medium, coarse = features[6], features[20], features[23]
    levels = [coarse]
    for i, feature in enumerate((medium, fine)):
        lateral = F.conv2d(feature, state[f"laterals.{i}.weight"], state[f"laterals.{i}.bias"])
        up = F.interpolate(levels[-1], lateral.shape[2:], mode="bilinear", align_corners=True)
        levels.append(up + lateral)
    count = sum(name.endswith("linear.weight") for name in state)
    codes = []
    for style in range(count):
        x = levels[0 if style < 3 else 1 if style < 7 else 2]
        for step in range(x.shape[-1].bit_length() - 1):
            name = f"styles.{style}.convs.{step}"
            x = F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], stride=2, padding=1)
            x = F.leaky_relu(x, 0.01)
        weight = state[f"styles.{style}.linear.weight"]
        weight = weight * (1 / math.sqrt(weight.shape[1]))
        codes.append(F.linear(x.flatten(1), weight, state[f"styles.{style}.linear.bias"]))
    return torch.stack(codes, dim=1)


def perceptual(state: State, a: Tensor, b: Tensor) -> Tensor:
    """LPIPS (AlexNet), a mean over the batch."""
    total = torch.zeros(())
    for number, (x, y) in enumerate(zip(_unit_features(state, a), _unit_features(state, b))):
        total = total + F.conv2d((x - y) ** 2, state[f"heads.{number}"]).mean((1, 2, 3))
    return total.mean()


def _unit_features(state: State, x: Tensor) -> list[Tensor]:
    x = (x - torch.tensor(SHIFT)[:, None, None]) / torch.tensor(SCALE)[:, None, None]
    found = []
    for i, layer in enumerate(NETS["alexnet"]):
        if layer.pool:
            x = F.max_pool2d(x, layer.pool, 2)
        weight, bias = state[f"convs.{i}.weight"], state[f"convs.{i}.bias"]
        x = F.relu(F.conv2d(x, weight, bias, layer.stride, layer.padding))
        found.append(x / (torch.sqrt((x**2).sum(1, keepdim=True)) + 1e-10))
    return found


def embed(state: State, x: Tensor) -> Tensor:
    """(N, 3, 256, 256) to unit vectors (N, 512)."""
    x = F.adaptive_avg_pool2d(x[:, :, 35:223, 32:220], 112)
    x = norm(state, "norm_in", trunk(state, x, training=False)[-1], False)
    x = F.linear(x.flatten(1), state["embed.weight"], state["embed.bias"])
    x = norm(state, "norm_out", x, False)
    return F.normalize(x)


def identity(face: State, output: Tensor, target: Tensor, source: Tensor) -> tuple[Tensor, float]:
    """1 - cosine to the target, and the gain of the output over the source."""
    of_source, of_target = embed(face, source), embed(face, target)
    of_output = embed(face, output)
    of_target = of_target.detach()
    reached = (of_output * of_target).sum(1)
    before = (of_source * of_target).sum(1)
    return (1 - reached).mean(), float((reached - before).mean().detach())


@dataclass(frozen=True)
class PlainStep:
    """Forward, losses, backward, optimizer.

    Attributes:
        encoder, generator, face, lpips: tensors of our networks, by name.
        mean_codes: (L, 512).
        weights: of l2, lpips and id.
    """

    encoder: State
    generator: State
    face: State
    lpips: State
    mean_codes: Tensor
    weights: Mapping[str, float]

    def losses(self, source: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The terms of a batch, and `loss`."""
        codes = encode(self.encoder, source) + self.mean_codes
        output = PlainStyleGAN2(self.generator).synthesize(codes)
        output = F.adaptive_avg_pool2d(output, 256)
        of_identity, gain = identity(self.face, output, target, source)
        terms = {
            "l2": F.mse_loss(output, target),
            "lpips": perceptual(self.lpips, output, target),
            "id": of_identity,
        }
        loss = sum((terms[name] * weight for name, weight in self.weights.items()), torch.zeros(()))
        return {**terms, "id_gain": torch.tensor(gain), "loss": loss}

    def __call__(self, source: Tensor, target: Tensor, optimizer: PlainRanger) -> dict[str, float]:
        """One step."""
        optimizer.zero_grad()
        terms = self.losses(source, target)
        torch.autograd.backward(terms["loss"])
        optimizer.step()
        return {name: float(value.detach()) for name, value in terms.items()}


class PlainRanger:
    """Rectified Adam, lookahead and centralized gradients, a tensor at a time.

    Args:
        parameters: what is moved.
        rate: learning rate.
    """

    def __init__(self, parameters: Iterable[Tensor], rate: float) -> None:
        self.parameters: Sequence[Tensor] = list(parameters)
        self.rate, self.steps = rate, 0
        self.first = [torch.zeros_like(p) for p in self.parameters]
        self.second = [torch.zeros_like(p) for p in self.parameters]
        self.slow = [p.detach().clone() for p in self.parameters]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for p in self.parameters:
            p.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move everything."""
        self.steps += 1
        t, beta1, beta2 = self.steps, 0.95, 0.999
        longest = 2 / (1 - beta2) - 1
        length = longest - 2 * t * beta2**t / (1 - beta2**t)
        for p, first, second, slow in zip(self.parameters, self.first, self.second, self.slow):
            assert p.grad is not None
            gradient = p.grad
            if gradient.ndim > 1:
                over = tuple(range(1, gradient.ndim))
                gradient = gradient - gradient.mean(over, keepdim=True)
            second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
            first.mul_(beta1).add_(gradient, alpha=1 - beta1)
            rate = self.rate / (1 - beta1**t)
            if length > 5:
                above = (length - 4) * (length - 2) * longest
                below = (longest - 4) * (longest - 2) * length
                rate *= math.sqrt((1 - beta2**t) * above / below)
                p.addcdiv_(first, second.sqrt().add_(1e-5), value=-rate)
            else:
                p.add_(first, alpha=-rate)
            if t % 6 == 0:
                slow.add_(p - slow, alpha=0.5)
                p.copy_(slow)
