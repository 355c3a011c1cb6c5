"""Pictures per second of the training input: ours, the straightforward pipeline, and bare JPEG decoding as the limit.

    python tests/benchmarks/input_pipeline.py [--rounds 5] [--batches 24]

ImageNet: cuts of scikit-learn's two bundled photographs as JPEG files of ImageNet's usual size, read from memory, to
batches of 64 at 224x224. CIFAR-10: cuts of 32x32 as PNG files, as TFDS keeps them, to batches of 100. The
straightforward pipeline is the Bop paper's preprocessing written out operation by operation for each picture: decode
whole, crop, resize, flip, normalise. Ours hands over uint8, which the training step normalises on its device;
`ours, normalised` does that here too, a batch at a time, as nothing but this comparison does. Nothing trains
meanwhile. The pipelines take turns, each new in every round and
past its warm-up before its clock starts; medians are printed. On a machine that does other work too, the ratios of
processor time are the steadier ones.
"""

import argparse
import statistics
import time

import numpy as np

from bopkit.data import BatchOptions, Dataset, DatasetFacts, get_preprocessing, training_batches
from bopkit.keras2 import import_tensorflow

SIZE = (375, 500)
JPEG_QUALITY = 95
GRAIN = 8.0
"""Standard deviation of the noise that gives resized cuts a camera's detail, and with it ImageNet's 110 kB a file."""
WARM_UP_BATCHES = 8  # tf.data finds its degree of parallelism during these


class InMemory(Dataset):
    """Encoded pictures held in memory, all of class 0."""

    def __init__(self, encoded, input_shape, preprocessing, picture_size=None):
        facts = DatasetFacts("in_memory", 1, input_shape, preprocessing, "", {"train": len(encoded)})
        super().__init__(facts, ["any"])
        self._encoded, self._picture_size = encoded, picture_size

    @property
    def picture_size(self):
        return self._picture_size

    def count(self, split):
        return len(self._encoded)

    def read(self, split):
        labels = np.zeros(len(self._encoded), np.int64)
        return import_tensorflow().data.Dataset.from_tensor_slices((self._encoded, labels))


def jpeg_files(count):
    """JPEG files of `SIZE`: random cuts of 60 to 100 % of the photographs' height, mirrored at random."""
    from sklearn.datasets import load_sample_images

    tf = import_tensorflow()
    rng = np.random.default_rng(0)
    photographs = load_sample_images().images
    encoded = []
    for number in range(count):
        photograph = photographs[number % len(photographs)][:, :: rng.choice([-1, 1])]
        height = int(rng.uniform(0.6, 1) * photograph.shape[0])
        width = height * SIZE[1] // SIZE[0]
        top = rng.integers(0, photograph.shape[0] - height + 1)
        left = rng.integers(0, photograph.shape[1] - width + 1)
        cut = tf.image.resize(photograph[top : top + height, left : left + width], SIZE, method="bicubic").numpy()
        pixels = np.clip(cut + rng.normal(0, GRAIN, cut.shape), 0, 255).astype(np.uint8)
        encoded.append(tf.io.encode_jpeg(pixels, quality=JPEG_QUALITY).numpy())
    return encoded


def png_files(count):
    """PNG files of 32x32 cuts of the photographs."""
    from sklearn.datasets import load_sample_images

    tf = import_tensorflow()
    rng = np.random.default_rng(0)
    photographs = [photograph[::4, ::4] for photograph in load_sample_images().images]
    encoded = []
    for number in range(count):
        photograph = photographs[number % len(photographs)]
        top, left = (rng.integers(0, have - 32 + 1) for have in photograph.shape[:2])
        encoded.append(tf.io.encode_png(photograph[top : top + 32, left : left + 32]).numpy())
    return encoded


def ours(dataset, batch_size, batches):
    """What `bopkit train` reads."""
    preprocessing = get_preprocessing(dataset.default_preprocessing, dataset.input_shape)
    steps_per_epoch = dataset.count("train") // batch_size
    options = BatchOptions(
        batch_size=batch_size, steps_per_epoch=steps_per_epoch, seed=0, epochs=-(-batches // steps_per_epoch)
    )
    return training_batches(dataset, "train", preprocessing, options)


def ours_normalised(dataset, batch_size, batches):
    """The same up to the network's float32 input."""
    tf = import_tensorflow()
    finish = get_preprocessing(dataset.default_preprocessing, dataset.input_shape).finish
    inputs = ours(dataset, batch_size, batches).map(lambda pixels, labels: (finish(pixels), labels), tf.data.AUTOTUNE)
    return inputs.prefetch(tf.data.AUTOTUNE)


def straightforward(dataset, batch_size, batches, one_picture):
    """One map of `one_picture` over shuffled pictures, then batches."""
    tf = import_tensorflow()
    pictures = dataset.read("train").shuffle(dataset.count("train")).repeat()
    inputs = pictures.map(lambda image, label: (one_picture(image), label), num_parallel_calls=tf.data.AUTOTUNE)
    return inputs.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE).take(batches)


