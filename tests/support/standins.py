"""Small stand-ins for CIFAR-10 and ImageNet, written in the originals' own file formats and prepared by TFDS's own
builders, so that tests read them exactly as a user's real data is read, without a network.

A picture of class k shows stripes at an angle of its own, under noise: learnable, not at a glance. They have a colour
of their own too, or, where a task has to tell two good networks apart, none, and another class's stripes over them.
"""

import io
import tarfile
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np

CIFAR10_CLASSES = "airplane automobile bird cat deer dog frog horse ship truck".split()


def _stripes(angle, height, width, rng, density=20):
    """float [height, width, 1], -1 to 1: stripes at any phase, `density` in radians across the picture."""
    rows, columns = np.mgrid[0:height, 0:width]
    phase = (rows * np.sin(angle) + columns * np.cos(angle)) * density / max(height, width) + rng.uniform(0, 6)
    return np.sin(phase)[..., None]


def _colour(hue):
    """float [3], 0 to 1, for a hue from 0 to 1."""
    return 0.5 + 0.5 * np.cos(2 * np.pi * (hue + np.array([0, 1 / 3, 2 / 3])))


def striped_picture(label, classes, height, width, rng):
    """uint8 [height, width, 3] of class `label`."""
    stripes = _stripes(np.pi * label / classes, height, width, rng)
    picture = 128 + 70 * stripes * _colour(label / classes) + rng.normal(0, 30, (height, width, 3))
    return np.clip(picture, 0, 255).astype(np.uint8)


def crossed_picture(label, classes, height, width, rng, noise=70.0):
    """uint8 [height, width, 3] of class `label`, whose stripes are the stronger of two, neither quite at its angle.

    Each class has a density of its own too: neighbouring angles alone are hard to tell apart in 32 pixels. Colours are
    random. `noise` is the noise's standard deviation.
    """
    other = label + rng.integers(1, classes)
    picture = 128 + rng.normal(0, noise, (height, width, 3))
    for shown, contrast in ((label, 70), (other, rng.uniform(20, 70))):
        angle = np.pi * shown / classes + rng.normal(0, 0.05)
        density = 12 + 3 * (7 * shown % classes)
        picture += contrast * _stripes(angle, height, width, rng, density) * _colour(rng.uniform())
    return np.clip(picture, 0, 255).astype(np.uint8)


def prepare_cifar10(data_dir, train, test, seed=0, draw=striped_picture):
    """Write CIFAR-10's binary batches, pictures by `draw`, and let the builder `cifar10` prepare them in `data_dir`."""
    import tensorflow_datasets as tfds

    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as extracted:
        folder = Path(extracted) / "cifar-10-batches-bin"
        folder.mkdir()
        (folder / "batches.meta.txt").write_text("\n".join(CIFAR10_CLASSES) + "\n")
        counts = {f"data_batch_{number}.bin": train // 5 for number in range(1, 6)}
        for name, count in {**counts, "test_batch.bin": test}.items():
            labels = np.arange(count) % 10
            records = (
                bytes([label]) + draw(label, 10, 32, 32, rng).transpose(2, 0, 1).tobytes() for label in labels.tolist()
            )
            (folder / name).write_bytes(b"".join(records))
        builder = tfds.builder("cifar10", data_dir=data_dir)
        with mock.patch.object(tfds.download.DownloadManager, "download_and_extract", return_value=extracted):
            builder.download_and_prepare()


def write_ilsvrc_tars(folder, wnids, train_per_class, validation, seed=0):
    """Write the two ILSVRC2012 tar files; returns the class of each validation file by its name."""
    import tensorflow as tf

    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)

    def jpeg(label):
        height, width = rng.integers(230, 320, 2)
        return tf.io.encode_jpeg(striped_picture(label, len(wnids), height, width, rng)).numpy()

    def add(archive, name, data):
        member = tarfile.TarInfo(name)
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))

    with tarfile.open(folder / "ILSVRC2012_img_train.tar", "w") as train:
        for label, wnid in enumerate(wnids):
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode="w") as one_class:
                for number in range(train_per_class):
                    add(one_class, f"{wnid}_{number}.JPEG", jpeg(label))
            add(train, f"{wnid}.tar", buffer.getvalue())
    labels = {}
    with tarfile.open(folder / "ILSVRC2012_img_val.tar", "w") as archive:
        for number in range(validation):
            name = f"ILSVRC2012_val_{number + 1:08d}.JPEG"
            labels[name] = wnids[number % len(wnids)]
            add(archive, name, jpeg(number % len(wnids)))
    return labels


def prepare_imagenet2012(data_dir, classes, train_per_class, validation):
    """Let the builder `imagenet2012` prepare a few classes in `data_dir` from drawn tar files."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.datasets.imagenet2012 import imagenet_common

    builder = tfds.builder("imagenet2012", data_dir=data_dir)
    wnids = builder.info.features["label"].names[:classes]
    manual = Path(data_dir) / "downloads" / "manual"
    labels = write_ilsvrc_tars(manual, wnids, train_per_class, validation)
    with mock.patch.object(imagenet_common, "get_validation_labels", return_value=labels):
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=str(manual)))
