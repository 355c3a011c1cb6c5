"""Builders of TensorFlow Datasets (TFDS): find them by name, download and prepare what they are of."""

from __future__ import annotations

import concurrent.futures
import contextlib
import io
import logging
import shlex
import shutil
import sys
import tarfile
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bopkit import files, keras2
from bopkit.data.local_archives import archives_text, folder_for_tfds, registered_archives
from bopkit.errors import BopkitError, UsageError, first_line
from bopkit.failures import is_full_disk
from bopkit.keras2 import import_tensorflow
from bopkit.progress import Progress

REACHABLE_WITHIN_S = 5.0
"""Patience with a server before a download: TFDS itself retries for minutes without a network."""


class UnknownDatasetError(Exception):
    """TFDS has no builder of a name."""


@keras2.quiet_stderr()
def find_builder(name: str, data_dir: str | Path | None, version: str | None) -> Any:
    """The TFDS builder of that name, prepared or not.

    TensorFlow, which takes seconds, is not imported, except by what some builders are made of.

    Raises:
        UnknownDatasetError: TFDS has no such builder.
        UsageError: It has no such version.
        BopkitError: The dataset's own description is damaged.
    """
    import tensorflow_datasets as tfds
    from google.protobuf import json_format  # type: ignore[import-untyped]

    if keras2.quiet:  # TFDS warns of a folder without a dataset; what to do about it is in our own errors
        logging.getLogger("absl").setLevel(logging.ERROR)
    directory = Path(data_dir).expanduser() if data_dir else None
    try:
        return tfds.builder(f"{name}:{version}" if version else name, data_dir=directory, try_gcs=False)
    except tfds.core.registered.DatasetNotFoundError as error:
        raise UnknownDatasetError(name) from error
    except json_format.ParseError as error:
        raise BopkitError(
            f"Dataset {name} cannot be read: its dataset_info.json or features.json is damaged.",
            f"Remove its folder and run `bopkit data prepare {name}{f' --data-dir {data_dir}' if data_dir else ''}`.",
        ) from error
    except ImportError:
        import_tensorflow()  # says what to do, if it is TensorFlow that some builders miss
        raise
    except (AssertionError, ValueError) as error:
        if version is None:
            raise UnknownDatasetError(name) from error
        raise UsageError(f"Dataset {name} has no version {version!r}.", "Leave out --dataset-version.") from error


def prepare_builder(builder: Any, progress: Progress, source: Path | None = None) -> None:
    """Download and prepare a dataset; nothing is done if it is prepared already.

    Args:
        builder: A `tfds.core.DatasetBuilder`.
        progress: Called with one line before something slow.
        source: A folder with the files that would be downloaded, which it is then prepared from without a network.

    Raises:
        UsageError: `source` is no folder, or none of its files can be used.
        BopkitError: No network, or a file is missing or is not the one that the builder registered.
    """
    if builder.is_prepared():
        if source is not None:
            progress(f"{builder.name} is prepared already in {root_of(builder)}: --from is not read")
        return
    check_features(builder)
    root = root_of(builder)
    command = prepare_command(builder)
    if source is not None:
        source = source.expanduser().absolute()
        command = f"{command} --from {shlex.quote(str(source))}"
        with _no_new_folders(builder, root), files.scratch_directory(root) as scratch:
            archives = folder_for_tfds(builder, source, scratch, progress)
            config = {"manual_dir": archives, "extract_dir": scratch / "extracted", "try_download_gcs": False}
            hint = f"Check the files in {source} and the free space of {root}, then run `{command}` again."
            _prepare(builder, config, hint, progress, download_dir=scratch / "downloads")
        return
    manual_dir = _manual_dir(builder, root)
    if manual_dir is None:  # else the addresses that TFDS knows are those of the files in there
        _check_reachable(builder, root)
    checked = f"the files in {manual_dir}" if manual_dir else "the network"
    hint = f"Check {checked} and the free space of {root}, then run `{command}` again."
    _prepare(builder, {"manual_dir": manual_dir}, hint, progress)


def _prepare(
    builder: Any, config: dict[str, Any], hint: str, progress: Progress, download_dir: Path | None = None
) -> None:
    """Let TFDS prepare a dataset, and remove what it leaves half written.

    Raises:
        BopkitError: It could not; its hint is `hint`, unless the disk is full.
    """
    import tensorflow_datasets as tfds

    root = root_of(builder)
    progress(f"preparing {builder.name} in {root}")
    tf = import_tensorflow()  # quietly, before TFDS does
    expected = (OSError, EOFError, tarfile.TarError, AssertionError, tfds.download.DownloadError, tf.errors.OpError)
    family = Path(builder.data_path).parent
    others = set(family.glob("incomplete.*"))
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    try:
        # TFDS prints there, where a command's answer goes: that it downloads, which is wrong of a folder's files.
        said = io.StringIO() if download_dir else sys.stderr
        with contextlib.redirect_stdout(said):
            builder.download_and_prepare(
                download_dir=download_dir, download_config=tfds.download.DownloadConfig(**config)
            )
    except BaseException as error:
        _remove(set(family.glob("incomplete.*")) - others)
        _end_progress_bars(error)
        if is_full_disk(error):
            raise BopkitError(
                f"Dataset {builder.name} could not be prepared: the disk of {root} is full.",
                "Free some space there, or name a folder on another disk with --data-dir.",
            ) from error
        if not isinstance(error, expected):
            raise
        raise BopkitError(f"Dataset {builder.name} could not be prepared: {first_line(error)[:300]}.", hint) from error


