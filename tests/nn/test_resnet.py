"""The ResNet against the published layout written out with plain functions."""

import torch
from torch import Tensor
from torch.nn import functional

from wplus.formats.moco import moco_table
from wplus.formats.strict import inverse, rename
from wplus.nn.resnet import ResNet


def published_forward(state: dict[str, Tensor], x: Tensor, blocks: tuple[int, ...]) -> Tensor:
    """Mean features from tensors under the published names (ResNet v1.5: stride in the 3x3)."""

    def conv(x: Tensor, c: str, n: str, stride: int = 1) -> Tensor:
        kernel = state[f"{c}.weight"].shape[-1]
        x = functional.conv2d(x, state[f"{c}.weight"], None, stride, kernel // 2)
        stats = state[f"{n}.running_mean"], state[f"{n}.running_var"]
        return functional.batch_norm(x, *stats, state[f"{n}.weight"], state[f"{n}.bias"])

    x = functional.relu(conv(x, "conv1", "bn1", 2))
    x = functional.max_pool2d(x, 3, 2, 1)
    for s, count in enumerate(blocks, start=1):
        for i in range(count):
            name, stride = f"layer{s}.{i}", 2 if s > 1 and i == 0 else 1
            y = functional.relu(conv(x, f"{name}.conv1", f"{name}.bn1"))
            y = functional.relu(conv(y, f"{name}.conv2", f"{name}.bn2", stride))
            y = conv(y, f"{name}.conv3", f"{name}.bn3")
            if f"{name}.downsample.0.weight" in state:
                x = conv(x, f"{name}.downsample.0", f"{name}.downsample.1", stride)
            x = functional.relu(x + y)
    return functional.adaptive_avg_pool2d(x, 1).flatten(1)


def test_equals_the_published_layout() -> None:
    torch.manual_seed(0)
    blocks = (2, 1, 2)
    net = ResNet(blocks, width=4)
    net.train()(torch.randn(8, 3, 64, 64))  # statistics away from their initial values
    net.eval()
    published = rename(net.state_dict(), inverse(moco_table(blocks)), "the net")
    x = torch.randn(2, 3, 50, 64)
    with torch.no_grad():
        actual, expected = net(x), published_forward(published, x, blocks)
    assert actual.shape == (2, 4 * 4 * 4) == (2, net.channels)
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


def test_fifty_layers_are_those_of_moco() -> None:
    with torch.device("meta"):
        net = ResNet()
    assert net.channels == 2048
    assert (
        sum(p.numel() for p in net.parameters()) == 23_508_032
    )  # ResNet-50 without its classifier
    assert set(net.state_dict()) == set(moco_table((3, 4, 6, 3)).values())