def paper_imagenet(image):
    """The paper's training preprocessing for ImageNet, operation by operation; float32 [224, 224, 3]."""
    tf = import_tensorflow()
    pixels = tf.io.decode_jpeg(image, channels=3)
    begin, size, _ = tf.image.sample_distorted_bounding_box(
        tf.shape(pixels),
        bounding_boxes=tf.zeros([1, 0, 4]),
        min_object_covered=0.1,
        aspect_ratio_range=(3 / 4, 4 / 3),
        area_range=(0.08, 1.0),
        max_attempts=10,
        use_image_if_no_bounding_boxes=True,
    )
    pixels = tf.slice(pixels, begin, size)
    pixels = tf.image.resize(pixels, [224, 224], method="bicubic")
    pixels = tf.image.random_flip_left_right(pixels)
    pixels.set_shape([224, 224, 3])
    mean, std = (tf.constant(values) * 255.0 for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    return (pixels - mean) / std


def paper_cifar10(image):
    """The paper's training preprocessing for CIFAR-10; float32 [32, 32, 3]."""
    tf = import_tensorflow()
    pixels = tf.cast(tf.io.decode_png(image, channels=3), tf.float32)
    pixels = tf.image.resize_with_crop_or_pad(pixels, 40, 40)
    pixels = tf.image.random_crop(pixels, [32, 32, 3])
    pixels = tf.image.random_flip_left_right(pixels)
    return pixels / 127.5 - 1.0


def bare_decoding(dataset, batch_size, batches):
    """Whole JPEG files decoded in parallel in shuffled order; all but one value of a picture is thrown away."""
    tf = import_tensorflow()
    pictures = dataset.read("train").shuffle(dataset.count("train")).repeat()
    decoded = pictures.map(lambda image, label: tf.io.decode_jpeg(image, channels=3)[0, 0, 0], tf.data.AUTOTUNE)
    return decoded.batch(batch_size).prefetch(tf.data.AUTOTUNE).take(batches)


def measure(pipeline, batch_size):
    """Pictures per second, and milliseconds of processor time a picture, after `WARM_UP_BATCHES`."""
    batches = iter(pipeline)
    for _ in range(WARM_UP_BATCHES):
        next(batches)
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    pictures = sum(batch_size for _ in batches)
    return pictures / (time.perf_counter() - wall_s), 1e3 * (time.process_time() - cpu_s) / pictures


def compare(heading, pipelines, batch_size, rounds):
    """Measure pipelines in turn; print their median rates, and how many times faster the first is than the others."""
    samples = {name: [] for name in pipelines}
    for _ in range(rounds):
        for name, make in pipelines.items():
            samples[name].append(measure(make(), batch_size))
    medians = {
        name: [statistics.median(values) for values in zip(*each, strict=True)] for name, each in samples.items()
    }
    print(f"{heading}\n{'':18}{'images/s':>10}{'lowest':>9}{'highest':>9}{'CPU ms/image':>14}")
    for name, (rate, cpu_ms) in medians.items():
        rates = [rate for rate, _ in samples[name]]
        print(f"  {name:16}{rate:10.0f}{min(rates):9.0f}{max(rates):9.0f}{cpu_ms:14.3f}")
    (first, (rate, cpu_ms)), *others = medians.items()
    for name, (other_rate, other_cpu_ms) in others:
        by_cpu = f"by processor time {other_cpu_ms / cpu_ms:.2f}"
        print(f"  {first} / {name}: {rate / other_rate:.2f} ({by_cpu})", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=24, help="timed batches of 64 a round")
    parser.add_argument("--pictures", type=int, default=256, help="different JPEG files")
    arguments = parser.parse_args()

    files = jpeg_files(arguments.pictures)
    imagenet = InMemory(files, (224, 224, 3), "imagenet")
    total = arguments.batches + WARM_UP_BATCHES
    compare(
        f"ImageNet: JPEG files of {SIZE[1]}x{SIZE[0]}, {statistics.mean(map(len, files)) / 1e3:.0f} kB on average, "
        "batches of 64 at 224x224",
        {
            "ours": lambda: ours(imagenet, 64, total).take(total),
            "ours, normalised": lambda: ours_normalised(imagenet, 64, total).take(total),
            "straightforward": lambda: straightforward(imagenet, 64, total, paper_imagenet),
            "bare decoding": lambda: bare_decoding(imagenet, 64, total),
        },
        64,
        arguments.rounds,
    )
    cifar10 = InMemory(png_files(2_000), (32, 32, 3), "resize_and_flip", picture_size=(32, 32))
    total = 10 * arguments.batches + WARM_UP_BATCHES
    compare(
        "CIFAR-10: PNG files of 32x32, batches of 100",
        {
            "ours": lambda: ours(cifar10, 100, total).take(total),
            "ours, normalised": lambda: ours_normalised(cifar10, 100, total).take(total),
            "straightforward": lambda: straightforward(cifar10, 100, total, paper_cifar10),
        },
        100,
        arguments.rounds,
    )


if __name__ == "__main__":
    main()
