"""One process, or several that train together: devices, sums over processes, shared gradients.

A single process needs nothing but torch. Several, on one machine or more, go through Lightning
Fabric (in `wplus[train]`), which starts them or joins those that `torchrun` or a cluster started.
"""

from __future__ import annotations

import logging
import os
import warnings
from contextlib import AbstractContextManager, nullcontext, suppress
from inspect import isfunction
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from wplus.errors import ConfigError
from wplus.training.config import RunSettings

logger = logging.getLogger(__name__)


class SingleProcess:
    """One process; the base of `Distributed`.

    Attributes:
        rank: of this process; 0 writes files and reports.
        world: number of processes.
        device: of this process.
    """

    def __init__(self, device: torch.device) -> None:
        self.rank, self.world, self.device = 0, 1, device

    def wrap(self, network: nn.Module, compiled: bool = False) -> nn.Module:
        """The trained network, wrapped so that its gradients are averaged over processes.

        The wrapper has the network's attributes and methods. Compilation is in place, so that it
        holds for methods that call the network, too.
        """
        if compiled:
            network.compile()
        return network

    def unsynced(self, wrapped: nn.Module, enabled: bool) -> AbstractContextManager[Any]:
        """Where `enabled`, keep the gradients of a wrapped network local: another part follows."""
        return nullcontext()

    def sum(self, values: Tensor) -> Tensor:
        """Sum of a tensor over processes."""
        return values

    def wait(self) -> None:
        """Wait until every process is here."""


class _Wrapped(DistributedDataParallel):
    """A distributed network with the attributes and methods of the one inside.

    Methods are bound to the wrapper: those that call the network, as `Encoder.encode` does, call
    the wrapper, without which gradients would not be averaged.
    """

    def __getattr__(self, name: str) -> Any:
        with suppress(AttributeError):
            return super().__getattr__(name)
        module = super().__getattr__("module")
        method = getattr(type(module), name, None)
        return MethodType(method, self) if isfunction(method) else getattr(module, name)


class Distributed(SingleProcess):
    """Several processes, each with a copy of the networks (distributed data parallel).

    Raises:
        ConfigError: Lightning Fabric is not installed, or the processes cannot be started.
    """

    def __init__(self, kind: str, devices: int, nodes: int) -> None:
        try:
            from lightning_fabric import Fabric
        except ImportError:
            raise ConfigError(
                "training with several processes needs Lightning Fabric: pip install 'wplus[train]'"
            ) from None
        try:
            self._fabric = Fabric(
                accelerator=kind, devices=devices, num_nodes=nodes, strategy="ddp"
            )
            self._fabric.launch()
        except (RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise ConfigError(f"{devices} × {kind} cannot be used here: {reason}") from None
        super().__init__(self._fabric.device)
        self.rank, self.world = self._fabric.global_rank, self._fabric.world_size

    def wrap(self, network: nn.Module, compiled: bool = False) -> nn.Module:
        """See `SingleProcess.wrap`. Batch norms see the whole batch on GPUs, not on CPUs."""
        if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules()):
            if self.device.type == "cuda":
                network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
            elif self.rank == 0:
                logger.warning(
                    "this network has batch norms: on CPUs each process normalizes its own part of"
                    " the batch"
                )
        network = super().wrap(network, compiled)
        # The stride of depthwise weights is ambiguous; DDP warns about a harmless difference.
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
        return _Wrapped(
            network,
            device_ids=[self.device] if self.device.type == "cuda" else None,
            gradient_as_bucket_view=True,
        )

    def unsynced(self, wrapped: nn.Module, enabled: bool) -> AbstractContextManager[Any]:
        """See `SingleProcess.unsynced`."""
        assert isinstance(wrapped, DistributedDataParallel)  # by `wrap`
        return wrapped.no_sync() if enabled else nullcontext()

    def sum(self, values: Tensor) -> Tensor:
        """See `SingleProcess.sum`."""
        total = self._fabric.all_reduce(values.to(self.device), reduce_op="sum")
        assert isinstance(total, Tensor)
        return total

    def wait(self) -> None:
        """See `SingleProcess.wait`."""
        self._fabric.barrier()


def start(run: RunSettings) -> SingleProcess:
    """Start, or join, the processes that the settings name.

    Under `torchrun` its numbers count, and `devices` and `nodes` are ignored.

    Raises:
        ConfigError: there is no such device, or Lightning Fabric is needed and missing.
    """
    name = run.device if run.device != "auto" else _best()
    devices, nodes = run.devices, run.nodes
    if "TORCHELASTIC_RUN_ID" in os.environ:
        local, world = (int(os.environ.get(f"{x}WORLD_SIZE", "1")) for x in ("LOCAL_", ""))
        devices, nodes = local, max(1, world // local)
    if devices > (most := _most(name)):
        raise ConfigError(f"--devices {devices}: this machine has {most} for training on {name}")
    if devices * nodes > 1:
        if ":" in name:
            raise ConfigError(f"device {name!r} is one device, but {devices * nodes} are asked for")
        return Distributed(name, devices, nodes)
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # "meta" has no values
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device {run.device!r} cannot be used here: {reason}") from None
    return SingleProcess(device)


def _most(name: str) -> int:
    """Processes that train at once without standing in each other's way."""
    if name.startswith("cuda"):
        return max(1, torch.cuda.device_count())
    return 2 * (os.cpu_count() or 1) if name.startswith("cpu") else 1


def _best() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
