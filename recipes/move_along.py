"""A task's encoder moved along with the one that it was trained from, when that is trained further.

python recipes/move_along.py RUN/model.safetensors --old OLD.safetensors --new NEW.safetensors
    --out MOVED.safetensors

What the task added to the weights is added to the new ones: new + (task - old). A weight that has
another shape (the first convolution of sketches and label maps) stays the task's. All files are
models of `wplus train`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from wplus import models
from wplus.errors import WplusError


def main() -> None:
    parser = argparse.ArgumentParser(description="Move a task's encoder along with its base.")
    parser.add_argument("task", type=Path)
    parser.add_argument("--old", type=Path, required=True, help="what the task was trained from")
    parser.add_argument("--new", type=Path, required=True, help="the same, trained further")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    try:
        config, moved = models.read(options.task)
        (_, old), (_, new) = models.read(options.old), models.read(options.new)
        count = 0
        for name, value in moved.items():
            before, after = old.get(name), new.get(name)
            if not name.startswith("encoder.") or before is None or after is None:
                continue
            if before.shape == after.shape == value.shape and value.is_floating_point():
                change = value.float() - before.float()
                moved[name] = (after.float() + change).to(value.dtype)
                count += 1
        models.files.write({"model": json.loads(config.to_json())}, moved, options.out)
    except (WplusError, ValueError) as error:
        parser.error(str(error))
    print(f"{options.out}: {count} tensors moved")


if __name__ == "__main__":
    main()
