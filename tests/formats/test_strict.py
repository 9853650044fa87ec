"""Wrong names and shapes are refused, by name."""

import pytest
import torch
from torch import nn

from wplus.errors import FormatError
from wplus.formats.strict import (
    check_names,
    inverse,
    load_strict,
    norm_names,
    rename,
    tensors_of,
)


def test_missing_and_unexpected_names_are_listed() -> None:
    with pytest.raises(FormatError) as error:
        check_names(["a", "c"], ["a", "b"], "net.pth")
    assert str(error.value) == "net.pth: lacks b and has unexpected c"
    with pytest.raises(FormatError, match=r"lacks n00, n01, n02, n03, n04, … \(9 in all\)$"):
        check_names([], [f"n{i:02}" for i in range(9)], "net.pth")
    check_names(["b", "a"], ["a", "b"], "net.pth")


def test_renaming_there_and_back() -> None:
    table = {"x.weight": "y.weight", **norm_names("bn", "norm")}
    state = {name: torch.rand(2) for name in table}
    ours = rename(state, table, "file")
    assert set(ours) == set(table.values())
    back = rename(ours, inverse(table), "file")
    assert back.keys() == state.keys()
    assert all(back[name] is state[name] for name in state)


def test_counters_that_old_files_lack_are_filled_in() -> None:
    table = norm_names("bn", "norm")
    old = {name: torch.rand(2) for name in table if "num_batches" not in name}
    counter = rename(old, table, "file")["norm.num_batches_tracked"]
    assert counter.dtype == torch.int64
    assert counter.item() == 0
    del old["bn.running_var"]
    with pytest.raises(FormatError, match=r"lacks bn\.running_var$"):
        rename(old, table, "file")


def test_a_table_that_merges_names_is_refused() -> None:
    with pytest.raises(ValueError, match="become one"):
        inverse({"a": "c", "b": "c"})


@pytest.mark.parametrize("content", [[1], 3, {"a": 1}, {1: torch.zeros(1)}, {"a": {"b": 2}}])
def test_what_is_not_a_table_of_tensors_is_refused(content: object) -> None:
    with pytest.raises(FormatError, match=r"^net\.pth: holds a"):
        tensors_of(content, "net.pth")


def test_loading_checks_names_and_shapes() -> None:
    net = nn.Linear(3, 2)
    good = {"weight": torch.ones(2, 3), "bias": torch.ones(2)}
    load_strict(net, good, "net.pth")
    assert net.weight.sum() == 6
    with pytest.raises(FormatError, match=r"weight \(3, 2\) for \(2, 3\)"):
        load_strict(net, good | {"weight": torch.ones(3, 2)}, "net.pth")
    with pytest.raises(FormatError, match="unexpected more"):
        load_strict(net, good | {"more": torch.ones(1)}, "net.pth")


def test_loading_onto_the_meta_device_takes_the_tensors_themselves() -> None:
    with torch.device("meta"):
        net = nn.Linear(3, 2)
    state = {"weight": torch.ones(2, 3), "bias": torch.ones(2)}
    load_strict(net, state, "net.pth", assign=True)
    assert net.weight.data_ptr() == state["weight"].data_ptr()
