"""What TensorBoard shows of a run besides its figures: the hyper-parameters, and pictures as the network sees them.

Written once, into a file of its own that appears whole or not at all. The figures lie in folders below, so that the tab
of hyper-parameters finds them as metrics of this run.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bopkit import files
from bopkit.data import PictureRecipe, reading
from bopkit.data.preview import pictures_of_epoch
from bopkit.keras2 import import_tensorflow
from bopkit.training.plan import TrainingPlan

START_FILE = "events.out.tfevents.0.start"
"""TensorBoard reads files with `tfevents` in their names."""

PICTURES = 16
"""Of each split."""

_METRICS = (
    ("validation", "epoch_top1", "validation top-1"),
    ("validation", "epoch_loss", "validation loss"),
    ("train", "epoch_top1", "training top-1"),
    ("train", "epoch_loss", "training loss"),
)
"""Folder, tag and shown name of the figures that the tab of hyper-parameters compares."""

_TYPES = {bool: "DATA_TYPE_BOOL", str: "DATA_TYPE_STRING"}
"""Other settings are numbers, also those that are none in this run."""


def write_start(plan: TrainingPlan, folder: Path, is_new: bool) -> None:
    """Write hyper-parameters and pictures, where they are not there yet.

    The pictures are read apart from the pipeline that trains, and no random number of the training is used.

    Args:
        plan: The run.
        folder: Its folder for TensorBoard.
        is_new: Whether what is there is of an earlier start, or of a shorter run.
    """
    file = folder / START_FILE
    if file.exists() and not is_new:
        return
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    wall_time = (folder.parent / "config.json").stat().st_mtime
    summaries: list[Any] = [*_hyper_parameters(_settings(plan), wall_time), *_pictures(plan)]
    folder.mkdir(parents=True, exist_ok=True)
    with files.replacing(file) as scratch, open(scratch, "wb") as out:
        writer = RecordWriter(out)
        writer.write(Event(wall_time=wall_time, file_version="brain.Event:2").SerializeToString())
        for value in summaries:
            event = Event(wall_time=wall_time, step=0, summary=Summary(value=[value]))
            writer.write(event.SerializeToString())


def _settings(plan: TrainingPlan) -> dict[str, Any]:
    """The config in one level, without what is no single value."""
    config = plan.config()
    hparams = config.pop("hparams")
    settings = {**config, **hparams}
    return {name: value for name, value in settings.items() if value is None or isinstance(value, str | int | float)}


def _hyper_parameters(settings: dict[str, Any], started_s: float) -> Iterator[Any]:
    """The summaries that TensorBoard's plugin for hyper-parameters reads: what there is, and this run's values."""
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2, summary_v2

    infos = [
        api_pb2.HParamInfo(name=name, type=getattr(api_pb2, _TYPES.get(type(value), "DATA_TYPE_FLOAT64")))
        for name, value in settings.items()
    ]
    metrics = [summary_v2.Metric(tag, group, display_name=name).as_proto() for group, tag, name in _METRICS]
    experiment = api_pb2.Experiment(hparam_infos=infos, metric_infos=metrics, time_created_secs=started_s)
    content = plugin_data_pb2.HParamsPluginData(experiment=experiment)
    yield _value(metadata.EXPERIMENT_TAG, metadata.create_summary_metadata(content), metadata.NULL_TENSOR)
    given = {name: value for name, value in settings.items() if value is not None}
    yield from summary_v2.hparams_pb(given, start_time_secs=started_s).value


def _pictures(plan: TrainingPlan) -> Iterator[Any]:
    """The first pictures of both splits, as the first epoch and as validation see them, in pixels."""
    tf = import_tensorflow()
    preprocessing = plan.preprocessing

    def train(images: list[Any]) -> list[Any]:
        return pictures_of_epoch(images, preprocessing, plan.options.seed, 0, PictureRecipe.of(plan.hparams))

    def evaluate(images: list[Any]) -> list[Any]:
        return [preprocessing.to_pixels(preprocessing.evaluate(image).numpy()) for image in images]

    seen = ((plan.train_split, "train", train), (plan.validation_split, "validation", evaluate))
    for split, name, prepare in seen:
        with reading(plan.data, split):
            read = list(plan.data.read(split).take(PICTURES))
        pixels = prepare([image for image, _ in read])
        classes = ", ".join(plan.data.class_names[int(label)] for _, label in read)
        text = f"The first pictures of {split}, preprocessing {preprocessing.name}: {classes}"
        pngs = [tf.io.encode_png(each).numpy() for each in pixels]
        yield _image_value(f"pictures/{name}", pngs, pixels[0].shape, text)


def _image_value(tag: str, pngs: list[bytes], shape: tuple[int, ...], text: str) -> Any:
    """A summary of encoded pictures of one size, as TensorBoard's plugin for images reads it."""
    from tensorboard.plugins.image import metadata
    from tensorboard.util import tensor_util

    height, width = shape[:2]
    tensor = tensor_util.make_tensor_proto([str(width).encode(), str(height).encode(), *pngs])
    return _value(tag, metadata.create_summary_metadata(display_name=None, description=text), tensor)


def _value(tag: str, metadata: Any, tensor: Any) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary.Value(tag=tag, metadata=metadata, tensor=tensor)