def _end_progress_bars(error: BaseException | None) -> None:
    """Let go of what was running when TFDS failed: its bars end now, and not below the line of the error."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__


@contextlib.contextmanager
def _no_new_folders(builder: Any, root: Path) -> Iterator[None]:
    """Remove the folders of a dataset that were made within the block and are empty, if it fails."""
    family = Path(builder.data_path).parent
    folders = [each for each in (family, *family.parents) if each.is_relative_to(root)]
    new = [each for each in folders if not each.exists()]
    try:
        yield
    except BaseException:
        for each in new:
            with contextlib.suppress(OSError):  # another process may have put something there
                each.rmdir()
        raise


def _remove(folders: Iterable[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def prepare_command(builder: Any) -> str:
    """The command that prepares a dataset where it was looked for."""
    import tensorflow_datasets as tfds

    root = root_of(builder)
    where = "" if root == Path(tfds.core.constants.DATA_DIR).expanduser() else f" --data-dir {shlex.quote(str(root))}"
    return f"bopkit data prepare {builder_name(builder)}{where}"


def builder_name(builder: Any) -> str:
    """`name`, or `name/config`."""
    return f"{builder.name}/{builder.builder_config.name}" if builder.builder_config else builder.name


def root_of(builder: Any) -> Path:
    """The folder of all prepared datasets: `--data-dir`, or TFDS's default."""
    levels = 2 if builder.builder_config else 1  # name[/config]/version
    return Path(builder.data_path).parents[levels]


def check_features(builder: Any) -> None:
    """Raise a UsageError unless the dataset has pictures with one label each."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    named = dict(features.items()) if isinstance(features, tfds.features.FeaturesDict) else {}
    label = named.get("label")
    is_picture = isinstance(named.get("image"), tfds.features.Image)
    if not (is_picture and isinstance(label, tfds.features.Tensor) and _is_whole_number(label)):
        raise UsageError(
            f"Dataset {builder.name} has no `image` with one `label` that is a class or a whole number.",
            "bopkit classifies pictures: see `bopkit data list`.",
        )


def _is_whole_number(feature: Any) -> bool:
    return feature.shape == () and np.issubdtype(feature.np_dtype, np.integer)


def _manual_dir(builder: Any, root: Path) -> Path | None:
    """The folder with the files that a user must fetch herself; None where a builder needs none.

    Raises:
        BopkitError: The folder is not there or empty.
    """
    instructions = builder.MANUAL_DOWNLOAD_INSTRUCTIONS
    if not instructions:
        return None
    usual = root / "downloads" / "manual"
    for folder in (usual, root / "manual"):
        if folder.is_dir() and any(folder.iterdir()):
            return folder
    raise BopkitError(
        f"Dataset {builder.name} has to be downloaded by hand: {' '.join(instructions.split())}",
        f"Put the files into {usual} and run `{prepare_command(builder)}`.",
    )


def _check_reachable(builder: Any, root: Path) -> None:
    """Ask each server for one answer, so that a missing network is known in seconds.

    Raises:
        BopkitError: A server that holds a file of the dataset does not answer.
    """
    import requests  # a dependency of TFDS, which downloads with it: the same proxies apply

    def answers(url: str) -> bool:
        try:
            requests.head(url, timeout=REACHABLE_WITHIN_S, allow_redirects=False)
        except requests.RequestException:
            return False
        return True

    urls = {url.split("/")[2]: url for url in builder.url_infos if url.startswith("http")}
    with concurrent.futures.ThreadPoolExecutor() as pool:
        silent = [host for host, ok in zip(urls, pool.map(answers, urls.values()), strict=True) if not ok]
    if silent:
        raise BopkitError(
            f"Dataset {builder.name} is not prepared in {root}, and {', '.join(silent)} does not answer.",
            f"Connect to the network; or {_with_archives(builder)}copy a prepared `{builder.name}` folder into {root} "
            "(or name its parent with --data-dir).",
        )


def _with_archives(builder: Any) -> str:
    """The beginning of a sentence that says how to prepare a dataset without network; empty where that cannot be."""
    archives = registered_archives(builder)
    if not archives:
        return ""
    command = f"{prepare_command(builder)} --from FOLDER"
    return f"run `{command}` with a folder that has {archives_text(archives)}; or "
