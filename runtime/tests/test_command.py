"""`python -m bopkit_runtime`: what it prints, and that everything wrong is one line on stderr."""

import json
import os
import signal
import subprocess
import sys
import types

import pytest
import sweep
from built import package_environment, run

import bopkit_runtime
from bopkit_runtime import machine, timing
from bopkit_runtime.errors import BopkitRuntimeError
from bopkit_runtime.model_file import check_model_file, sha256_of

CASE = next(case for case in sweep.CASES if case.name == "chain-residual")
COMMAND = [sys.executable, "-m", "bopkit_runtime"]
FEW = ["--runs", "5", "--warmup", "1", "--min-seconds", "0"]


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(CASE.graph.flatbuffer())
    return path


def command(*arguments):
    return run([*COMMAND, *arguments], env=package_environment())


def test_json_has_every_figure_and_stdout_nothing_else(model):
    result = command(model, *FEW, "--json")
    assert result.returncode == 0, result.stderr
    measured = json.loads(result.stdout)
    assert measured["model_sha256"] == sha256_of(model)
    assert measured["software"]["library_sha256"] == sha256_of(bopkit_runtime.library_path())
    assert measured["inputs"] == [{"name": "t0", "dtype": "float32", "shape": [2, 8, 8, 64]}]
    latency, settings, profile = measured["latency"], measured["settings"], measured["profile"]
    assert latency["runs"] == 5 and settings["runs"] == 5 and settings["warmup_runs"] == 1
    order = [latency[f"latency_ms_{name}"] for name in ("min", "p50", "p90", "p99")]
    assert order == sorted(order) and order[0] > 0
    assert latency["warmup_runs"] == 1 and len(latency["samples_ms"]) == 5
    assert latency["latency_ms_p50"] == pytest.approx(sorted(latency["samples_ms"])[2], abs=1e-6)
    assert measured["outputs"] and set(measured["outputs"][0]) == {"name", "dtype", "shape"}
    assert latency["load_ms"] > 0 and latency["first_inference_ms"] > 0
    assert settings["isa"] == bopkit_runtime.isas()[0] and settings["threads"] == 1
    assert profile["claimed_nodes"] == len(CASE.graph.operators)
    assert profile["latency_ms_mean"] is None and {step["latency_ms_mean"] for step in profile["steps"]} == {None}
    assert sum(step["binary_macs"] for step in profile["steps"]) > 0
    assert set(measured["machine"]) == {
        *("cpu", "logical_cores", "os", "governor", "temperature_c_before", "temperature_c_after", "is_throttled"),
        "peak_memory_bytes",
    }


def test_profile_adds_up(model):
    result = command(model, *FEW, "--json", "--profile", "--isa", "portable", "--threads", "2", "--claim", "all")
    measured = json.loads(result.stdout)
    assert (measured["settings"]["isa"], measured["settings"]["threads"]) == ("portable", 2)
    profile = measured["profile"]
    inside_ms = sum(step["latency_ms_mean"] for step in profile["steps"])
    assert inside_ms > 0 and profile["outside_ms_mean"] > 0
    assert inside_ms + profile["outside_ms_mean"] == pytest.approx(profile["latency_ms_mean"])
    assert all(0 < step["latency_ms_min"] <= step["latency_ms_mean"] for step in profile["steps"])


def test_runs_go_on_until_the_time_is_over(model):
    latency = json.loads(command(model, "--runs", "1", "--min-seconds", "0.2", "--json").stdout)["latency"]
    assert latency["runs"] > 1 and latency["duration_s"] >= 0.2


def test_a_limit_ends_warm_up_and_runs(model):
    many = ["--runs", "1000000", "--warmup", "1000000", "--max-seconds", "0.2", "--json"]
    latency = json.loads(command(model, *many).stdout)["latency"]
    assert 5 <= latency["runs"] < 1000000 and 0 < latency["warmup_runs"] < 1000000
    assert 0.2 <= latency["duration_s"] < 2
    assert json.loads(command(model, "--max-seconds", "1e-9", "--json").stdout)["latency"]["runs"] == 5


