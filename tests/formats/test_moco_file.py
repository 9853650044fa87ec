"""MoCo's file: the query encoder without its projection, strictly and safely."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from wplus.errors import FormatError
from wplus.formats.moco import moco_table, read_moco
from wplus.formats.strict import inverse, rename
from wplus.losses.similarity import load_moco
from wplus.nn.resnet import ResNet

BLOCKS = (2, 1)


def published() -> tuple[ResNet, dict[str, Tensor]]:
    """A tiny net, and what its MoCo checkpoint holds."""
    net = ResNet(BLOCKS, width=4).eval()
    encoder = rename(net.state_dict(), inverse(moco_table(BLOCKS)), "net")
    state = {f"module.encoder_q.{name}": value for name, value in encoder.items()}
    state |= {f"module.encoder_k.{name}": torch.zeros(1) for name in encoder}
    state |= {
        f"module.encoder_q.fc.{i}.{x}": torch.ones(1) for i in (0, 2) for x in ("weight", "bias")
    }
    state |= {"module.queue": torch.ones(1), "module.queue_ptr": torch.zeros(1)}
    return net, state


def save(state: object, path: Path) -> Path:
    torch.save({"epoch": 800, "arch": "resnet50", "state_dict": state}, path)
    return path


def test_the_query_encoder_is_read(tmp_path: Path) -> None:
    net, state = published()
    file = save(state, tmp_path / "moco.pth.tar")
    config, _ = read_moco(file)
    assert config == {"blocks": BLOCKS, "width": 4, "input_channels": 3}
    loaded = load_moco(file)
    assert not loaded.training
    x = torch.randn(2, 3, 40, 40)
    torch.testing.assert_close(loaded(x), net(x))


def test_the_released_file_without_the_key_encoder_is_read(tmp_path: Path) -> None:
    _, state = published()
    state = {k: v for k, v in state.items() if k.startswith("module.encoder_q.")}
    load_moco(save(state, tmp_path / "moco.pth.tar"))


def test_faults_are_named(tmp_path: Path) -> None:
    file = tmp_path / "moco.pth.tar"
    for name in ("layer1.1.bn2.running_mean", "layer2.0.downsample.0.weight", "bn1.weight"):
        _, state = published()
        del state[f"module.encoder_q.{name}"]
        with pytest.raises(FormatError, match=rf"moco\.pth\.tar: lacks encoder_q\.{name}$"):
            read_moco(save(state, file))
    _, state = published()
    with pytest.raises(FormatError, match=r"has unexpected encoder_q\.layer9\.0\.x$"):
        read_moco(save(state | {"module.encoder_q.layer9.0.x": torch.ones(1)}, file))
    with pytest.raises(FormatError, match=r"has unexpected conv2\.weight$"):
        read_moco(save(state | {"conv2.weight": torch.ones(1)}, file))
    with pytest.raises(FormatError, match="not a MoCo ResNet"):
        read_moco(save({}, file))
    with pytest.raises(FormatError, match="holds a int at x"):
        read_moco(save({"x": 1}, file))
    torch.save([1], file)
    with pytest.raises(FormatError, match="not a table of tensors"):
        read_moco(file)
    state["module.encoder_q.layer1.0.conv2.weight"] = torch.zeros(4, 4, 1, 1)
    with pytest.raises(FormatError, match=r"stages\.0\.0\.spread\.conv\.weight \(4, 4, 1, 1\)"):
        load_moco(save(state, file))
