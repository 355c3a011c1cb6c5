"""Where a run computes and in which precision: what is chosen, and what is refused."""

import json
import os
from pathlib import Path

import pytest
from forks import run_python

from bopkit.errors import UsageError
from bopkit.keras2 import import_tensorflow
from bopkit.training import devices
from bopkit.training.devices import Placement, choose_devices, choose_precision


def two_workers(index=0, workers=("a:1", "b:2")):
    return {"TF_CONFIG": json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})}


def test_auto_is_multiworker_where_there_are_several_workers(monkeypatch):
    monkeypatch.setattr(devices, "_on_cluster", lambda found, names, on_gpu: (found.workers, found.index, names))
    joined = (("a:1", "b:2"), 1, ["/CPU:0"])
    assert choose_devices("auto", "cpu", two_workers(1)) == joined
    assert choose_devices("multiworker", "cpu", two_workers(1)) == joined
    assert choose_devices("multiworker", "cpu", two_workers(workers=["a:1"])) == (("a:1",), 0, ["/CPU:0"])
    slurm = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1", "SLURM_STEP_NODELIST": "n[1-2]"}
    slurm |= {"SLURM_STEP_TASKS_PER_NODE": "1(x2)"}
    assert choose_devices("auto", "cpu", slurm)[1:] == (1, ["/CPU:0"])
    for strategy, environment in (("auto", two_workers(workers=["a:1"])), ("auto", {}), ("one", two_workers())):
        alone = choose_devices(strategy, "cpu", environment)
        assert (alone.name, alone.replicas, alone.workers, alone.is_chief) == ("one", 1, 1, True)
        assert alone.describe() == "one CPU"
        assert alone.gather([7.0]) == [[7.0]]


@pytest.mark.parametrize(
    "device", ["tpu", "GPU", "gpu:", "gpu:-1", "cpu:0", "cpu*", "cpu*0", "cpu*100", "cpu*2,gpu", ""]
)
def test_unknown_devices(device):
    with pytest.raises(UsageError, match="Unknown device .*Known: auto, cpu, gpu"):
        choose_devices("auto", device, {})


def test_a_gpu_that_is_not_there():
    with pytest.raises(UsageError, match=r"There is no device gpu:99: TensorFlow sees \d+ GPU\(s\)\..*bopkit doctor"):
        choose_devices("auto", "gpu:99", {})


def test_a_broken_tf_config_is_told_and_never_trained_past():
    for strategy in ("auto", "multiworker"):
        with pytest.raises(UsageError, match="TF_CONFIG is not a JSON"):
            choose_devices(strategy, "cpu", {"TF_CONFIG": "{"})


VIRTUAL_DEVICES = """
from bopkit.errors import BopkitError, UsageError
from bopkit.keras2 import import_tensorflow
from bopkit.training.devices import choose_devices
import json
cluster = {"TF_CONFIG": json.dumps({"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 0}})}
try:
    choose_devices("multiworker", "cpu*2", cluster)
except UsageError as error:
    print(error.message)
placement = choose_devices("auto", "cpu*2", {})
print(placement.describe(), placement.replicas, placement.replicas_here, placement.workers, placement.on_gpu)
context = import_tensorflow().distribute.get_replica_context
per_replica = placement.strategy.run(lambda: context().replica_id_in_sync_group)
print([int(value) for value in placement.strategy.experimental_local_results(per_replica)])
print(choose_devices("one", "cpu*2", {}).describe(), choose_devices("mirrored", "cpu*2", {}).describe(), sep=", again ")
try:
    choose_devices("mirrored", "cpu*3", {})
except BopkitError as error:
    print(type(error).__name__, error)
"""


