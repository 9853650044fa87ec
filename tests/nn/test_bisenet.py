"""BiSeNet against the published layout written out with plain functions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from wplus.formats.bisenet import ORDER, bisenet_table, translate_bisenet
from wplus.formats.strict import inverse, load_strict, rename
from wplus.nn.bisenet import BiSeNet


def published_forward(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """Scores from pictures as ImageNet has them, from tensors under the published names."""

    def conv(x: Tensor, c: str, n: str = "", stride: int = 1, relu: bool = True) -> Tensor:
        weight = state[f"{c}.weight"]
        x = functional.conv2d(x, weight, None, stride, weight.shape[-1] // 2)
        if n:
            stats = state[f"{n}.running_mean"], state[f"{n}.running_var"]
            x = functional.batch_norm(x, *stats, state[f"{n}.weight"], state[f"{n}.bias"])
        return functional.relu(x) if relu else x

    def block(x: Tensor, name: str) -> Tensor:
        return conv(x, f"{name}.conv", f"{name}.bn")

    def refined(x: Tensor, name: str) -> Tensor:
        features = block(x, f"{name}.conv")
        mean = functional.adaptive_avg_pool2d(features, 1)
        weight = conv(mean, f"{name}.conv_atten", f"{name}.bn_atten", relu=False)
        return features * torch.sigmoid(weight)

    def up(x: Tensor, like: Tensor) -> Tensor:
        return functional.interpolate(x, like.shape[2:], mode="nearest")

    size = x.shape[2:]
    x = functional.max_pool2d(conv(x, "cp.resnet.conv1", "cp.resnet.bn1", 2), 3, 2, 1)
    features = []
    for stage in range(1, 5):
        for i in range(2):
            name, stride = f"cp.resnet.layer{stage}.{i}", 2 if stage > 1 and i == 0 else 1
            y = conv(x, f"{name}.conv1", f"{name}.bn1", stride)
            y = conv(y, f"{name}.conv2", f"{name}.bn2", relu=False)
            if f"{name}.downsample.0.weight" in state:
                x = conv(x, f"{name}.downsample.0", f"{name}.downsample.1", stride, relu=False)
            x = functional.relu(x + y)
        features.append(x)
    _, at_8, at_16, at_32 = features
    whole = block(functional.adaptive_avg_pool2d(at_32, 1), "cp.conv_avg")
    coarse = refined(at_32, "cp.arm32") + up(whole, at_32)
    coarse = block(up(coarse, at_16), "cp.conv_head32")
    coarse = refined(at_16, "cp.arm16") + coarse
    coarse = block(up(coarse, at_8), "cp.conv_head16")
    both = block(torch.cat([at_8, coarse], 1), "ffm.convblk")
    mean = functional.adaptive_avg_pool2d(both, 1)
    weight = torch.sigmoid(conv(conv(mean, "ffm.conv1"), "ffm.conv2", relu=False))
    both = both * weight + both
    scores = conv(block(both, "conv_out.conv"), "conv_out.conv_out", relu=False)
    return functional.interpolate(scores, size, mode="bilinear", align_corners=True)


def net() -> BiSeNet:
    """A narrow one, its statistics away from their initial values."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = BiSeNet(19, width=4)
        made.train()(torch.randn(4, 3, 96, 96))
    return made.eval()


def test_equals_the_published_layout_in_celebamask_order() -> None:
    ours = net()
    published = rename(ours.state_dict(), inverse(bisenet_table()), "the net")
    images = torch.rand(2, 3, 64, 96) * 2 - 1
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    seen = ((images + 1) / 2 - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
    config, state = translate_bisenet(published)
    reader = BiSeNet(**config).eval()
    load_strict(reader, state, "the file")
    with torch.no_grad():
        expected = published_forward(published, seen)
        torch.testing.assert_close(ours(images), expected, atol=1e-5, rtol=1e-4)
        found = reader(images)
    torch.testing.assert_close(found, expected[:, list(ORDER)], atol=1e-5, rtol=1e-4)
    assert found.shape == (2, 19, 64, 96)


def test_the_published_network_has_thirteen_million_parameters() -> None:
    with torch.device("meta"):
        made = BiSeNet()
    assert set(made.state_dict()) == set(bisenet_table().values())
    # ResNet-18 without its classifier is 11,176,512 of them.
    assert sum(p.numel() for p in made.parameters()) > 11_176_512
