"""`compare_models`: what binarization buys on a device, against full-precision twins of the same shape in LiteRT.

Each network is exported bit-packed, and its twins (`bopkit.export.twin`) in float32 and int8; the three are weighed and
timed by the same benchmark. Twins have random weights and carry no card: they never get an accuracy.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bopkit import artifact, files
from bopkit.architecture import floor_bytes
from bopkit.benchmark import BenchmarkReport, BenchmarkRow, benchmark_artifacts
from bopkit.benchmark.devices.names import AdbName, parse_device_name
from bopkit.benchmark.report import LOCAL
from bopkit.benchmark.reports import Gain, MergedReport, merge_reports, render_page, scatter_file
from bopkit.counting import count_weights
from bopkit.errors import BopkitError, UsageError
from bopkit.export.exporter import export_model
from bopkit.export.options import ExportOptions
from bopkit.export.sources import load_source, resolve_source
from bopkit.export.twin import convert_twin, make_twin
from bopkit.initialise import init_model
from bopkit.model_config import NOTHING
from bopkit.progress import Progress, silent
from bopkit.registry import FILE_ENDINGS

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
        Rows and ratios. A network that cannot be exported is a row with its error.

    Raises:
        UsageError: A name is unknown, two networks have one name, or there is a dataset and no trained network.
        BopkitError: The dataset is not prepared, bopkit-runtime is not installed, or no network can be exported.
    """
    progress = progress or silent
    names = _names(models)
    for device in devices:
        if isinstance(parse_device_name(device), AdbName):
            raise UsageError(
                "Over adb there is no LiteRT to compare in.",
                "Keep the files with -o DIR, and time them with `bopkit benchmark --device adb --runner BINARY`.",
            )
    accuracy: dict[str, Any] = {"dataset": dataset, "data_dir": data_dir, "split": split, "limit": limit}
    settings: dict[str, Any] = {
        **{"threads": threads, "devices": devices, "warmup_runs": warmup_runs, "runs": runs},
        **{"runtime": "litert", "with_steps": with_steps, "progress": progress},
    }
    if dataset is None and (split, limit) != (None, None):
        raise UsageError("--split and --limit need a dataset.", "Name one with --dataset.")
    if LOCAL in devices and importlib.util.find_spec("bopkit_runtime") is None:
        raise BopkitError(
            "Packed networks and twins are compared in LiteRT, which needs bopkit-runtime for the packed ones.",
            "Type `pip install ./runtime` in a checkout of bopkit.",
        )
    with _folder(output) as folder:
        built, failed = _build_all(names, folder, devices, progress)
        trained = [path for path in built if dataset is not None and _is_trained(path)]
        if dataset is not None and not trained:
            raise UsageError("None of the networks is trained: they have no accuracy.", "Leave out --dataset.")
        reports = [benchmark_artifacts(trained, **accuracy, **settings)] if trained else []
        if len(trained) < len(built):
            reports.append(benchmark_artifacts([path for path in built if path not in trained], **settings))
    report = _joined(reports, {str(path): each for path, each in built.items()}, failed, devices)
    return Comparison(report, tuple(_gains(report.rows, list(names))))


def _names(models: Sequence[str | Path]) -> dict[str, str]:
    """The models by what they are called in the report.

    Raises:
        UsageError: There is none, or two have the same name.
    """
    if not models:
        raise UsageError("No network was named.", "Give names of `bopkit models`, files or run directories.")
    names: dict[str, str] = {}
    for model in map(str, models):
        path = Path(model)
        name = path.stem if path.suffix in FILE_ENDINGS else path.resolve().name
        if any(_file_stems(name) & _file_stems(other) for other in names):
            raise UsageError(f"Files of {name} and of another network have the same name.", "Rename one of them.")
        names[name] = model
    return names


def _file_stems(name: str) -> set[str]:
    """Of the packed flatbuffer and its twins."""
    return {name, f"{name}.float32", f"{name}.int8"}


