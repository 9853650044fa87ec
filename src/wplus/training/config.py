"""Every setting of a training run, in groups; saved in the run, checked when built.

Defaults are the paper's ("Encoding in Style", implementation details, and its released code) where
it says something. Nothing here needs torch: the command's help is made of these tables.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from wplus import tasks
from wplus.errors import ConfigError
from wplus.files import atomic
from wplus.training.settings import Settings, setting

FILE = "config.json"
STATES = "states"  # folder of the states from which a run goes on


@dataclass(frozen=True)
class DataSettings(Settings):
    """What is learned from."""

    data: tuple[str, ...] = setting(
        (), "Folders of pictures or of rendered samples (.npz), or lists of files (.csv, .txt).",
        changeable=True,
    )  # fmt: skip
    sources: str | None = setting(
        None, "Folder of what the encoder reads, paired by name with --data.", changeable=True
    )
    source_suffix: str = setting("", "End of the names of sources, such as _edges.")
    target_suffix: str = setting("", "End of the names of targets.")
    skip_unpaired: bool = setting(False, "Leave out files that do not pair, instead of refusing.")
    shares: tuple[float, ...] = setting(
        (), "How often each of --data is drawn; by default as often as it has pictures."
    )
    synthetic: float = setting(
        0.0, "Share of examples that the generator makes itself.", low=0.0, high=1.0
    )
    truncation: tuple[float, ...] = setting(
        (0.5, 1.0), "Of synthetic examples: lowest and highest ψ."
    )
    mixing: float = setting(
        0.5, "Of synthetic examples: share of codes made of two.", low=0.0, high=1.0
    )
    augment: bool = setting(False, "Change the encoder's photographs as cameras and the web do.")
    vary: bool = setting(
        False,
        "Turn, shift and recolor photographs a little, source and target alike: more of them where"
        " there are few.",
    )
    in_memory: bool = setting(False, "Keep decoded pictures in memory.", changeable=True)
    validation: str | None = setting(None, "Such a folder or list to validate on.", changeable=True)
    validation_sources: str | None = setting(
        None, "Folder of sources, paired by name with --validation.", changeable=True
    )
    hold_out: int = setting(
        0, "Without --validation: so many pictures of --data are kept for it.", low=0
    )
    check: bool = setting(True, "Look at every file before training starts.", changeable=True)
    workers: int = setting(2, "Processes that read pictures.", low=0, changeable=True)


@dataclass(frozen=True)
class NetworkSettings(Settings):
    """What is trained, and through what."""

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
    trunk: str = setting(
        "auto",
        "What the trunk starts from: a face network's file (model_ir_se50.pth for pyramid), none,"
        " or auto (the shipped face network for compact, none for others).",
    )
    init: str | None = setting(None, "A model whose encoder is trained further.")
    teacher: str | None = setting(
        None, "A model of photographs, whose codes of the targets are what --code compares with.",
        changeable=True,
    )  # fmt: skip
    start_from_mean: bool = setting(True, "The encoder gives offsets from the mean code.")
    decoder: Literal["full", "short"] = setting(
        "full",
        "What makes the pictures that losses see: full is the generator, short its layers up to"
        " 128² and a small head (mobilestylegan-ffhq only), for half the time of a step.",
    )
    noise: Literal["auto", "fixed", "random", "none"] = setting(
        "auto",
        "Noise maps of the generator in training; auto is random for StyleGAN2 (as published) and"
        " fixed for others. Validation uses fixed ones.",
    )


@dataclass(frozen=True)
class LossSettings(Settings):
    """Weights of the losses; by default those of the task."""

    l2: float | None = setting(None, "Mean squared error.", low=0.0)
    lpips: float | None = setting(None, "Perceptual distance.", low=0.0)
    identity: float | None = setting(None, "1 - cosine of face embeddings.", low=0.0)
    regularization: float | None = setting(None, "Length of the offsets from the mean.", low=0.0)
    crop_l2: float | None = setting(None, "Mean squared error of the inner face.", low=0.0)
    crop_lpips: float | None = setting(None, "Perceptual distance of the inner face.", low=0.0)
    similarity: float | None = setting(
        None, "1 - cosine of self-supervised features; off faces, instead of identity.", low=0.0
    )
    code: float | None = setting(
        None, "Squared error of the code, where the true one is known; 1 is the variance of w.",
        low=0.0,
    )  # fmt: skip
    lpips_net: Literal["alexnet", "vgg16"] = setting("alexnet", "The network of LPIPS.")
    identity_net: str | None = setting(
        None, "Face network of the identity loss (model_ir_se50.pth); by default the shipped one.",
        changeable=True,
    )  # fmt: skip
    similarity_net: str | None = setting(
        None, "Self-supervised network (moco_v2_800ep_pretrain.pth.tar).", changeable=True
    )


@dataclass(frozen=True)
class OptimizerSettings(Settings):
    """How the encoder is moved."""

    steps: int = setting(
        300_000,
        "Steps of the optimizer; fixed where the schedule is a cosine.",
        low=1,
        changeable=True,
    )
    batch: int = setting(8, "Pictures in a step, over all processes.", low=1)
    accumulate: int = setting(
        1, "Parts in which a process goes through its share of a batch, to save memory.",
        low=1, changeable=True,
    )  # fmt: skip
    optimizer: Literal["ranger", "adamw", "muon"] = setting(
        "ranger", "Ranger is the paper's; muon learned fastest in training `faces`."
    )
    learning_rate: float = setting(1e-4, "Step size, at its peak.", above=0.0)
    trunk_rate: float = setting(1.0, "The trunk's step size, as a share of it.", low=0.0)
    weight_decay: float = setting(0.0, "Decoupled from the gradient.", low=0.0)
    warm_up: int = setting(0, "Steps over which the step size rises from 0.", low=0)
    schedule: Literal["constant", "cosine"] = setting(
        "constant", "cosine falls to 0 at the last step."
    )
    clip: float = setting(0.0, "Longest gradient; 0 is no limit.", low=0.0)
    ema: float = setting(
        0.999, "Decay of the average of weights that is validated and exported; 0 for none.",
        low=0.0, high=0.999999,
    )  # fmt: skip


@dataclass(frozen=True)
class RunSettings(Settings):
    """When what is written, and on what it runs."""

    seed: int = setting(0, "Everything random follows from it.", low=0, high=2**32 - 1)
    log_every: int = setting(50, "Steps between two lines of metrics.", low=1, changeable=True)
    validate_every: int = setting(1000, "Steps between validations.", low=1, changeable=True)
    save_every: int = setting(
        1000, "Steps between states from which a run can go on.", low=1, changeable=True
    )
    keep: int = setting(2, "States that are kept, the newest.", low=1, changeable=True)
    previews: int = setting(8, "Pictures in a preview.", low=0, changeable=True)
    time_limit: float | None = setting(
        None, "Minutes after which the run saves and leaves.", above=0.0, changeable=True
    )
    device: str = setting("auto", "auto, cpu, cuda, cuda:1, mps.", changeable=True)
    threads: int | None = setting(
        None, "Threads of a process on CPUs; by default one for each core. Where others work too,"
        " fewer are faster.", low=1, changeable=True,
    )  # fmt: skip
    devices: int = setting(
        1, "Processes on this machine, each with a device (needs wplus[train]).",
        low=1, changeable=True,
    )  # fmt: skip
    nodes: int = setting(1, "Machines.", low=1, changeable=True)
    precision: Literal["float32", "bfloat16"] = setting(
        "float32", "bfloat16 is for GPUs, and for processors that compute in it.", changeable=True
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
        tasks.find(self.task)
        data = self.data
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
        if data.synthetic and tasks.find(self.task).source != "photo":
            raise ConfigError(f"the task {self.task} has no synthetic examples: their source is"
                              " the picture itself")  # fmt: skip
        if data.shares and len(data.shares) != len(data.data):
            raise ConfigError(f"shares are {len(data.shares)}, but data are {len(data.data)}")
        if len(data.truncation) != 2 or not 0 <= data.truncation[0] <= data.truncation[1]:
            raise ConfigError(f"truncation must be two numbers from 0 up, not {data.truncation}")
        if self.network.teacher is not None and not self.weights["code"]:
            raise ConfigError("a teacher's codes are of no use without a weight of code")
        if self.weights["identity"] and self.weights["similarity"]:
            raise ConfigError("identity (faces) and similarity (anything else) exclude each other")
        if self.weights["similarity"] and self.losses.similarity_net is None:
            raise ConfigError("similarity needs its network: name its file as similarity_net")

    @property
    def weights(self) -> dict[str, float]:
        """Of every loss: what is set here, else the task's."""
        given = {name: getattr(self.losses, name) for name in tasks.TERMS}
        of_task = tasks.find(self.task).weights
        return {name: of_task[name] if x is None else x for name, x in given.items()}

    def to_json(self) -> str:
        """Readable JSON, as it is saved in the run."""
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def parse(cls, content: object) -> TrainConfig:
        """From the JSON form; settings that are left out have their defaults.

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
    """The JSON form in a file, unchecked: `TrainConfig.parse` checks it.

    Raises:
        ConfigError: it cannot be read, or is no JSON table.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise ConfigError(f"{path}: cannot be read as a configuration ({reason})") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: a configuration must be a table, not {content!r}")
    return content


