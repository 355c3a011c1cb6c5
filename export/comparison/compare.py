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
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bopkit import files
from bopkit.artifacts import artifact
from bopkit.benchmark import BenchmarkReport, BenchmarkRow, benchmark_artifacts
from bopkit.benchmark.accuracy import plan_evaluation
from bopkit.benchmark.benchmark import check_dataset_options, check_threads
from bopkit.benchmark.devices import open_device
from bopkit.benchmark.devices.names import AdbName, parse_device_name
from bopkit.benchmark.reports import Gain, MergedReport, merge_reports, render_page, scatter_file
from bopkit.benchmark.results import LOCAL
from bopkit.errors import BopkitError, UsageError
from bopkit.export.publish import require_folder
from bopkit.failures import translate
from bopkit.isolation import Child, cpu_environment
from bopkit.progress import Progress, silent
from bopkit.registry import FILE_ENDINGS, MODELS

PACKED, FLOAT32, INT8 = ("packed", "float32 twin", "int8 twin")

TITLE = "What binarization buys"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Networks and their twins.

    Attributes:
        report: A row a network, variant, device and number of threads; `artifact` is the network and the variant.
        gains: Of each packed network over each of its twins, where both were measured.
    """

    report: BenchmarkReport
    gains: tuple[Gain, ...]

    @property
    def merged(self) -> MergedReport:
        """The rows as the writers of reports take them."""
        return merge_reports([("", self.report)])

    def to_dict(self) -> dict[str, Any]:
        """The report as `BenchmarkReport.to_dict` writes it, and `gains`; `bopkit report` reads it."""
        return {**self.report.to_dict(), "gains": files.finite([dataclasses.asdict(gain) for gain in self.gains])}

    def html(self) -> str:
        """The page."""
        return render_page(self.merged, gains=self.gains, title=TITLE)

    def svg(self) -> str:
        """The page's chart as a file of its own, with machine and date.

        Raises:
            BopkitError: Nothing was measured.
        """
        machines = [f"{each.cpu}, {each.logical_cores} cores" for each in self.report.environments.values()]
        title = f"{TITLE}: {'; '.join(machines)}, {self.report.protocol.date[:10]}"
        picture = scatter_file(self.merged, title)
        if picture is None:
            raise BopkitError("There is nothing to draw: no row was measured.", "The errors above say why.")
        return picture


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
    warmup_runs: int = 10,
    runs: int = 50,
    with_steps: bool = False,
    progress: Progress | None = None,
) -> Comparison:
    """Measure networks bit-packed, and full-precision twins of them, side by side in LiteRT.

    Args:
        models: Names of architectures, which are measured untrained, and files or run directories of networks.
        output: Folder for the flatbuffers; None to keep none.
        dataset: Dataset for the accuracy of the trained networks; None for none.
        data_dir: Where prepared datasets lie.
        split: Its split; None for the test split.
        limit: Accuracy on that many pictures; None for all.
        threads: Threads for one picture; of several numbers each has rows of its own.
        devices: Where latency is measured, as for `benchmark_artifacts`.
        warmup_runs: Runs before the timed ones.
        runs: Timed runs, at least.
        with_steps: Time the steps of an inference too.
        progress: Called with one line now and then.

    Returns:
        Rows and ratios. A network that cannot be exported is a row with its error, and so is one on a device that does
        not answer.

    Raises:
        UsageError: A name is unknown, two networks have one name, or there is a dataset and no trained network.
        BopkitError: The dataset is not prepared, bopkit-runtime is not installed, no device answers, or no network can
            be exported.
    """
    progress = progress or silent
    networks = _networks(models)
    devices = tuple(dict.fromkeys(devices))
    check_threads(threads)
    _check_request(devices, dataset, split, limit)
    _check_output(output, networks)
    errors = {each.name: each.error for each in networks if each.error is not None}
    if len(errors) == len(networks):
        raise _all_failed(errors, "No network can be compared")
    if dataset is not None:
        plan_evaluation(dataset, data_dir, split, None, limit, batch_size=1)
        if not any(each.trained for each in networks):
            raise UsageError("None of the networks is trained: they have no accuracy.", "Leave out --dataset.")
    unreachable = _unreachable(devices, progress)
    answering = tuple(device for device in devices if device not in unreachable)
    if not answering:
        raise _all_failed(unreachable, "No device answers")
    with files.scratch_directory(files.existing_ancestor(Path(output or tempfile.gettempdir()))) as scratch:
        folder = scratch / f"{files.SCRATCH_PREFIX}files"  # by that prefix it is left out of errors
        built = _build_all([each for each in networks if each.error is None], folder, errors, progress)
        if not built:
            raise _all_failed(errors, "No network can be compared")
        titles = _Titles(built)
        accuracy: dict[str, Any] = {"dataset": dataset, "data_dir": data_dir, "split": split, "limit": limit}
        settings: dict[str, Any] = {
            **{"threads": threads, "devices": answering, "warmup_runs": warmup_runs, "runs": runs},
            **{"runtime": "litert", "with_steps": with_steps, "progress": lambda line: progress(titles.put_into(line))},
        }
        trained = [each.path for each in built if dataset is not None and each.trained]
        others = [each.path for each in built if each.path not in trained]
        reports = [benchmark_artifacts(trained, **accuracy, **settings)] if trained else []
        if others:
            reports.append(benchmark_artifacts(others, **settings))
        if output is not None:
            _publish(built, Path(output))
    failed = [
        _failed_row(each.name, error, device)
        for device in devices
        for each in networks
        if (error := unreachable.get(device) or errors.get(each.name)) is not None
    ]
    report = _joined(reports, {str(each.path): each for each in built}, titles, failed, answering)
    return Comparison(report, tuple(_gains(report.rows, [each.name for each in networks])))


@dataclasses.dataclass(frozen=True)
class _Network:
    """One of the models.

    Attributes:
        name: What it is called in the report.
        source: File or version directory; None for an architecture.
        model: As the user named it.
        trained: Whether its card says so.
        error: Why it cannot be compared, where its card shows that.
    """

    name: str
    source: Path | None
    model: str
    trained: bool = False
    error: BopkitError | None = None


def _networks(models: Sequence[str | Path]) -> list[_Network]:
    """The models, each once, whatever it is called.

    Raises:
        UsageError: There is none, a name is unknown, or two have the same name.
    """
    if not models:
        raise UsageError("No network was named.", "Give names of `bopkit models`, files or run directories.")
    networks: list[_Network] = []
    known: list[Any] = []
    for model in map(str, models):
        path = Path(model)
        is_file = path.suffix in FILE_ENDINGS or path.exists()
        network = _network_of(path) if is_file else _Network(path.name, None, model)
        identity = (network.source or path).resolve() if is_file else MODELS.load(model)
        if identity in known:
            continue
        if any(_file_stems(network.name) & _file_stems(other.name) for other in networks):
            raise UsageError(
                f"Files of {network.name} and of another network have the same name.", "Rename one of them."
            )
        known.append(identity)
        networks.append(network)
    return networks


def _network_of(path: Path) -> _Network:
    """The network of a file or folder, by its card; the rest of it is not read yet."""
    name = path.stem if path.suffix in FILE_ENDINGS else path.resolve().name
    try:
        source = artifact.resolve(path)
        card = artifact.read_card(source)
    except BopkitError as error:
        return _Network(name, None, str(path), error=error)
    return _Network(name, source, str(path), trained=card is not None and card.trained)


def _file_stems(name: str) -> set[str]:
    """Of the packed flatbuffer and its twins."""
    return {name, f"{name}.float32", f"{name}.int8"}


def _check_request(devices: Sequence[str], dataset: str | None, split: str | None, limit: int | None) -> None:
    """Refuse what cannot be, whatever the networks.

    Raises:
        UsageError: A name is none of a device, or is one over adb; an option lacks its dataset.
        BopkitError: bopkit-runtime is not installed.
    """
    for device in devices:
        if isinstance(parse_device_name(device), AdbName):
            raise UsageError(
                "Over adb there is no LiteRT to compare in.",
                "Keep the files with -o DIR, and time them with `bopkit benchmark --device adb --runner BINARY`.",
            )
    check_dataset_options(dataset, split=split, limit=limit)
    if LOCAL in devices and importlib.util.find_spec("bopkit_runtime") is None:
        raise BopkitError(
            "Packed networks and twins are compared in LiteRT, which needs bopkit-runtime for the packed ones.",
            "Type `pip install ./runtime` in a checkout of bopkit.",
        )


def _check_output(output: str | Path | None, networks: Sequence[_Network]) -> None:
    """Refuse a folder for the flatbuffers that is a file, or holds folders of their names.

    Raises:
        UsageError: It is.
    """
    if output is None:
        return
    require_folder(Path(output))
    for path in (Path(output, f"{stem}.tflite") for network in networks for stem in _file_stems(network.name)):
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


@dataclasses.dataclass(frozen=True)
class _Built:
    """A flatbuffer of a network."""

    path: Path
    name: str
    variant: str
    trained: bool
    floor_bytes: int | None


def _build_all(
    networks: Sequence[_Network], folder: Path, errors: dict[str, BopkitError], progress: Progress
) -> list[_Built]:
    """Write the flatbuffers of all networks into `folder`; the errors of those that have none are added."""
    built: list[_Built] = []
    folder.mkdir()
    temporary = folder.parent / f"{files.SCRATCH_PREFIX}temporary"
    temporary.mkdir()
    # What the process leaves behind when it is ended goes with the scratch folder.
    environment = cpu_environment() | {name: str(temporary) for name in ("TMPDIR", "TEMP", "TMP")}
    hint = "Memory ran out: use a machine with more, or leave out that network."
    with Child(environment, "The process that converted {subject}", hint) as process:
        for network in networks:
            try:
                built += _build(network, folder, temporary, process, progress)
            except BopkitError as error:
                errors[network.name] = error
    return built


def _build(network: _Network, folder: Path, temporary: Path, process: Child, progress: Progress) -> list[_Built]:
    """Write the flatbuffers of a network: packed, and both twins.

    Raises:
        BopkitError: It cannot be exported, or has no twin.
    """

    def call(function: str, *arguments: Any) -> Any:
        try:
            return process.call(f"bopkit.export.comparison.worker:{function}", *arguments, subject=network.model)
        except BopkitError as error:  # of an architecture the user knows no file
            message, hint = (text.replace(str(source), network.model) for text in (error.message, error.hint))
            raise BopkitError(message, hint) from error

    name = network.name
    source = network.source or temporary / f"{name}.h5"
    paths = {PACKED: folder / f"{name}.tflite"}
    paths |= {variant: folder / f"{name}.{_precision(variant)}.tflite" for variant in (FLOAT32, INT8)}
    progress(f"{name}: packed")
    if network.source is None:
        call("write_untrained", network.model, str(source))
    call("write_packed", str(source), str(temporary / f"{name}.packed"), str(paths[PACKED]))
    progress(f"{name}: twins")
    floor_bytes = call("write_twins", str(source), {_precision(each): str(paths[each]) for each in (FLOAT32, INT8)})
    floors = {PACKED: floor_bytes}
    return [
        _Built(path, name, variant, network.trained and variant == PACKED, floors.get(variant))
        for variant, path in paths.items()
    ]


def _precision(twin: str) -> str:
    """`float32` or `int8`."""
    return twin.split()[0]


def _publish(built: Sequence[_Built], output: Path) -> None:
    """Move the flatbuffers into the user's folder, by one rename each."""
    for each in built:
        files.sync(each.path)
    output.mkdir(parents=True, exist_ok=True)
    for each in built:
        os.replace(each.path, output / each.path.name)


