"""`compare_models`: what binarization buys on a device, against full-precision twins of the same shape in LiteRT.

Each network is exported bit-packed, and its twins (`bopkit.export.comparison.twin`) in float32 and int8; the three are
weighed and timed by the same benchmark. Twins have random weights and carry no card: they never get an accuracy.

What can be known at once is checked first. TensorFlow works in a process of its own
(`bopkit.export.comparison.worker`), and all files lie in a scratch folder until the end: Ctrl-C leaves nothing that is
half made.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from bopkit import files
from bopkit.benchmark import BenchmarkOptions, BenchmarkReport, run_benchmark
from bopkit.benchmark.accuracy import plan_evaluation
from bopkit.benchmark.devices import open_device
from bopkit.benchmark.devices.device_names import AdbName, QemuName, parse_device_name
from bopkit.benchmark.job import Timing
from bopkit.benchmark.results import LOCAL
from bopkit.errors import BopkitError, UsageError
from bopkit.export.comparison.build import Built, build_all, keep_flatbuffers
from bopkit.export.comparison.networks import Network, file_stems, find_networks
from bopkit.export.comparison.result import Comparison
from bopkit.export.comparison.rows import Titles, failed_row, find_gains, join_reports
from bopkit.export.publish import require_folder
from bopkit.failures import translate
from bopkit.pretrained import is_pulled, model_path
from bopkit.progress import Progress, silent


def compare_models(
    models: Sequence[str | Path],
    output: str | Path | None = None,
    *,
    dataset: str | None = None,
    data_dir: str | Path | None = None,
    split: str | None = None,
    limit: int | None = None,
    threads: int | Sequence[int] = 1,
    devices: Sequence[str] = (LOCAL,),
    warmup_runs: int = Timing.warmup_runs,
    runs: int = Timing.runs,
    with_steps: bool = False,
    progress: Progress | None = None,
) -> Comparison:
    """Measure bit-packed networks and their full-precision twins side by side in LiteRT.

    Args:
        models: Names of architectures, which are measured untrained, and files or run directories of networks.
        output: Folder for the flatbuffers; None to keep none.
        dataset: Dataset for the accuracy of the trained networks; None for none.
        data_dir: Where prepared datasets are.
        split: Its split; None for the test split.
        limit: Accuracy on that many pictures; None for all.
        threads: Threads for one picture; each of several numbers has its own rows.
        devices: Where latency is measured, as for `benchmark_artifacts`.
        warmup_runs: Runs before the timed ones.
        runs: Minimum number of timed runs.
        with_steps: Also time the steps of an inference.
        progress: Called with one line now and then.

    Returns:
        Rows and ratios. A network that cannot be exported is a row with its error, and so is one on a device that does
        not answer.

    Raises:
        UsageError: A name is unknown, two networks have one name, or there is a dataset and no trained network.
        BopkitError: The dataset is not prepared, bopkit-runtime is not installed, no device answers, or no network can
            be exported.
    """
    options = BenchmarkOptions(
        dataset=dataset,
        data_dir=data_dir,
        split=split,
        limit=limit,
        threads=(threads,) if isinstance(threads, int) else tuple(threads),
        devices=tuple(devices),
        warmup_runs=warmup_runs,
        runs=runs,
        with_steps=with_steps,
    )
    return run_comparison(models, output, options, progress)


def run_comparison(
    models: Sequence[str | Path],
    output: str | Path | None,
    options: BenchmarkOptions,
    progress: Progress | None = None,
) -> Comparison:
    """`compare_models` with its options in one object; the same errors are raised. Flatbuffers run in LiteRT only."""
    _refuse_adb(options.devices)
    options = dataclasses.replace(options, runtime="litert")
    progress = progress or silent
    networks = find_networks([model_path(each, progress) if is_pulled(each) else each for each in models])
    _require_runtime(options)
    _check_output(output, networks)
    errors = {each.name: each.error for each in networks if each.error is not None}
    if len(errors) == len(networks):
        raise _all_failed(errors, "No network can be compared")
    _check_dataset(options, networks)
    unreachable = _unreachable(options.devices, progress)
    answering = tuple(device for device in options.devices if device not in unreachable)
    if not answering:
        raise _all_failed(unreachable, "No device answers")
    with files.scratch_directory(files.existing_ancestor(Path(output or tempfile.gettempdir()))) as scratch:
        folder = scratch / f"{files.SCRATCH_PREFIX}files"  # by that prefix it is left out of errors
        built = build_all([each for each in networks if each.error is None], folder, errors, progress)
        if not built:
            raise _all_failed(errors, "No network can be compared")
        reports = _measure(built, dataclasses.replace(options, devices=answering), progress)
        if output is not None:
            keep_flatbuffers(built, Path(output))
    failed = [
        failed_row(each.name, error, device)
        for device in options.devices
        for each in networks
        if (error := unreachable.get(device) or errors.get(each.name)) is not None
    ]
    report = join_reports(reports, built, failed, answering)
    return Comparison(report, tuple(find_gains(report.rows, [each.name for each in networks])))


def _measure(built: Sequence[Built], options: BenchmarkOptions, progress: Progress) -> list[BenchmarkReport]:
    """Measure all flatbuffers: those of trained networks with their accuracy, where there is a dataset."""
    titles = Titles(built)

    def say(line: str) -> None:
        progress(titles.put_into(line))

    without_accuracy = dataclasses.replace(options, dataset=None, data_dir=None, split=None, limit=None)
    trained = [each.path for each in built if options.dataset is not None and each.trained]
    others = [each.path for each in built if each.path not in trained]
    return [
        run_benchmark(paths, settings, progress=say)
        for paths, settings in ((trained, options), (others, without_accuracy))
        if paths
    ]


def _refuse_adb(devices: Sequence[str]) -> None:
    """Raise UsageError if a name is none of a device, or is one over adb or of an emulated board."""
    for device in devices:
        parsed = parse_device_name(device)
        if isinstance(parsed, QemuName):
            raise UsageError(
                "A comparison needs LiteRT, which runs on no microcontroller.",
                f"Export one network with --c, and type `bopkit benchmark DIR --device {device}`.",
            )
        if isinstance(parsed, AdbName):
            raise UsageError(
                "A comparison needs LiteRT, which bopkit does not run over adb.",
                "Keep the files with -o DIR, and time them with `bopkit benchmark --device adb --runner BINARY`.",
            )


def _require_runtime(options: BenchmarkOptions) -> None:
    """Raise BopkitError if bopkit-runtime is needed here and not installed."""
    if LOCAL in options.devices and importlib.util.find_spec("bopkit_runtime") is None:
        raise BopkitError(
            "Packed networks and twins are compared in LiteRT, which needs bopkit-runtime for the packed ones.",
            "Type `pip install ./runtime` in a checkout of bopkit.",
        )


def _check_dataset(options: BenchmarkOptions, networks: Sequence[Network]) -> None:
    """Open the dataset, if there is one, before anything is converted.

    Raises:
        UsageError: It is unknown, or none of the networks is trained.
        BopkitError: It is not prepared.
    """
    if options.dataset is None:
        return
    plan_evaluation(options.dataset, options.data_dir, options.split, None, options.limit, batch_size=1)
    if not any(each.trained for each in networks):
        raise UsageError("None of the networks is trained: they have no accuracy.", "Leave out --dataset.")


def _check_output(output: str | Path | None, networks: Sequence[Network]) -> None:
    """Refuse a folder for the flatbuffers that is a file, or holds folders of their names.

    Raises:
        UsageError: It is.
    """
    if output is None:
        return
    require_folder(Path(output))
    for path in (Path(output, f"{stem}.tflite") for network in networks for stem in file_stems(network.name)):
        if path.is_dir():
            raise UsageError(f"{path} is a folder where a file must be.", "Name another --output.")


def _unreachable(devices: Sequence[str], progress: Progress) -> dict[str, BopkitError]:
    """The devices that do not answer, each with the reason."""
    errors: dict[str, BopkitError] = {}
    for device in devices:
        if device == LOCAL:
            continue
        progress(f"{device}: connecting")
        try:
            open_device(device).close()
        except (BopkitError, OSError) as error:
            errors[device] = translate(error)
    return errors


def _all_failed(errors: Mapping[str, BopkitError], what: str) -> BopkitError:
    """The error of all of them in one line; a single one as it is."""
    if len(errors) == 1:
        return next(iter(errors.values()))
    reasons = [str(error) if name in error.message else f"{name}: {error}" for name, error in errors.items()]
    return BopkitError(f"{what}. {' '.join(reasons)}")
