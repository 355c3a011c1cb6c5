"""The dataset that a run was trained on, for what is done with its network later."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from bopkit.data.dataset import Dataset
from bopkit.data.opening import MODULES, open_dataset
from bopkit.data.own.naming import with_splits_of
from bopkit.data.tfds_dataset import TfdsDataset
from bopkit.errors import BopkitError
from bopkit.runs.directory import PICTURES_FILE
from bopkit.runs.run_data import RunData, read_run_data


def run_data_record(
    dataset: Dataset, name: str | Dataset, version: str | None, data_dir: str | Path | None
) -> dict[str, Any]:
    """What a run keeps of its dataset besides the name that is in the model card: a folder, a version, a module.

    Args:
        dataset: What was opened.
        name: By that name; the dataset itself where there is none.
        version: Of the TFDS builder that was asked for; None for the newest.
        data_dir: The folder that was named; None for the default.

    Returns:
        A part of the run's environment, which `read_run_data` reads; empty where the name says all.
    """
    if isinstance(name, Dataset):
        return {}
    is_stock = name in MODULES or isinstance(dataset, TfdsDataset)
    if is_stock and not data_dir and not version:
        return {}
    folder = str(Path(data_dir).expanduser().absolute()) if data_dir else None
    return {"data": RunData(f"{name}:{version}" if version else name, folder, str(Path.cwd())).to_dict()}


def find_run_data(model_file: Path, data_dir: str | Path | None) -> tuple[RunData | None, str]:
    """Where the run of a model file found its pictures, if they can still be opened, and why not.

    Args:
        model_file: In a run directory, or elsewhere.
        data_dir: A folder that the user names in place of the run's; None for that.

    Returns:
        The record, None where it is of no use, and then in one line why. Its folder of data is the one to use.
    """
    data = read_run_data(model_file)
    if data is None:
        return None, ""
    if not data.is_ours:
        return None, f"The run was trained with {data.options}, elsewhere or by somebody else: type that to use it."
    typed = data.options
    if data_dir is not None:
        data = dataclasses.replace(data, data_dir=str(Path(data_dir).expanduser().absolute()))
    if (model_file.parent / PICTURES_FILE).exists():
        data = dataclasses.replace(data, dataset=with_splits_of(data.dataset, model_file.parent))
    try:
        with data.as_in_the_run():
            open_dataset(data.dataset, data.data_dir)
    except BopkitError as error:
        return None, f"The run's dataset ({typed}) was not used: {error}"
    return data, ""
