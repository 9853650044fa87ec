"""Every setting of a training run, in groups; checked on construction, saved with the run.

Defaults are the paper's ("Encoding in Style", implementation details, and its released code) where
it names a value. Nothing here imports torch: the command's help is generated from these tables.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from wplus import tasks
from wplus.errors import ConfigError
from wplus.files import atomic, parse_json
from wplus.losses import LOSSES, check_weights
from wplus.losses.registry import networks_for
from wplus.training.settings import Option, Settings, check, setting, table

FILE = "config.json"
STATES = "states"  # the folder of the states from which a run is resumed


@dataclass(frozen=True)
class DataSettings(Settings):
    """Training and validation data."""

    data: tuple[str, ...] = setting(
        (), "Folders of images or of rendered samples (.npz), or lists of files (.csv, .txt).",
        changeable=True,
    )  # fmt: skip
    sources: str | None = setting(
        None, "Folder of the encoder's inputs, paired by name with --data.", changeable=True
    )
    source_suffix: str = setting("", "End of the names of sources, such as _edges.")
    target_suffix: str = setting("", "End of the names of targets.")
    skip_unpaired: bool = setting(False, "Leave out files that do not pair, instead of refusing.")
    shares: tuple[float, ...] = setting(
        (), "Relative frequency of each of --data; by default its number of images."
    )
    synthetic: float = setting(
        0.0, "Share of examples sampled from the generator.", low=0.0, high=1.0
    )
    truncation: tuple[float, ...] = setting(
        (0.5, 1.0), "Lowest and highest ψ of synthetic examples."
    )
    mixing: float = setting(
        0.5, "Share of synthetic examples whose code mixes two styles.", low=0.0, high=1.0
    )
    augment: bool = setting(False, "Degrade the encoder's photographs as cameras and the web do.")
    vary: bool = setting(
        False,
        "Rotate, shift and recolor photographs slightly, source and target alike; for small data"
        " sets.",
    )
    in_memory: bool = setting(False, "Keep decoded images in memory.", changeable=True)
    validation: str | None = setting(
        None, "Folder or list of images to validate on.", changeable=True
    )
    validation_sources: str | None = setting(
        None, "Folder of sources, paired by name with --validation.", changeable=True
    )
    hold_out: int = setting(
        0, "Number of images of --data to validate on, instead of --validation.", low=0
    )
    check: bool = setting(True, "Check every file before training starts.", changeable=True)
    workers: int = setting(2, "Processes that read images.", low=0, changeable=True)


@dataclass(frozen=True)
class NetworkSettings(Settings):
    """The encoder, its initialization, and the generator that it is trained through."""

    generator: str | None = setting(
        None, "A model's name or file; by default that of --init, or mobilestylegan-ffhq.",
        changeable=True,
    )  # fmt: skip
    encoder: str = setting(
        "compact", "pyramid (the paper's), compact, single_w, naive_wplus, all_from_largest, …."
    )
    encoder_options: Mapping[str, Any] = field(
        default_factory=dict,
        metadata={"about": "Arguments of the encoder, as JSON.", "changeable": False},
    )
    corrector: str | None = setting(
        None, "Train a corrector of this kind for the model of --init, such as features."
    )
    corrector_options: Mapping[str, Any] = field(
        default_factory=dict,
        metadata={"about": "Arguments of the corrector, as JSON.", "changeable": False},
    )
    trunk: str = setting(
        "auto",
        "Initialization of the trunk: a face network's file (model_ir_se50.pth for pyramid), none,"
        " or auto (the shipped face network for compact, none for others).",
    )
    init: str | None = setting(None, "A model whose encoder training starts from.")
    teacher: str | None = setting(
        None,
        "A model of photographs whose codes of the targets count as the true ones for --code.",
        changeable=True,
    )
    start_from_mean: bool = setting(True, "The encoder predicts offsets from the mean code.")
    decoder: Literal["full", "short"] = setting(
        "full",
        "Generator that the losses see: full, or short: its layers up to 128² and a small head"
        " (mobilestylegan-ffhq only), which halves the time of a step.",
    )
    noise: Literal["auto", "fixed", "random", "none"] = setting(
        "auto",
        "Noise maps of the generator in training; auto is the generator's own: random for StyleGAN2"
        " (as published), fixed for others. Validation uses fixed ones.",
    )


@dataclass(frozen=True)
class LossSettings(Settings):
    """Weights of the losses, and their networks.

    In JSON a weight stands beside the other settings: {"l2": 1.0, "lpips_net": "vgg16"}.
    """

    weights: Mapping[str, float] = field(
        default_factory=dict,
        metadata={"about": "By the names of `LOSSES`; the task's by default.", "changeable": False},
    )
    lpips_net: Literal["alexnet", "vgg16"] = setting("alexnet", "The network of LPIPS.")
    identity_net: str | None = setting(
        None, "Face network of the identity loss (model_ir_se50.pth); by default the shipped one.",
        changeable=True,
    )  # fmt: skip
    similarity_net: str | None = setting(
        None, "Self-supervised network (moco_v2_800ep_pretrain.pth.tar).", changeable=True
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        weights = {name: check(name, x, float, {}) for name, x in self.weights.items()}
        check_weights(weights)
        object.__setattr__(self, "weights", weights)

    @classmethod
    def parse(cls, content: object, group: str) -> LossSettings:
        """See `Settings.parse`. A weight of null is left to the task."""
        settings = table(content, [option.name for option in cls.options()], group)
        weights = {name: x for name, x in settings.items() if name in LOSSES and x is not None}
        return cls(weights, **{name: x for name, x in settings.items() if name not in LOSSES})

    @classmethod
    def options(cls) -> list[Option]:
        """See `Settings.options`; a weight is an option of its own."""
        weights = [Option(x.name, float | None, None, x.about, False) for x in LOSSES.values()]
        return [*weights, *(option for option in super().options() if option.name != "weights")]

    def values(self) -> dict[str, Any]:
        """See `Settings.values`."""
        values = super().values()
        return {**values.pop("weights"), **values}


@dataclass(frozen=True)
class OptimizerSettings(Settings):
    """The optimizer, its schedule, and the average of the weights."""

    steps: int = setting(
        300_000,
        "Steps of the optimizer; fixed where the schedule is a cosine.",
        low=1,
        changeable=True,
    )
    batch: int = setting(8, "Images in a step, over all processes.", low=1)
    accumulate: int = setting(
        1, "Parts into which a process splits its share of a batch, to save memory.",
        low=1, changeable=True,
    )  # fmt: skip
    optimizer: Literal["ranger", "adamw", "muon"] = setting(
        "ranger", "Ranger is the paper's; muon learned fastest in training `faces`."
    )
    learning_rate: float = setting(1e-4, "Learning rate at its peak.", above=0.0)
    trunk_rate: float = setting(1.0, "The trunk's learning rate, as a share of it.", low=0.0)
    weight_decay: float = setting(0.0, "Weight decay, decoupled from the gradient.", low=0.0)
    warm_up: int = setting(0, "Steps over which the learning rate rises from 0.", low=0)
    schedule: Literal["constant", "cosine"] = setting(
        "constant", "cosine falls to 0 at the last step."
    )
    clip: float = setting(
        0.0, "Norm to which longer gradients are clipped; 0 for no clipping.", low=0.0
    )
    ema: float = setting(
        0.999, "Decay of the average of the weights that is validated and exported; 0 for none.",
        low=0.0, high=0.999999,
    )  # fmt: skip


@dataclass(frozen=True)
class RunSettings(Settings):
    """What is written when, and the hardware."""

    seed: int = setting(0, "Seed of everything random.", low=0, high=2**32 - 1)
    log_every: int = setting(50, "Steps between two lines of metrics.", low=1, changeable=True)
    validate_every: int = setting(1000, "Steps between validations.", low=1, changeable=True)
    save_every: int = setting(
        1000, "Steps between states, from which a run is resumed.", low=1, changeable=True
    )
    keep: int = setting(2, "Number of states kept.", low=1, changeable=True)
    previews: int = setting(8, "Images in a preview.", low=0, changeable=True)
    time_limit: float | None = setting(
        None, "Minutes after which the run saves its state and ends.", above=0.0, changeable=True
    )
    device: str = setting("auto", "auto, cpu, cuda, cuda:1, mps.", changeable=True)
    threads: int | None = setting(
        None,
        "Threads of a process on CPUs; by default one for each core. On a shared machine, fewer are"
        " faster.",
        low=1,
        changeable=True,
    )
    devices: int = setting(
        1, "Processes on this machine, each with a device (needs wplus[train]).",
        low=1, changeable=True,
    )  # fmt: skip
    nodes: int = setting(1, "Machines.", low=1, changeable=True)
    precision: Literal["float32", "bfloat16"] = setting(
        "float32", "bfloat16 is for GPUs, and for CPUs that compute in it.", changeable=True
    )
    compile: bool = setting(False, "torch.compile the networks.", changeable=True)


GROUPS: dict[str, type[Settings]] = {
    "data": DataSettings,
    "network": NetworkSettings,
    "losses": LossSettings,
    "optimizer": OptimizerSettings,
    "run": RunSettings,
}


@dataclass(frozen=True)
class TrainConfig:
    """A training run.

    Attributes:
        task: a name of `tasks.TASKS`.
        data, network, losses, optimizer, run: see their classes.

    Raises:
        ConfigError: there is no such task, or two settings contradict each other.
    """

    task: str = "inversion"
    data: DataSettings = DataSettings()
    network: NetworkSettings = field(default_factory=NetworkSettings)
    losses: LossSettings = LossSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    run: RunSettings = RunSettings()

    def __post_init__(self) -> None:
        task, data, weights = tasks.TASKS.find(self.task), self.data, self.weights
        if data.sources is not None and len(data.data) != 1:
            raise ConfigError("sources need exactly one folder of targets as data")
        if data.validation_sources is not None and data.validation is None:
            raise ConfigError("validation_sources need a folder of targets as validation")
        if data.validation is not None and data.hold_out:
            raise ConfigError("validation and hold_out exclude each other")
        if data.hold_out and len(data.data) != 1:
            raise ConfigError("hold_out needs exactly one folder or list as data")
        if data.data and data.synthetic == 1:
            raise ConfigError("synthetic is 1: nothing of data would be trained on")
        if data.synthetic and task.source != "photo":
            raise ConfigError(
                f"the task {task.name} has no synthetic examples: their source is the image itself"
            )
        if data.shares and len(data.shares) != len(data.data):
            raise ConfigError(f"shares are {len(data.shares)}, but data are {len(data.data)}")
        if len(data.truncation) != 2 or not 0 <= data.truncation[0] <= data.truncation[1]:
            raise ConfigError(f"truncation must be two numbers from 0 up, not {data.truncation}")
        if self.network.teacher is not None and not weights["code"]:
            raise ConfigError("a teacher's codes have no effect without a weight of code")
        for network in networks_for(name for name, weight in weights.items() if weight):
            if network.needs_file and not getattr(self.losses, f"{network.name}_net", None):
                raise ConfigError(
                    f"{network.name} needs its network: name its file by --{network.name}-net FILE"
                )

    @property
    def weights(self) -> dict[str, float]:
        """Of every loss: the one set here, else the task's, else the loss's own."""
        return check_weights({**tasks.TASKS.find(self.task).weights, **self.losses.weights})

    def with_weights(self) -> TrainConfig:
        """These settings with the weights that are left to the task filled in."""
        return replace(self, losses=replace(self.losses, weights=self.weights))

    def to_json(self) -> str:
        """Readable JSON, as it is saved with the run."""
        groups = {name: getattr(self, name).values() for name in GROUPS}
        return json.dumps({"task": self.task, **groups}, indent=2)

    @classmethod
    def parse(cls, content: object) -> TrainConfig:
        """From the JSON form; missing settings get their defaults.

        Raises:
            ConfigError: a setting or a group is unknown, malformed or out of range.
        """
        if not isinstance(content, Mapping):
            raise ConfigError(f"a training configuration must be a table, not {content!r}")
        unknown = sorted(set(content) - {"task", *GROUPS})
        if unknown:
            raise ConfigError(
                f"no group of settings {unknown[0]!r}; there are: task, {', '.join(GROUPS)}"
            )
        groups: dict[str, Any] = {
            name: group.parse(content.get(name, {}), name) for name, group in GROUPS.items()
        }
        return cls(task=content.get("task", "inversion"), **groups)


def read(path: Path) -> dict[str, Any]:
    """The JSON table in a file, unchecked: `TrainConfig.parse` checks it.

    Raises:
        ConfigError: the file cannot be read, or is no JSON table.
    """
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise ConfigError(f"{path}: cannot be read as a configuration ({reason})") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: a configuration must be a table, not {content!r}")
    return content


def write(config: TrainConfig, folder: Path) -> None:
    """Save the settings in the folder of a run."""
    with atomic(folder / FILE) as temporary:
        temporary.write_text(config.to_json() + "\n", encoding="utf-8")


def merge(*contents: Mapping[str, Any]) -> dict[str, Any]:
    """JSON forms laid over each other, setting by setting; the last one wins.

    A form that changes the task drops the weights of losses of those before it.
    """
    merged: dict[str, Any] = {}
    for content in contents:
        losses = merged.get("losses")
        if content.get("task", merged.get("task")) != merged.get("task") and losses:
            merged["losses"] = {k: v for k, v in losses.items() if k not in LOSSES}
        for name, value in content.items():
            if name in GROUPS and isinstance(value, Mapping):
                before = merged.get(name)
                value = {**(before if isinstance(before, Mapping) else {}), **value}
            merged[name] = value
    return merged


def resolve(run: Path, *contents: Mapping[str, Any]) -> TrainConfig:
    """The settings of a run: its saved ones, if there are any, with JSON forms laid over them.

    Raises:
        ConfigError: a setting is wrong, or cannot be changed in this run.
    """
    saved = read(run / FILE) if (run / FILE).exists() else None
    settings = TrainConfig.parse(merge(saved or {}, *contents)).with_weights()
    # Without a state there is nothing to resume: any setting may change.
    if saved is not None and any((run / STATES).glob("*.safetensors")):
        check_resumable(TrainConfig.parse(saved).with_weights(), settings, run)
    return settings


def check_resumable(old: TrainConfig, new: TrainConfig, run: Path) -> None:
    """Refuse settings with which the run could not continue as it began.

    Raises:
        ConfigError: names the first such setting, and its saved value.
    """
    changes = [("task", old.task, new.task, False)]
    for group, kind in GROUPS.items():
        before, after = getattr(old, group).values(), getattr(new, group).values()
        for option in kind.options():
            # Under a cosine, other steps would have needed another rate in every step so far.
            fixed = option.name == "steps" and old.optimizer.schedule != "constant"
            free = option.changeable and not fixed
            changes.append((option.name, before[option.name], after[option.name], free))
    for name, was, now, free in changes:
        if not free and json.dumps(was) != json.dumps(now):
            raise ConfigError(
                f"{run}: this run has {name} {json.dumps(was)}, not {json.dumps(now)}, and cannot"
                " be resumed with another; leave the setting out, or start a new run in another"
                " folder"
            )