class _Titles:
    """What a person knows flatbuffers by that lie in a scratch folder."""

    def __init__(self, built: Sequence[_Built]):
        self._titles = {str(each.path): f"{each.name}, {each.variant}" for each in built}

    def put_into(self, text: str) -> str:
        """The text with a title in place of each path."""
        for path, title in self._titles.items():
            text = text.replace(path, title)
        return text


def _row_name(name: str, variant: str) -> str:
    return f"{name} ({variant})"


def _failed_row(name: str, error: BopkitError, device: str) -> BenchmarkRow:
    return BenchmarkRow(_row_name(name, PACKED), device, variant=PACKED, error=error.message, hint=error.hint)


def _joined(
    reports: Sequence[BenchmarkReport],
    built: Mapping[str, _Built],
    titles: _Titles,
    failed: Sequence[BenchmarkRow],
    devices: Sequence[str],
) -> BenchmarkReport:
    """One report of all rows under the names of their networks: by device, then in the order of the networks."""
    order = list(built)
    rows = sorted(
        (row for report in reports for row in report.rows),
        key=lambda row: (list(devices).index(row.device), order.index(row.artifact)),
    )
    named = [_named(row, built[row.artifact], titles) for row in rows]
    environments = {name: each for report in reports for name, each in report.environments.items()}
    # Networks of different kinds are no references of each other.
    return dataclasses.replace(reports[0], rows=(*named, *failed), reference=None, environments=environments)