def write(config: TrainConfig, folder: Path) -> None:
    """Save it in the folder of a run."""
    with atomic(folder / FILE) as temporary:
        temporary.write_text(config.to_json() + "\n", encoding="utf-8")


def merge(*contents: Mapping[str, Any]) -> dict[str, Any]:
    """JSON forms, the later ones laid over the earlier ones setting by setting.

    Weights that were written down for one task are not those of another.
    """
    merged: dict[str, Any] = {}
    for content in contents:
        losses = merged.get("losses")
        if content.get("task", merged.get("task")) != merged.get("task") and losses:
            merged["losses"] = {k: v for k, v in losses.items() if k not in tasks.TERMS}
        for name, value in content.items():
            here = merged.get(name)
            table = isinstance(value, Mapping) and name in GROUPS
            merged[name] = {**(here if isinstance(here, Mapping) else {}), **value} \
                if table else value  # fmt: skip
    return merged


def resolve(run: Path, *contents: Mapping[str, Any]) -> TrainConfig:
    """The settings of a run: its own if it is there already, with JSON forms laid over them.

    Weights of losses that are left to the task are filled in.

    Raises:
        ConfigError: a setting is wrong, or cannot be changed in this run.
    """
    saved = read(run / FILE) if (run / FILE).exists() else None
    settings = TrainConfig.parse(merge(saved or {}, *contents))
    weights: dict[str, Any] = dict(settings.weights)
    settings = replace(settings, losses=replace(settings.losses, **weights))
    # Without a state there is nothing to go on with: settings may be mended.
    if saved is not None and any((run / STATES).glob("*.safetensors")):
        check_resumable(TrainConfig.parse(saved), settings, run)
    return settings


def check_resumable(old: TrainConfig, new: TrainConfig, run: Path) -> None:
    """Refuse to go on with settings that would make it another run.

    Raises:
        ConfigError: names the first such setting, and what it was.
    """
    changed = [("task", old.task, new.task)] if old.task != new.task else []
    for group, kind in GROUPS.items():
        for item in fields(kind):  # type: ignore[arg-type]
            was, now = (getattr(getattr(config, group), item.name) for config in (old, new))
            # A cosine ends at the last step: with another one, every step before was wrong.
            bound = item.name == "steps" and old.optimizer.schedule != "constant"
            if _shown(was) != _shown(now) and (bound or not item.metadata["changeable"]):
                changed.append((item.name, was, now))
    if changed:
        name, was, now = changed[0]
        raise ConfigError(
            f"{run}: this run has {name} {_shown(was)}, not {_shown(now)}, and cannot go on with"
            " another; leave the setting out, or start a new run in another folder"
        )


def _shown(value: object) -> str:
    return json.dumps(value)
