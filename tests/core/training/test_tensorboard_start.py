"""TensorBoard's tab of hyper-parameters and its pictures, read back by TensorBoard's own plugins."""

import json
import shutil
import types

import numpy as np
import pytest

from bopkit import load_model, train_model
from bopkit.data import BatchOptions, PictureRecipe, get_preprocessing, open_dataset, training_batches
from bopkit.data.pipeline import augmentation_seed
from bopkit.keras2 import import_tensorflow

pytestmark = pytest.mark.integration


def train(output_dir, epochs=2, hparams=None, **kwargs):
    hparams = {"filters": 4, "epochs": epochs, "batch_size": 32, **(hparams or {})}
    options = {"limit_steps": 3, "validationset": True, **kwargs}
    return train_model(
        "tiny.network", "digits", hparams_set="bop_digits", hparams=hparams, output_dir=output_dir, **options
    )


def session_groups(folder):
    """What the tab shows: hyper-parameters and metrics of each run, by the name of the run."""
    from tensorboard import context
    from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
    from tensorboard.plugins.base_plugin import TBContext
    from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

    multiplexer = plugin_event_multiplexer.EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(folder)).Reload()
    provider = data_provider.MultiplexerDataProvider(multiplexer, str(folder))
    plugin = backend_context.Context(TBContext(data_provider=provider, multiplexer=multiplexer))
    request = api_pb2.ListSessionGroupsRequest(
        start_index=0,
        slice_size=10,
        allowed_statuses=[api_pb2.STATUS_UNKNOWN, api_pb2.STATUS_SUCCESS, api_pb2.STATUS_RUNNING],
    )
    answer = list_session_groups.Handler(context.RequestContext(), plugin, "", request).run()
    return {
        session.name: (
            {name: getattr(value, value.WhichOneof("kind")) for name, value in group.hparams.items()},
            {f"{each.name.group}/{each.name.tag}": each.value for each in session.metric_values},
        )
        for group in answer.session_groups
        for session in group.sessions
    }


def images(run, name):
    """The pictures under a tag: uint8 [n, h, w, c], and the steps at which there are some."""
    from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

    everything = {"tensors": 0}
    events = EventAccumulator(str(run / "tensorboard"), everything).Reload().Tensors(f"pictures/{name}")
    decode = import_tensorflow().io.decode_png
    return np.stack([decode(png).numpy() for png in events[0].tensor_proto.string_val[2:]]), [e.step for e in events]


def test_the_tabs_show_settings_figures_and_what_the_network_sees(tmp_path):
    def stop(row):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", on_epoch=stop)
    train(tmp_path / "run")
    shown = session_groups(tmp_path)
    assert list(shown) == ["run/tensorboard"]  # one session, though the run was resumed
    hparams, metrics = shown["run/tensorboard"]
    assert (hparams["filters"], hparams["gamma"], hparams["model"], hparams["seed"]) == (4, 1e-3, "tiny", 0)
    assert hparams["jit"] is False and "early_stop" not in hparams
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    last = [row for row in rows if row["kind"] == "epoch"][-1]
    expected = {"validation/epoch_top1": "val_top1", "validation/epoch_loss": "val_loss"}
    expected |= {"train/epoch_top1": "top1", "train/epoch_loss": "loss"}
    assert metrics == {tag: np.float32(last[name]) for tag, name in expected.items()}

    digits, preprocessing = open_dataset("digits"), get_preprocessing("shift", (32, 32, 1))
    tf = import_tensorflow()
    for name, split in (("train", "train[:90%]"), ("validation", "train[90%:]")):
        pictures, steps = images(tmp_path / "run", name)
        assert steps == [0] and pictures.shape == (16, 32, 32, 1)
        for index, (stored, _) in enumerate(digits.read(split).take(16)):
            seed = augmentation_seed(0, tf.constant(0, tf.int64), tf.constant(index, tf.int64))
            seen = preprocessing.train(stored, seed) if name == "train" else preprocessing.evaluate(stored)
            np.testing.assert_array_equal(pictures[index], preprocessing.to_pixels(seen.numpy()))

    # A run from before has no such file: it gets one when it goes on, and a longer run has its own settings.
    shutil.rmtree(tmp_path / "run" / "tensorboard")
    train(tmp_path / "run", epochs=3, extend=True)
    assert session_groups(tmp_path)["run/tensorboard"][0]["epochs"] == 3


def test_pictures_are_erased_and_mixed_as_training_does(tmp_path):
    """Against the batch that the input pipeline would make of these pictures in their own order."""
    train(tmp_path / "run", epochs=1, hparams={"random_erasing": 1.0, "mixup": 0.4, "randaugment_count": 1})
    shown, _ = images(tmp_path / "run", "train")
    digits = open_dataset("digits")
    recipe = PictureRecipe(random_erasing=1.0, mixup=0.4, randaugment_count=1)
    preprocessing = get_preprocessing("shift", (32, 32, 1))
    options = BatchOptions(batch_size=16, steps_per_epoch=1, epochs=1, seed=0)
    first = digits.read("train[:90%]").take(16).cache()
    in_order = types.SimpleNamespace(read=lambda split: first, count=lambda split: 1, reader=lambda split: None)
    in_order.picture_size = None
    batches = training_batches(in_order, "train", preprocessing, options, recipe=recipe)
    ((pixels, _),) = batches
    np.testing.assert_array_equal(shown, preprocessing.to_pixels(preprocessing.finish(pixels).numpy()))


def test_training_is_the_same_to_the_last_bit_without(tmp_path):
    train(tmp_path / "with")
    train(tmp_path / "without", tensorboard=False)
    assert not (tmp_path / "without" / "tensorboard").exists()
    pairs = zip(*(load_model(tmp_path / each / "model.h5").get_weights() for each in ("with", "without")), strict=True)
    assert all(np.array_equal(*pair) for pair in pairs)
