"""Several threads against one: by the clock, as idle cores would take it, and pictures a second of batches.

    python tests/benchmarks/threads.py [NETWORK ...] [--threads 2] [--seconds 2] [--busy 1 2] [--batches 1 8 32]
        [--folder FOLDER]

The networks of zoo_runtime.py. By the clock, one and several threads take turns in this process: the least time of a
run, the lower quartile and the median. Then how many times faster 2 and 4 idle cores would be, and their share of idle
time: one thread runs every step in the units that threads would share, each is timed (the delegate's option `profile:
units`), and these least times are handed to the threads in order, each to the one that is free first, with HAND_OVER_NS
for each time that a step shares work. What is not shared, also outside of the delegate, counts as work of one thread.

`--busy` compares them beside so many other processes, each of which keeps a core busy: the median, and the mean, which
has the runs that were interrupted.

`--batches` then compares pictures a second: of one interpreter with several threads, with those of as many processes
with one thread each, which take turns of a second.
"""

import argparse
import contextlib
import heapq
import multiprocessing
import os
import statistics
import tempfile
import time
from typing import NamedTuple

import bopkit_runtime
import numpy as np
from zoo_runtime import flatbuffer_of

from bopkit.host import cpu_name

NETWORKS = ("binarynet", "binary_alexnet", "xnornet", "birealnet", "quicknet")
HAND_OVER_NS = 1000
RUNS_A_TURN = 20
TURN_SECONDS = 1.0
START_SECONDS = 2.0  # of processes, which import this file


class Counted(NamedTuple):
    """Nanoseconds of one run: of all steps, and of what threads would not share and share."""

    whole: int
    alone: int
    shared: list[list[int]]


def picture_of(interpreter, count=1):
    (info,) = interpreter.inputs
    return np.random.default_rng(0).uniform(-1, 1, (count, *info.shape[1:])).astype(info.dtype)


def run_ns(interpreter, clock, runs):
    """Nanoseconds of each of LiteRT's runs; the one before brings weights back into the caches."""
    invoke, samples = interpreter.litert.invoke, []
    invoke()
    for _ in range(runs):
        start = clock()
        invoke()
        samples.append(clock() - start)
    return samples


def turns_ns(interpreters, seconds):
    samples = [[] for _ in interpreters]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for interpreter, each in zip(interpreters, samples, strict=True):
            each += run_ns(interpreter, time.perf_counter_ns, RUNS_A_TURN)
    return samples


def count_units(path, threads, runs):
    """What `threads` threads would share of one run, the least times of several."""
    litert = bopkit_runtime.litert.import_litert().module
    options = {"num_threads": str(threads), "profile": "units"}
    delegate = litert.load_delegate(bopkit_runtime.library_path(), options)
    interpreter = litert.Interpreter(str(path), num_threads=1, experimental_delegates=[delegate])
    interpreter.allocate_tensors()
    for _ in range(runs):
        interpreter.invoke()
    steps = [step for part in bopkit_runtime.describe(delegate)["partitions"] for step in part["steps"]]
    shared = [units for step in steps for units in step["unit_ns"]]
    whole = sum(step["least_ns"] for step in steps)
    return Counted(whole, max(0, whole - sum(map(sum, shared))), shared)


def handed_out_ns(units, threads):
    """The end of the last unit, if each goes to the thread that is free first."""
    free = [0] * threads
    for unit in units:
        heapq.heappush(free, heapq.heappop(free) + unit)
    return max(free)


def on_idle_cores(path, cores, runs, one_ns):
    """By what idle cores are faster than one, and their share of time without work."""
    one, several = count_units(path, 1, runs), count_units(path, cores, runs)
    outside = max(0, one_ns - one.whole)
    alone = several.alone + outside
    took = alone + sum(handed_out_ns(units, cores) + HAND_OVER_NS for units in several.shared)
    worked = alone + sum(map(sum, several.shared))
    return (one.whole + outside) / took, 1 - worked / (cores * took)


def work(path, count, pipe):
    """A process of its own: pictures until the end of each turn."""
    interpreter = bopkit_runtime.Interpreter(path)
    pictures = picture_of(interpreter, count)
    interpreter.predict(pictures)
    pipe.send(0)
    while (end := pipe.recv()) is not None:
        pipe.send(predicted(interpreter, pictures, end))


def predicted(interpreter, pictures, end):
    """How many pictures were predicted until then."""
    count = 0
    while time.monotonic() < end:
        interpreter.predict(pictures)
        count += len(pictures)
    return count