@contextlib.contextmanager
def _folder(output: str | Path | None) -> Iterator[Path]:
    if output is not None:
        Path(output).mkdir(parents=True, exist_ok=True)
        yield Path(output)
        return
    with tempfile.TemporaryDirectory(prefix="bopkit-compare-") as scratch:
        yield Path(scratch)


def _build_all(
    names: Mapping[str, str], folder: Path, devices: Sequence[str], progress: Progress
) -> tuple[dict[Path, _Built], list[BenchmarkRow]]:
    """The flatbuffers of all networks, and rows for those that have none.

    Raises:
        BopkitError: None has any.
    """
    built: dict[Path, _Built] = {}
    errors: dict[str, BopkitError] = {}
    for name, model in names.items():
        try:
            built |= {each.path: each for each in _build(name, model, folder, progress)}
        except UsageError:
            raise
        except BopkitError as error:
            errors[name] = error
    if not built:
        raise next(iter(errors.values()))
    return built, [_failed_row(name, error, device) for device in devices for name, error in errors.items()]


@dataclasses.dataclass(frozen=True)
class _Built:
    """A flatbuffer of a network."""

    path: Path
    name: str
    variant: str
    floor_bytes: int | None


def _build(name: str, model: str, folder: Path, progress: Progress) -> list[_Built]:
    """Write the flatbuffers of a network: packed, and both twins.

    Raises:
        UsageError: There is no such network.
        BopkitError: It cannot be exported, or has no twin.
    """
    with tempfile.TemporaryDirectory(prefix="bopkit-compare-") as scratch:
        source = Path(model)
        if source.suffix in FILE_ENDINGS or source.exists():
            source = resolve_source(source)
        else:
            source = init_model(model, Path(scratch) / f"{name}.h5")
        progress(f"{name}: packed")
        options = ExportOptions(savedmodel=False)
        (exported,) = export_model(source, Path(scratch) / "packed", options).artifacts
        packed = folder / f"{name}.tflite"
        files.write_bytes(packed, Path(exported.path).read_bytes())
        progress(f"{name}: twins")
        network = load_source(source, options, NOTHING).model
        floors = {PACKED: floor_bytes(*count_weights(network))}
        twin = make_twin(network)
    paths = {PACKED: packed}
    for variant in (FLOAT32, INT8):
        paths[variant] = folder / f"{name}.{variant.split()[0]}.tflite"
        files.write_bytes(paths[variant], convert_twin(twin, int8=variant == INT8))
    return [_Built(path, name, variant, floors.get(variant)) for variant, path in paths.items()]


def _is_trained(path: Path) -> bool:
    card = artifact.read_card(path)
    return card is not None and card.trained


def _row_name(name: str, variant: str) -> str:
    return f"{name} ({variant})"


def _failed_row(name: str, error: BopkitError, device: str) -> BenchmarkRow:
    return BenchmarkRow(_row_name(name, PACKED), device, variant=PACKED, error=error.message, hint=error.hint)


def _joined(
    reports: Sequence[BenchmarkReport],
    built: Mapping[str, _Built],
    failed: Sequence[BenchmarkRow],
    devices: Sequence[str],
) -> BenchmarkReport:
    """One report of all rows under the names of their networks: by device, then in the order of the networks."""
    order = list(built)
    rows = sorted(
        (row for report in reports for row in report.rows),
        key=lambda row: (list(devices).index(row.device), order.index(row.artifact)),
    )
    named = [_named(row, built[row.artifact]) for row in rows]
    environments = {name: each for report in reports for name, each in report.environments.items()}
    # Networks of different kinds are no references of each other.
    return dataclasses.replace(reports[0], rows=(*named, *failed), reference=None, environments=environments)


def _named(row: BenchmarkRow, built: _Built) -> BenchmarkRow:
    return dataclasses.replace(
        row,
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
