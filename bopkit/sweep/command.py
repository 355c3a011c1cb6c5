"""The `bopkit train` command line that repeats one trial of a sweep."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from typing import Any

from bopkit.training.options import TrainOptions

_FIRST = (
    *("hparams_set", "preprocess_fn", "input_shape", "data_dir", "data_cache"),
    *("device", "precision", "limit_steps", "seed"),
    *("batch_norm_pictures", "strategy", "train_split", "validation_split", "validationset"),
)
"""The settings that `bopkit sweep` takes, in the order of its answers; others come after them."""

_OPTIONS = {"checkpoint_every_minutes": "checkpoint-every", "from_model": "from"}
"""Options of `bopkit train` that are not named as the field of `TrainOptions`."""


def train_command(training: TrainOptions) -> str:
    """The `bopkit train` command line of one trial.

    Args:
        training: Its settings; those that are the default are left out.
    """
    words = ["bopkit", "train", training.model, "--dataset", training.dataset_name]
    changed = changed_settings(training)
    for name in sorted(changed, key=lambda name: (*_FIRST, name).index(name)):
        option, value = _OPTIONS.get(name, name.replace("_", "-")), changed[name]
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        elif name == "input_shape":
            words += [f"--{option}", ",".join(map(str, value))]
        elif isinstance(value, list):
            words += [word for each in value for word in (f"--{option}", each)]
        else:
            words += [f"--{option}", str(value)]
    if training.hparams:
        words += ["--hparams", hparams_text(training.hparams, ",")]
    return shlex.join(words)


def changed_settings(training: TrainOptions) -> dict[str, Any]:
    """The settings of a training that are not the default, as plain JSON values by name.

    Left out are those that say what is trained and where: model, dataset, hyper-parameters and folders.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(training)}
    return {
        name: value
        for name, value in training.to_dict().items()
        if name not in ("model", "dataset", "hparams", "output_dir", "output_prefix") and value != defaults[name]
    }


def hparams_text(hparams: Mapping[str, Any], separator: str = " ") -> str:
    """Hyper-parameters as a person types them: `gamma=0.001,gamma_end=none`."""
    return separator.join(f"{name}={'none' if value is None else value}" for name, value in hparams.items())