def test_table(model):
    result = command(model, *FEW, "--profile")
    assert result.returncode == 0, result.stderr
    first_words = [line.split()[0] for line in result.stdout.splitlines() if line.strip()]
    assert first_words[:9] == "model machine runtime settings claimed load memory runs p50".split()
    assert first_words[-2:] == ["outside", "all"]
    assert (
        result.stdout.splitlines()[7]
        == f"runs      5 in {result.stdout.splitlines()[7].split()[3]} s, after 1 warm-up runs"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "The following arguments are required: model."),
        (["none.tflite"], 1, "There is no file none.tflite. Check the path"),
        (["."], 1, ". is a folder."),
        (["MODEL", "--isa", "mmx"], 2, "There is no instruction set 'mmx' on this machine. Use auto or one of: "),
        (["MODEL", "--runs", "0"], 2, "runs is 0. Use 1 or more."),
        (["MODEL", "--runs", "many"], 2, "Argument --runs: invalid int value: 'many'."),
        (["MODEL", "--warmup", "-1"], 2, "warmup_runs is -1. Use 0 or more."),
        (["MODEL", "--min-seconds", "inf"], 2, "min_seconds is inf."),
        (["MODEL", "--max-seconds", "0"], 2, "max_seconds is 0. Use a number above 0."),
        (["MODEL", "--threads", "0"], 2, "num_threads is 0. Use a number from 1 to 256."),
        (["MODEL", "--claim", "some"], 2, "Argument --claim: invalid choice: 'some'"),
        (["MODEL", "--fast"], 2, "Unrecognized arguments: --fast."),
    ],
)
def test_what_is_wrong_is_one_line(model, arguments, code, message):
    result = command(*(model if each == "MODEL" else each for each in arguments))
    assert (result.returncode, result.stdout) == (code, "")
    said = [line for line in result.stderr.splitlines() if not line.startswith(("Timing ", "INFO: "))]
    assert len(said) == 1 and said[0].startswith(f"Error: {message}"), result.stderr


def test_damaged_file(model):
    model.write_bytes(model.read_bytes()[:-300])
    result = command(model, "--json")
    assert result.returncode == 1 and result.stdout == ""
    assert f"Error: {model} is damaged. Copy it again" in result.stderr and "Traceback" not in result.stderr


def test_numbers_that_the_model_does_not_take_are_not_the_files_fault():
    """A model of word numbers fails on random ones: exporting it again would not help."""

    def invoke():
        raise RuntimeError("gather.cc:166 gather index out of boundsNode number 0 (GATHER) failed to invoke.")

    interpreter = types.SimpleNamespace(litert=types.SimpleNamespace(invoke=invoke))
    with pytest.raises(BopkitRuntimeError) as caught:
        timing._invoke(interpreter)
    assert "random numbers: gather.cc:166 gather index out of bounds. If it takes others" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty. Copy it again."),
        (b"a picture or a text", "is not a TensorFlow Lite flatbuffer. Give a .tflite file"),
        (b"PK\x03\x04....", "but a zip archive. If it is a .keras file, `bopkit export` makes a .tflite file of it."),
        (b"version https://git-lfs.github.com/spec/v1", "but a pointer of Git LFS. Type `git lfs pull`"),
    ],
)
def test_a_file_of_another_kind_has_the_hint_for_its_kind(content, said, tmp_path):
    (tmp_path / "net.tflite").write_bytes(content)
    with pytest.raises(BopkitRuntimeError) as caught:
        check_model_file(tmp_path / "net.tflite")
    assert said in str(caught.value)


def test_debug_shows_the_traceback(model):
    assert "Traceback" in command("none.tflite", "--debug").stderr


def test_a_name_that_the_terminal_cannot_show(model):
    path = model.rename(model.with_name("modèle.tflite"))
    result = run([*COMMAND, path, *FEW], env={**package_environment(), "PYTHONIOENCODING": "ascii"})
    assert result.returncode == 0 and "mod\\xe8le.tflite" in result.stdout, result.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