def test_virtual_cpu_devices():
    """In a process of its own: TensorFlow chooses its devices once."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    result = run_python(VIRTUAL_DEVICES, env=environment)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        "Several workers cannot use virtual CPU devices.",
        "mirrored, 2 CPU replicas 2 2 1 False",
        "[0, 1]",
        "one CPU, again mirrored, 2 CPU replicas",
        "BopkitError Device cpu*3 can no longer be chosen: TensorFlow is already running. "
        "Train in a fresh Python process.",
    ]


@pytest.mark.parametrize(
    "wanted, hint", [("float16", "averages are near 1e-8"), ("half", "float32, bfloat16"), ("", "")]
)
def test_unknown_precisions(wanted, hint):
    with pytest.raises(UsageError, match=f"Unknown precision {wanted!r}.*{hint}"):
        choose_precision(wanted, Placement(None, "one"))


@pytest.mark.parametrize(
    "cpuinfo, precision",
    [
        ("processor\t: 0\nflags\t\t: fpu avx512f amx_bf16 amx_tile\n\nprocessor\t: 1\n", "bfloat16"),
        ("flags\t\t: fpu avx512_bf16\n", "bfloat16"),
        ("flags\t\t: fpu avx512f avx512_vnni\n", "float32"),
        ("flags\t\t: fpu\nbugs\t\t: amx_bf16\n", "float32"),
        ("flags\t\t: avx512_bf16_not_this\n", "float32"),
        ("Features\t: fp asimd bf16\n", "float32"),  # ARM: TensorFlow's bfloat16 was not measured there
        (None, "float32"),
    ],
)
def test_the_precision_of_a_cpu(cpuinfo, precision, monkeypatch):
    def read_text(path):
        assert path == Path("/proc/cpuinfo")
        if cpuinfo is None:
            raise FileNotFoundError(path)
        return cpuinfo

    monkeypatch.setattr(Path, "read_text", read_text)
    name, reason = choose_precision(None, Placement(None, "one"))
    assert name == precision
    assert reason.startswith("default: this CPU " + ("has bfloat16" if precision == "bfloat16" else "is not known"))
    for wanted in devices.PRECISIONS:
        assert choose_precision(wanted, Placement(None, "one")) == (wanted, "as chosen")


@pytest.mark.parametrize(
    "capabilities, precision",
    [([(8, 0)], "bfloat16"), ([(9, 0), (8, 6)], "bfloat16"), ([(7, 5)], "float32"), ([(8, 0), (7, 5)], "float32")],
)
def test_the_precision_of_gpus_is_one_that_all_of_them_have(capabilities, precision, monkeypatch):
    config = import_tensorflow().config
    monkeypatch.setattr(config, "get_visible_devices", lambda kind: capabilities)
    details = lambda gpu: {"compute_capability": gpu}  # noqa: E731
    monkeypatch.setattr(config.experimental, "get_device_details", details)
    placement = Placement(None, "mirrored", replicas=len(capabilities), on_gpu=True)
    assert choose_precision(None, placement).name == precision


def test_the_precision_of_an_unknown_gpu_and_of_a_tpu(monkeypatch):
    config = import_tensorflow().config
    monkeypatch.setattr(config, "get_visible_devices", lambda kind: ["no such detail"])
    monkeypatch.setattr(config.experimental, "get_device_details", lambda gpu: {})
    assert choose_precision(None, Placement(None, "one", on_gpu=True)).name == "float32"
    assert choose_precision(None, Placement(None, "tpu", replicas=8)).name == "bfloat16"


def test_the_name_of_the_gpu_is_its_makers_where_that_is_known(monkeypatch):
    config = import_tensorflow().config
    gpu = config.PhysicalDevice("/physical_device:GPU:0", "GPU")
    for visible, details, name in (([gpu], {"device_name": "H"}, "H"), ([gpu], {}, gpu.name), ([], {}, None)):
        monkeypatch.setattr(config, "get_visible_devices", lambda kind, visible=visible: visible)
        monkeypatch.setattr(config.experimental, "get_device_details", lambda gpu, details=details: details)
        assert devices.gpu_name() == name


def test_gathering_is_traced_once_for_each_number_of_values():
    alone = Placement(import_tensorflow().distribute.get_strategy(), "multiworker", replicas=2, workers=2)
    for value in range(5):
        assert alone.gather([float(value)]) == [[value]]
        assert alone.gather([]) == [[]]
    assert alone._gather_rows.experimental_get_tracing_count() == 2


def test_a_worker_in_words():
    placement = Placement(None, "multiworker", replicas=4, worker=1, workers=2, on_gpu=True)
    assert placement.describe() == "multiworker, 4 GPU replicas on 2 workers, this is worker 1"
    assert (placement.is_chief, placement.replicas_here) == (False, 2)
