"""How long a folder of many pictures takes to open, and with how much memory, beside Keras' and TFDS's own readers.

    python tests/benchmarks/opening_pictures.py [--pictures 10000 100000] [--rounds 3]

Makes folders `train/CLASS/NAME.jpg` of ten classes from crops of scikit-learn's photographs, each written once and then
linked under many names. Readers take turns, each in a process of its own that has imported its library and read a small
folder before. Timed is what is needed until pictures can be asked for: names are listed, and a dataset is made. bopkit
also reads the header and the end of each file, so that damage is told before training; the others do not. Then a
thousand pictures are read. Memory is what the process grew by in both, at its peak. Linux only.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bopkit.data import open_dataset
from bopkit.export.pictures import photograph_crops
from bopkit.host import cpu_name, logical_cores
from bopkit.keras2 import import_tensorflow

CLASSES, ORIGINALS, SIZE_PX = 10, 5, 96
READ_PICTURES = 1000
READERS = ("bopkit", "keras", "tfds")


def make_pictures(folder, count):
    """Write a folder of so many pictures; a file system allows some 60,000 names of one file."""
    tf = import_tensorflow()
    crops = photograph_crops((SIZE_PX, SIZE_PX, 3), (0, 255), CLASSES * ORIGINALS).astype("uint8")
    encoded = [tf.io.encode_jpeg(crop).numpy() for crop in crops]
    for label in range(CLASSES):
        parent = folder / "train" / f"class {label}"
        parent.mkdir(parents=True)
        for number in range(count // CLASSES):
            original = parent / f"{number % ORIGINALS}.jpg"
            if number < ORIGINALS:
                original.write_bytes(encoded[label * ORIGINALS + number])
            else:
                os.link(original, parent / f"{number}.jpg")


def dataset_of(reader, folder):
    """The training pictures, as a `tf.data.Dataset`."""
    if reader == "bopkit":
        return open_dataset(f"folder:{folder}").read("train")
    if reader == "keras":
        directory, options = f"{folder}/train", {"batch_size": None, "image_size": (SIZE_PX, SIZE_PX)}
        return import_tensorflow().keras.utils.image_dataset_from_directory(directory, **options)
    import tensorflow_datasets as tfds

    return tfds.folder_dataset.ImageFolder(str(folder)).as_dataset(split="train", as_supervised=True)


def open_and_read(reader, folder):
    """Seconds to open; some pictures are then read."""
    begun = time.perf_counter()
    dataset = dataset_of(reader, folder)
    seconds = time.perf_counter() - begun
    for _ in dataset.take(READ_PICTURES):
        pass
    return seconds


def resident_mb(field):
    """Memory of this process in MB: `VmRSS` now, `VmHWM` at its peak since that was reset."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field)]
    return int(line.split()[1]) * 1024 / 1e6


def measure(reader, folder):
    """Print seconds and megabytes of one reader; in a process of its own."""
    with tempfile.TemporaryDirectory() as small:
        make_pictures(Path(small), CLASSES * ORIGINALS)
        open_and_read(reader, small)
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before_mb = resident_mb("VmRSS")
    seconds = open_and_read(reader, folder)
    print(f"RESULT {seconds} {resident_mb('VmHWM') - before_mb}")


def in_a_process(reader, folder):
    """Seconds and megabytes of one reader."""
    command = [sys.executable, __file__, "--reader", reader, "--folder", str(folder)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return tuple(map(float, output.rpartition("RESULT ")[2].split()))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--reader", choices=READERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.reader:
        measure(arguments.reader, arguments.folder)
        return
    print(f"{logical_cores()} cores of {cpu_name()}; medians of {arguments.rounds} rounds")
    print("pictures  reader   open s  x bopkit  memory MB")
    for count in arguments.pictures:
        with tempfile.TemporaryDirectory() as folder:
            make_pictures(Path(folder), count)
            rounds = [[in_a_process(reader, folder) for reader in READERS] for _ in range(arguments.rounds)]
        medians = [
            [statistics.median(values) for values in zip(*each, strict=True)] for each in zip(*rounds, strict=True)
        ]
        ours_s = medians[0][0]
        for reader, (seconds, megabytes) in zip(READERS, medians, strict=True):
            print(f"{count:8,}  {reader:6} {seconds:8.2f}  {seconds / ours_s:8.2f}  {megabytes:9.0f}")


if __name__ == "__main__":
    main()
