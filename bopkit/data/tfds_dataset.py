"""Datasets of TensorFlow Datasets (TFDS): find, prepare, read.

Pictures stay encoded (scalar strings, JPEG or PNG) until the preprocessing decodes them.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import logging
import shutil
import sys
import tarfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from bopkit import keras2
from bopkit.data.catalogue import DATASETS, DatasetFacts, facts_of_pictures
from bopkit.data.dataset import Dataset, readable
from bopkit.errors import BopkitError, UsageError, first_line
from bopkit.keras2 import import_tensorflow
from bopkit.progress import Progress

REACHABLE_WITHIN_S = 5.0
"""Patience with a server before a download: TFDS itself retries for minutes without a network."""

LABELS_AT_ONCE = 1024

NO_LABEL = -1
"""What TFDS gives the pictures of a split without labels."""

_counted_classes: dict[str, int] = {}
"""Numbers of classes by dataset, where reading all labels was the only way to them: a command opens a dataset often."""

FIND_DAMAGE_WITHIN_S = 20.0
"""Patience with the search for a damaged file, of which TensorFlow tells the offset but not the name."""


class TfdsDataset(Dataset):
    """A prepared dataset of TFDS.

    Args:
        builder: Its `tfds.core.DatasetBuilder`.

    Raises:
        BopkitError: It is not prepared.
        UsageError: It has no `image` with one `label`, or its labels are whole numbers that do not count classes.
    """

    def __init__(self, builder: Any):
        _check_features(builder)
        if not builder.is_prepared():
            raise BopkitError(
                f"Dataset {builder.name} {builder.version} is not prepared in {_root(builder)}.",
                f"Run `{_prepare_command(builder)}`, or name its folder with --data-dir.",
            )
        self._builder = builder
        names = _class_names(builder)
        super().__init__(_facts(builder, len(names)), names)
        if not names:
            if self.cache_identity not in _counted_classes:
                _counted_classes[self.cache_identity] = self._count_classes()
            self.class_names = tuple(map(str, range(_counted_classes[self.cache_identity])))
            self.facts = dataclasses.replace(self.facts, classes=len(self.class_names))

    @property
    def identity(self) -> str:
        """`name/config/version`."""
        return self._builder.info.full_name

    @property
    def cache_identity(self) -> str:
        """Identity and folder."""
        return f"{self.identity}|{Path(self._builder.data_path).absolute()}"

    @property
    def picture_size(self) -> tuple[int, int] | None:
        """Height and width of all pictures, where the builder's features state them."""
        height, width, _ = self._builder.info.features["image"].shape
        return (height, width) if height and width else None

    @property
    def split_names(self) -> tuple[str, ...]:
        """Names of the prepared splits."""
        return tuple(self._builder.info.splits)

    @property
    def is_shuffled(self) -> bool:
        """TFDS shuffles pictures when it prepares them, unless the builder forbids it."""
        return not self._builder.info.disable_shuffling

    def count(self, split: str) -> int:
        """Number of pictures of a split."""
        return max(int(self._checked(split).num_examples), 0)  # of `test[5:2]` TFDS has less than none

    def slices(self, split: str) -> list[tuple[str, int, int]]:
        """Files, which are those of several splits in `all`, and the pictures taken from each."""
        instructions = self._checked(split).file_instructions
        return [(str(each.filename), each.skip, each.skip + each.take) for each in instructions]

    def read(self, split: str) -> Any:
        """A `tf.data.Dataset` of (scalar string, int64 []).

        Raises:
            UsageError: There is no such split.
            BopkitError: A file is missing or has lost its end: known here, not after hours of an epoch.
        """
        import tensorflow_datasets as tfds

        tf = import_tensorflow()
        self._checked(split)
        self._check_files(split)
        examples = self._builder.as_dataset(
            split=split, shuffle_files=False, decoders={"image": tfds.decode.SkipDecoding()}
        )
        return examples.map(
            lambda example: (example["image"], tf.cast(example["label"], tf.int64)), num_parallel_calls=tf.data.AUTOTUNE
        )

    def _count_classes(self) -> int:
        """The number of classes where the features name none: that of the labels in all splits."""
        import tensorflow_datasets as tfds

        import_tensorflow()
        found: set[int] = set()
        for split in self.split_names:
            self._check_files(split)
            examples = self._builder.as_dataset(
                split=split, shuffle_files=False, decoders=tfds.decode.PartialDecoding({"label": True})
            )
            for batch in readable(examples.batch(LABELS_AT_ONCE), self, split):
                found.update(np.unique(batch["label"].numpy()).tolist())
        classes = found - {NO_LABEL}
        if classes != set(range(len(classes))) or not classes:
            numbers = f"whole numbers from {min(found)} to {max(found)}" if found else "missing"
            raise UsageError(
                f"Dataset {self.name} names no classes, and its labels are {numbers}, not all of 0, 1, 2 and so on.",
                "Give `label` of its builder the feature tfds.features.ClassLabel, or number the classes from 0 on.",
            )
        return len(classes)

    def explain_unreadable(self, split: str) -> BopkitError:
        """The error that names the damaged file, if it is found within `FIND_DAMAGE_WITHIN_S`."""
        try:
            self._check_files(split)
        except BopkitError as error:
            return error
        return self._unreadable(self._corrupt_file(split))

    def _unreadable(self, path: str | None) -> BopkitError:
        exists = import_tensorflow().io.gfile.exists
        state = "a file is damaged" if path is None else f"{path} is {'damaged' if exists(path) else 'missing'}"
        return BopkitError(
            f"Dataset {self.name} cannot be read: {state}.",
            f"Remove {self._builder.data_path} and run `{_prepare_command(self._builder)}`, or copy it again.",
        )

    def _files(self, split: str) -> list[str]:
        return list(dict.fromkeys(str(each.filename) for each in self._checked(split).file_instructions))

    def _check_files(self, split: str) -> None:
        """Raise a BopkitError if a file is missing or empty, or a whole split is shorter than its pictures."""
        gfile = import_tensorflow().io.gfile
        files = self._files(split)
        sizes = [gfile.stat(path).length if gfile.exists(path) else 0 for path in files]
        if 0 in sizes:
            raise self._unreadable(files[sizes.index(0)])
        # TFRecord files are longer than their records; those of other formats may be compressed.
        splits = self._builder.info.splits
        if split in list(splits) and self._is_tfrecord() and sum(sizes) < int(splits[split].num_bytes):
            raise self._unreadable(self._corrupt_file(split))

    def _is_tfrecord(self) -> bool:
        return bool(self._builder.info.file_format.value == "tfrecord")

    def _corrupt_file(self, split: str) -> str | None:
        """The first file of a split that does not read to its end with sound checksums; None if none is found soon."""
        if not self._is_tfrecord():
            return None
        tf = import_tensorflow()
        give_up = time.monotonic() + FIND_DAMAGE_WITHIN_S
        for path in self._files(split):
            try:
                for _ in tf.data.TFRecordDataset(path).batch(64):
                    if time.monotonic() > give_up:
                        return None
            except tf.errors.OpError:
                return path
        return None

    def _checked(self, split: str) -> Any:
        try:
            return self._builder.info.splits[split]
        except (KeyError, ValueError) as error:
            raise self.no_such_split(split) from error


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


