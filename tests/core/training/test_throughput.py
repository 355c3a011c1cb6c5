"""`bopkit doctor`, and what `--gpu` measures; on the CPU, since tests have no GPU."""

import json

import pytest
from command_line import NO_TENSORFLOW, bopkit, failed, forked, succeeded

from bopkit.errors import UsageError
from bopkit.training import throughput
from bopkit.training.throughput import ThroughputRow, images_per_second, measure_throughput, name_limit


class Clock:
    """A clock that only the measured work moves; results are there some time after the call that began them."""

    def __init__(self, monkeypatch, seconds):
        self.now = 0.0
        self.seconds = iter(seconds)
        self.waited = 0
        monkeypatch.setattr(throughput.time, "perf_counter", lambda: self.now)

    def run(self):
        cost = next(self.seconds)

        class Result:
            def numpy(result):
                self.now += cost
                self.waited += 1

        return Result()


def test_warm_up_is_not_timed_and_every_step_is_waited_for(monkeypatch):
    clock = Clock(monkeypatch, [100, 100, *[0.5] * 4])
    assert images_per_second(clock.run, batch_size=10, steps=4) == 10 / 0.5
    assert clock.waited == 6


def test_slow_steps_end_by_time_but_not_before_one_is_timed(monkeypatch):
    clock = Clock(monkeypatch, [0, 0, *[2.0] * 100])
    assert images_per_second(clock.run, batch_size=10, steps=100) == 10 / 2.0
    assert 4.0 < clock.now <= throughput.TIME_LIMIT_S + 2 * 2.0
    clock = Clock(monkeypatch, [0, 0, 60])
    assert images_per_second(clock.run, batch_size=30, steps=1) == 0.5


@pytest.mark.parametrize(
    ("compute", "alone", "together", "limit"),
    [
        (1000, 5000, 990, "compute"),
        (1000, 1001, 960, "compute"),
        (1000, 400, 390, "input"),
        (100, 150, 60, "shared"),
    ],
)
def test_the_limit(compute, alone, together, limit):
    assert name_limit(compute, alone, together) == limit


@pytest.mark.parametrize(
    ("rates", "kept"),
    [
        ({32: 100, 64: 180, 128: 250, 256: None}, [32, 64, 128]),  # 256 does not fit
        ({32: 100, 64: 180, 128: 181, 256: 300}, [32, 64, 128]),  # no faster
        ({32: None}, [32]),
    ],
)
def test_batches_grow_while_they_fit_and_are_faster(rates, kept):
    lines = []

    def measure(precision, jit, size):
        return ThroughputRow(precision, jit, size, rates[size], error=None if rates[size] else "Out of memory.")

    rows = throughput._measure_sizes(measure, "float32", False, [32, 64, 128, 256], lines.append)
    assert [row.batch_size for row in rows] == kept
    assert [row.error for row in rows] == [None if rates[size] else "Out of memory." for size in kept]
    assert any("Out of memory" in line for line in lines) == (256 in rates and rates[256] is None)


def test_a_machine_without_gpu_is_told_what_to_type():
    result = forked("doctor", "--gpu", environment={"CUDA_VISIBLE_DEVICES": ""})
    assert "`bopkit doctor --gpu --device cpu` measures the CPU" in failed(result)
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.integration
def test_options_of_the_measurement_need_it():
    for arguments in (["binarynet"], ["--steps", 3], ["--no-jit"]):
        assert "--gpu" in failed(bopkit("doctor", *arguments, program=NO_TENSORFLOW), 2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"precision": "float16"}, "precision 'float16'.*bfloat16, float32"),
        ({"device": "tpu"}, "'tpu'.*gpu, gpu:N, cpu"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"steps": 0}, "steps is 0"),
        ({"model": "birelnet"}, "Did you mean 'birealnet'"),
    ],
)
def test_wrong_names_and_values(options, words):
    with pytest.raises(UsageError, match=words):
        measure_throughput(**{"device": "cpu", **options})


@pytest.mark.integration
def test_the_cpu_is_measured_from_jpeg_to_step():
    options = ["--device", "cpu", "--batch-size", 2, "--steps", 1, "--no-jit", "--precision", "bfloat16"]
    report = json.loads(succeeded(forked("doctor", "--gpu", "binarynet", *options, "--json")))
    assert (report["model"], report["input_shape"]) == ("binarynet", [32, 32, 3])
    assert 80_000 < report["jpeg_bytes"] < 150_000
    (row,) = report["rows"]
    assert (row["precision"], row["jit"], row["batch_size"], row["error"]) == ("bfloat16", False, 2, None)
    rates = [row[name] for name in ("compute_images_per_second", "input_images_per_second", "images_per_second")]
    assert min(rates) > 0
    assert row["limit"] == name_limit(*rates)
    assert row["peak_memory_bytes"] is None


@pytest.mark.integration
def test_a_batch_that_cannot_fit_is_a_row_with_its_error():
    (row,) = measure_throughput(
        "binarynet", device="cpu", batch_size=10**7, jit=False, precision="float32", steps=1
    ).rows
    assert "memory" in row.error
    assert row.limit is None