@pytest.mark.parametrize(
    ("stdout", "code", "said"),
    [
        ("/dev/full", 1, "Error: The figures cannot be written: No space left on device. Write them elsewhere."),
        ("closed pipe", 0, "Timing "),
    ],
)
def test_figures_that_nobody_takes(model, stdout, code, said):
    reader, writer = os.pipe() if stdout == "closed pipe" else (None, os.open(stdout, os.O_WRONLY))
    if reader is not None:
        os.close(reader)
    options = {"stderr": subprocess.PIPE, "text": True, "env": {**os.environ, **package_environment()}}
    result = subprocess.run([*COMMAND, str(model), *FEW, "--json"], stdout=writer, check=False, **options)
    os.close(writer)
    assert result.returncode == code
    assert result.stderr.splitlines()[-1].startswith(said)


def test_missing_litert_says_what_to_type(model):
    program = """
import sys
sys.modules["ai_edge_litert"] = sys.modules["tflite_runtime"] = None
from bopkit_runtime.command import main
sys.exit(main(sys.argv[1:]))
"""
    result = run([sys.executable, "-c", program, model], env=package_environment())
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith(
        "Error: LiteRT is not installed. Type `pip install ai-edge-litert`"
    )


def test_interrupt_ends_it_quietly(model):
    process = subprocess.Popen(
        [*COMMAND, model, "--min-seconds", "600", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **package_environment()},
    )
    try:
        assert process.stderr.readline().startswith("Timing ")
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, output) == (130, ""), errors
    assert errors.splitlines()[-1] == "Stopped." and "Traceback" not in errors


def test_boards_are_named(monkeypatch, tmp_path):
    """As a Raspberry Pi 4 tells it, where no line says `model name`."""
    cpu_info, board, zones = tmp_path / "cpuinfo", tmp_path / "model", tmp_path / "thermal"
    cpu_info.write_text("processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd08\n" * 4)
    board.write_text("Raspberry Pi 4 Model B Rev 1.4\0")
    for number, text in enumerate(("48312\n", "51000\n", "")):
        (zones / f"thermal_zone{number}").mkdir(parents=True)
        (zones / f"thermal_zone{number}" / "temp").write_text(text)
    monkeypatch.setattr(machine, "_CPU_INFO", cpu_info)
    monkeypatch.setattr(machine, "_BOARD", board)
    monkeypatch.setattr(machine, "_ZONES", zones)
    assert machine.cpu_name() == "Raspberry Pi 4 Model B Rev 1.4, Cortex-A72"
    assert machine.temperature_c() == 51.0


def _tree(root, **files):
    """A machine's files below `root`, and the module's paths to them."""
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    ("before", "after", "throttled"),
    [
        ({}, {}, None),
        ({"flags": "0\n"}, {}, False),
        ({"flags": "50000\n"}, {}, False),  # under voltage and throttled, long ago
        ({"flags": "0\n"}, {"flags": "80008\n"}, True),
        ({"flags": "0\n"}, {"flags": "20000\n"}, True),
        ({"flags": "0\n"}, {"flags": "10001\n"}, False),  # under voltage alone lowers no clock
        ({"cpus__cpu0__thermal_throttle__core_throttle_count": "7\n"}, {}, False),
        (
            {"cpus__cpu0__thermal_throttle__core_throttle_count": "7\n"},
            {"cpus__cpu0__thermal_throttle__core_throttle_count": "8\n"},
            True,
        ),
        (
            {"zones__cooling_device0__type": "cpufreq-cpu0\n", "zones__cooling_device0__cur_state": "0\n"},
            {"zones__cooling_device0__cur_state": "2\n"},
            True,
        ),
        (
            {"zones__cooling_device0__type": "pwm-fan\n", "zones__cooling_device0__cur_state": "3\n", "flags": "0\n"},
            {},
            False,
        ),
        (
            {"cpus__cpu0__cpufreq__scaling_max_freq": "1800000\n"},
            {"cpus__cpu0__cpufreq__scaling_max_freq": "1500000\n"},
            True,
        ),
    ],
)
def test_throttling(before, after, throttled, monkeypatch, tmp_path):
    for name, path in {"_FIRMWARE_FLAGS": "flags", "_CPUS": "cpus", "_ZONES": "zones"}.items():
        monkeypatch.setattr(machine, name, tmp_path / path)
    _tree(tmp_path, **before)
    limits = machine.clock_limits()
    _tree(tmp_path, **after)
    assert machine.is_throttled(limits, machine.clock_limits()) is throttled
