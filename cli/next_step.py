"""The last line of a command: what is usually typed next, quoted for a shell, on stderr."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from bopkit.cli.output import say_command

if TYPE_CHECKING:
    from bopkit.export import ExportOptions, ExportReport
    from bopkit.pretrained import PulledModel


def say_next(*words: str | Path) -> None:
    """Print a command as it can be typed."""
    say_command(f"Next: {shlex.join(map(str, words))}")


def say_export_next(model: str, model_file: Path) -> None:
    """Print the command that exports a network of `bopkit train` or `bopkit init`, if there is one.

    Args:
        model: Name of the network, or of the user's module that defines it.
        model_file: Where it was saved; it may name classes of that module.
    """
    from bopkit.artifacts.custom_code import import_custom_code
    from bopkit.artifacts.keras_config import check_config
    from bopkit.artifacts.keras_file import read_config
    from bopkit.errors import BopkitError
    from bopkit.registry import MODELS

    for modules in ([], [model] if model not in MODELS else []):
        try:
            check_config(read_config(model_file), model_file, import_custom_code(modules))
        except BopkitError:
            continue
        say_next("bopkit", "export", model_file, *(word for module in modules for word in ("--custom", module)))
        return


def say_serving(version: Path) -> None:
    """Print the command of TensorFlow Serving for a SavedModel, given its version directory."""
    folder = version.absolute().parent
    words = ("tensorflow_model_server", "--rest_api_port=8501", f"--model_name={folder.name}")
    say_command(f"To serve it: {shlex.join([*words, f'--model_base_path={folder}'])}")


def say_benchmark_next(model: str | Path, report: ExportReport, options: ExportOptions) -> None:
    """Print the command that measures what was exported, beside the network itself where that can be measured.

    Args:
        model: What was exported, as the user typed it.
        report: What was written.
        options: Of the export.
    """
    from bopkit.pretrained import is_pulled
    from bopkit.runs.run_data import read_run_data

    paths = [each.path for each in report.artifacts]
    if not report.is_classifier:  # `bopkit benchmark` measures no others
        if paths:
            say_next("bopkit", "inspect", paths[0])
        return
    if report.c is not None:
        paths.append(report.c.path)
    if options.architecture is None and not options.custom and Path(report.model_path).is_file():
        paths.insert(0, str(model) if is_pulled(model) else report.model_path)
    words: list[str | Path] = ["bopkit", "benchmark", *paths]
    run_data = read_run_data(Path(report.model_path)) if options.dataset is None else None
    data_dir = options.data_dir or (run_data.data_dir if run_data is not None and run_data.is_ours else None)
    if report.dataset is not None and _is_found(report.dataset, data_dir):
        words += ["--dataset", report.dataset]
        words += ["--data-dir", str(data_dir)] if data_dir is not None else []
        words += ["--preprocess-fn", options.preprocess_fn] if options.preprocess_fn is not None else []
    if report.c is not None and report.c.instructions is not None and not report.artifacts:
        words += ["--device", "qemu:cortex-m4"]
    say_next(*words)


def say_pulled_next(pulled: PulledModel) -> None:
    """Print the command that measures a trained network, on pictures where its dataset is prepared.

    Without a flatbuffer that is the next but one: the network is exported first.
    """
    if pulled.flatbuffer is None:
        say_next("bopkit", "export", pulled.model)
        return
    words = ["bopkit", "benchmark", pulled.model, pulled.flatbuffer]
    say_next(*words, *(["--dataset", pulled.dataset] if _is_found(pulled.dataset, None) else []))


def _is_found(dataset: str, data_dir: str | Path | None) -> bool:
    """Whether a dataset opens from here: a run's own may be a module in the folder that it was started in."""
    from bopkit.data import open_dataset
    from bopkit.errors import BopkitError

    try:
        open_dataset(dataset, data_dir)
    except BopkitError:
        return False
    return True
