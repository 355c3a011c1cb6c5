"""The dataset that a run was trained on, for what is done with its network later."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from bopkit.data.opening import open_dataset
from bopkit.errors import BopkitError
from bopkit.runs.run_data import RunData, read_run_data


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
    try:
        with data.as_in_the_run():
            open_dataset(data.dataset, data.data_dir)
    except BopkitError as error:
        return None, f"The run's dataset ({typed}) was not used: {error}"
    return data, ""