def pictures_a_second(path, threads, count, turns):
    """Of one interpreter with several threads, and of as many processes: the median of turns."""
    interpreter = bopkit_runtime.Interpreter(path, num_threads=threads)
    pictures = picture_of(interpreter, count)
    interpreter.predict(pictures)
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    for _ in range(threads):
        ours, theirs = context.Pipe()
        processes.append(context.Process(target=work, args=(path, count, theirs)))
        processes[-1].start()
        pipes.append(ours)
    for pipe in pipes:
        pipe.recv()
    rates = ([], [])
    for _ in range(turns):
        start = time.monotonic()
        done = predicted(interpreter, pictures, start + TURN_SECONDS)
        rates[0].append(done / (time.monotonic() - start))
        start = time.monotonic()
        for pipe in pipes:
            pipe.send(start + TURN_SECONDS)
        done = sum(pipe.recv() for pipe in pipes)
        rates[1].append(done / (time.monotonic() - start))
    for pipe, process in zip(pipes, processes, strict=True):
        pipe.send(None)
        process.join()
    return [statistics.median(each) for each in rates]


def interpreters_of(path, threads):
    """Of one and of so many threads, with a picture."""
    interpreters = [bopkit_runtime.Interpreter(path, num_threads=count) for count in (1, threads)]
    for interpreter in interpreters:
        picture = picture_of(interpreter)
        interpreter.litert.set_tensor(interpreter.litert.get_input_details()[0]["index"], picture)
    return interpreters


def keep_busy(parent):
    while os.getppid() == parent:  # it may be ended without ending this
        pass


@contextlib.contextmanager
def busy_processes(count):
    make = multiprocessing.get_context("spawn").Process
    processes = [make(target=keep_busy, args=(os.getpid(),), daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    try:
        time.sleep(START_SECONDS)
        yield
    finally:
        for process in processes:
            process.terminate()
            process.join()


def print_beside(name, path, threads, seconds, busy):
    interpreters = interpreters_of(path, threads)
    text = ""
    for count in busy:
        with busy_processes(count):
            one, several = turns_ns(interpreters, seconds)
        for of in (np.median, np.mean):
            before, after = of(one), of(several)
            text += f"{before / 1e6:8.3f}{after / 1e6:8.3f}{before / after:6.2f}"
    print(f"{name:18}{text}", flush=True)


def print_speed_up(name, path, threads, seconds):
    interpreters = interpreters_of(path, threads)
    one_ns = min(run_ns(interpreters[0], time.thread_time_ns, 2 * RUNS_A_TURN))
    one, several = (np.percentile(turn, (0, 25, 50)) for turn in turns_ns(interpreters, seconds))
    text = ""
    for before, after in zip(one, several, strict=True):
        text += f"{before / 1e6:8.3f}{after / 1e6:8.3f}{before / after:6.2f}"
    for cores in (2, 4):
        speed_up, idle = on_idle_cores(path, cores, 2 * RUNS_A_TURN, one_ns)
        text += f"{speed_up:8.2f}{idle:6.0%}"
    print(f"{name:18}{text}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each network's turns by the clock")
    parser.add_argument("--busy", type=int, nargs="*", default=[1, 2], help="other processes, for a table each")
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 8, 32])
    parser.add_argument("--folder", help="of the flatbuffers")
    arguments = parser.parse_args()
    threads = arguments.threads
    print(f"{cpu_name()}, {bopkit_runtime.isas()[0]}; milliseconds of 1 and of {threads} threads, and how often faster")
    print(
        f"{'network':18}{'least':>22}{'quartile':>22}{'median':>22}{'2 cores':>8}{'idle':>6}{'4 cores':>8}{'idle':>6}"
    )
    with tempfile.TemporaryDirectory() as scratch:
        paths = {name: flatbuffer_of(name, arguments.folder or scratch) for name in arguments.networks}
        for name, path in paths.items():
            print_speed_up(name, path, threads, arguments.seconds)
        if arguments.busy:
            print(f"beside other processes: milliseconds of 1 and of {threads} threads, and how often faster")
            columns = "".join(f"{f'{count} busy, {of}':>22}" for count in arguments.busy for of in ("median", "mean"))
            print(f"{'network':18}{columns}")
        for name, path in paths.items() if arguments.busy else ():
            print_beside(name, path, threads, arguments.seconds, arguments.busy)
        if arguments.batches:
            print(f"pictures a second of {threads} threads, and of {threads} processes of one thread")
        for name, path in paths.items() if arguments.batches else ():
            rates = [pictures_a_second(path, threads, count, turns=5) for count in arguments.batches]
            text = "".join(
                f"   batch {count}: {ours:7.0f}{theirs:7.0f}{ours / theirs:6.2f}"
                for count, (ours, theirs) in zip(arguments.batches, rates, strict=True)
            )
            print(f"{name:18}{text}", flush=True)


if __name__ == "__main__":
    main()