def _named(row: BenchmarkRow, built: _Built, titles: _Titles) -> BenchmarkRow:
    return dataclasses.replace(
        row,
        error=titles.put_into(row.error) if row.error is not None else None,
        hint=titles.put_into(row.hint) if row.hint is not None else None,
        notes=list(map(titles.put_into, row.notes)),
        artifact=_row_name(built.name, built.variant),
        variant=built.variant,
        floor_bytes=built.floor_bytes,
        top1_agreement=None,
        top1_agreement_interval=None,
        within_tolerance=None,
    )


def _gains(rows: Sequence[BenchmarkRow], names: Sequence[str]) -> Iterator[Gain]:
    by_name = {(row.artifact, row.device, row.threads): row for row in rows if row.error is None}
    for (_, device, threads), packed in by_name.items():
        for name in names:
            if packed.artifact != _row_name(name, PACKED):
                continue
            for variant in (FLOAT32, INT8):
                twin = by_name.get((_row_name(name, variant), device, threads))
                if twin is not None:
                    yield Gain(name, variant, device, threads, *_ratios(twin, packed))


def _ratios(twin: BenchmarkRow, packed: BenchmarkRow) -> tuple[float | None, float | None]:
    size = twin.size_bytes / packed.size_bytes if twin.size_bytes and packed.size_bytes else None
    latency = twin.latency_ms_p50 / packed.latency_ms_p50 if twin.latency_ms_p50 and packed.latency_ms_p50 else None
    return size, latency