def prepare(builder: Any, progress: Progress) -> None:
    """Download and prepare a dataset; nothing is done if it is prepared already.

    Args:
        builder: A `tfds.core.DatasetBuilder`.
        progress: Called with one line before something slow.

    Raises:
        BopkitError: No network, or a file that only its owner hands out is missing.
    """
    if builder.is_prepared():
        return
    import tensorflow_datasets as tfds

    _check_features(builder)
    root = _root(builder)
    manual_dir = _manual_dir(builder, root)
    if manual_dir is None:  # else the addresses that TFDS knows are those of the files in there
        _check_reachable(builder, root)
    progress(f"preparing {builder.name} in {root}")
    import_tensorflow()  # quietly, before TFDS does
    family = Path(builder.data_path).parent
    others = set(family.glob("incomplete.*"))
    try:
        with contextlib.redirect_stdout(sys.stderr):  # TFDS prints there, where a command's answer goes
            builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=manual_dir))
    except (OSError, EOFError, tarfile.TarError, AssertionError, tfds.download.DownloadError) as error:
        _remove(set(family.glob("incomplete.*")) - others)
        source = f"the files in {manual_dir}" if manual_dir else "the network"
        raise BopkitError(
            f"Dataset {builder.name} could not be prepared: {first_line(error)[:300]}.",
            f"Check {source} and the free space of {root}, then run `{_prepare_command(builder)}` again.",
        ) from error
    except KeyboardInterrupt:
        _remove(set(family.glob("incomplete.*")) - others)
        raise


def _remove(folders: Iterable[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _prepare_command(builder: Any) -> str:
    """The command that prepares a dataset where it was looked for."""
    import tensorflow_datasets as tfds

    root = _root(builder)
    where = "" if root == Path(tfds.core.constants.DATA_DIR).expanduser() else f" --data-dir {root}"
    return f"bopkit data prepare {_name(builder)}{where}"


def _name(builder: Any) -> str:
    """`name`, or `name/config`."""
    return f"{builder.name}/{builder.builder_config.name}" if builder.builder_config else builder.name


def _root(builder: Any) -> Path:
    """The folder of all prepared datasets: `--data-dir`, or TFDS's default."""
    levels = 2 if builder.builder_config else 1  # name[/config]/version
    return Path(builder.data_path).parents[levels]


def _check_features(builder: Any) -> None:
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


def _class_names(builder: Any) -> list[str]:
    """Names of the classes; none where the features do not even count them."""
    label = builder.info.features["label"]
    return label.names if getattr(label, "num_classes", None) else []


def _facts(builder: Any, classes: int) -> DatasetFacts:
    """Facts from the catalogue, else from the builder's features."""
    if builder.name in DATASETS:
        return DATASETS[builder.name]
    features = builder.info.features
    splits = {name: int(split.num_examples) for name, split in builder.info.splits.items()}
    return facts_of_pictures(_name(builder), features["image"].shape, classes, splits)


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
        f"Put the files into {usual} and run `bopkit data prepare {builder.name} --data-dir {root}`.",
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
            f"Connect to the network, or copy a prepared `{builder.name}` folder into {root} (or name its parent "
            "with --data-dir).",
        )
