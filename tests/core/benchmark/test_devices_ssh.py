"""Devices over ssh: a real OpenSSH server on the loopback, real keys, the runtime that `bopkit device` puts there."""

from __future__ import annotations

import ast
import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import pytest
import ssh_server
from command_line import start_bopkit
from devices_under_test import WAIT_S, eventually, only_error
from pydantic import TypeAdapter

from bopkit import files
from bopkit.artifacts import artifact
from bopkit.benchmark import BenchmarkReport, BenchmarkRow, benchmark, benchmark_artifacts
from bopkit.benchmark.devices import adb_client, agent, remembered_devices, ssh, ssh_connection, ssh_setup
from bopkit.benchmark.devices.device import DeviceLostError
from bopkit.benchmark.devices.device_names import AdbName, SshName, parse_device_name
from bopkit.benchmark.devices.info import device_info, list_devices
from bopkit.benchmark.devices.local import LocalDevice
from bopkit.benchmark.devices.ssh_setup import forget_device, remove_device, set_up_device
from bopkit.benchmark.devices.wheels import WheelTarget, _runtime_wheel, wheel_target
from bopkit.benchmark.job import Job
from bopkit.errors import BopkitError, UsageError
from bopkit.progress import Progress

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]
FEW: dict[str, Any] = {"runs": 5, "warmup_runs": 1, "min_duration_s": 0.0}

needs_ssh = pytest.mark.skipif(ssh_server.MISSING is not None, reason=str(ssh_server.MISSING))


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("local", None),
        ("ssh://pi", SshName("ssh://pi", "pi", None, None)),
        ("ssh://pi@10.0.0.2:2222", SshName("ssh://pi@10.0.0.2:2222", "10.0.0.2", "pi", 2222)),
        ("ssh://pi/", SshName("ssh://pi", "pi", None, None)),
        ("ssh://me@corp@jump_host", SshName("ssh://me@corp@jump_host", "jump_host", "me@corp", None)),
        ("ssh://[fe80::1%eth0]:22", SshName("ssh://[fe80::1%eth0]:22", "fe80::1%eth0", None, 22)),
        ("adb", AdbName("adb", None)),
        ("adb:127.0.0.1:5555", AdbName("adb:127.0.0.1:5555", "127.0.0.1:5555")),
        *(
            (f"adb:{serial}", AdbName(f"adb:{serial}", serial))
            for serial in ("a (2)._adb-tls-connect._tcp", "????", "é")
        ),
    ],
)
def test_names(name: str, parsed: object) -> None:
    assert parse_device_name(name) == parsed


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("ssh://pi/", "ssh://pi"),
        ("ssh://me@pi:0022/", "ssh://me@pi:22"),
        ("ssh://[fe80::1%eth0]", "ssh://[fe80::1%eth0]"),
        ("ssh://[10.0.0.2]", "ssh://10.0.0.2"),
    ],
)
def test_a_device_is_the_same_however_its_name_is_typed(name: str, key: str) -> None:
    for typed in (name, key):
        parsed = parse_device_name(typed)
        assert isinstance(parsed, SshName) and parsed.key == key


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            "phone",
            "ssh",
            "ssh:pi",
            "ssh://",
            "ssh://@pi",
            "ssh://pi:",
            "ssh://pi:ssh",
            "ssh://pi:0",
            "ssh://pi:65536",
        ),
        *("ssh://-oProxyCommand=touch", "ssh://-l@pi", "ssh://pi;reboot", "ssh://pi $(reboot)", "ssh://fe80::1"),
        *("ssh://pi/home", "adb:", "adb:-s", "adb: a", "adb:a\nb", "adbx"),
    ],
)
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(UsageError):
        benchmark_artifacts(["model.tflite"], devices=[name])


def test_a_lost_device_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []

    class Losing(LocalDevice):
        name = "ssh://pi"

        def measure(self, job: Job, folder: Path, progress: Progress) -> BenchmarkRow:
            asked.append((job.artifact, job.threads))
            if len(asked) == 2:
                raise DeviceLostError("ssh://pi disconnected: no power.", "Check it.")
            return BenchmarkRow(job.artifact, threads=job.threads, runs=50)

        def close(self) -> None:
            asked.append(("closed", 0))

    monkeypatch.setattr(benchmark, "open_device", lambda name, runner: Losing())
    monkeypatch.setattr(artifact, "read_card", lambda path: None)
    report = benchmark_artifacts(["a.tflite", "b.tflite"], threads=[1, 2, 4], devices=["ssh://pi"])
    assert asked == [("a.tflite", 1), ("a.tflite", 2), ("closed", 0)]
    assert [row.error is None for row in report.rows] == [True] + 5 * [False]
    assert [(row.artifact, row.threads) for row in report.rows[3:]] == [
        ("b.tflite", 1),
        ("b.tflite", 2),
        ("b.tflite", 4),
    ]


FACTS = {
    **{"platform": "linux", "implementation": "CPython", "machine": "aarch64", "bits": 64},
    **{"glibc": [2, 36], "python": [3, 11, 2]},
}


def test_the_newest_wheel_for_glibc_is_taken(tmp_path: Path) -> None:
    tags = ["0.9.0-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64", "0.10.0-py3-none-manylinux_2_17_x86_64"]
    tags += ["0.10.0-py3-none-manylinux_2_17_aarch64", "0.11.0-py3-none-musllinux_1_2_x86_64"]
    for tag in tags:
        (tmp_path / f"bopkit_runtime-{tag}.whl").touch()
    wheel = _runtime_wheel(WheelTarget((3, 11), "x86_64", (2, 36)), tmp_path, print)
    assert wheel.name == f"bopkit_runtime-{tags[1]}.whl"


def test_wheels_are_chosen_by_python_processor_and_libc() -> None:
    assert wheel_target(FACTS, "ssh://pi") == WheelTarget((3, 11), "aarch64", (2, 36))
    on_32_bits = wheel_target({**FACTS, "bits": 32}, "ssh://pi")
    assert str(on_32_bits) == "cp311-armv7l-glibc2.36" and on_32_bits.requirements[0].startswith("tflite-runtime")


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"machine": "riscv64"}, "ssh://pi is a 64-bit riscv64.*x86_64, aarch64, armv7l"),
        ({"glibc": None}, "does not use glibc.*Debian"),
        ({"glibc": [2, 12]}, "glibc 2.12; 2.17 or newer"),
        ({"platform": "darwin"}, "runs darwin.*Linux"),
        ({"implementation": "PyPy"}, "has PyPy.*--python"),
    ],
)
def test_devices_without_wheels(facts: dict[str, Any], message: str) -> None:
    with pytest.raises(BopkitError, match=message):
        wheel_target({**FACTS, **facts}, "ssh://pi")


def test_the_agent_needs_python_3_9_alone() -> None:
    tree = ast.parse(Path(agent.__file__).read_text(), feature_version=(3, 9))
    imports = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {name.name for node in imports for name in node.names if isinstance(node, ast.Import)}
    names |= {str(node.module) for node in imports if isinstance(node, ast.ImportFrom)}
    assert len(names) > 10 and {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ssh_server.wheels_of_this_environment(tmp_path_factory.mktemp("wheels"))


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ssh_server.SshServer]:
    """A device, and a user who can log in there."""
    folder = tmp_path_factory.mktemp("ssh")
    server = ssh_server.SshServer(folder / "board")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{server.client / 'bin'}:{os.environ['PATH']}")
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield server
    server.stop()


@pytest.fixture(scope="module")
def ready(board: ssh_server.SshServer, wheels: Path) -> ssh_server.SshServer:
    """The device, set up."""
    info = set_up_device(board.name, wheels)
    assert info.is_ready and info.isas[-1] == "portable"
    return board


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chain of binary operators, in a file whose name a shell would take apart."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "runtime" / "tests"))
        from sweep import CASES

        case = next(case for case in CASES if case.name == "chain-residual")
    path = tmp_path_factory.mktemp("models") / "-my $(model)'s.tflite"
    path.write_bytes(case.graph.flatbuffer())
    return path


def measure(device: ssh_server.SshServer, *models: Path, **options: Any) -> BenchmarkReport:
    return benchmark_artifacts(list(models), devices=[device.name], **{**FEW, **options})


def is_clean(device: ssh_server.SshServer) -> bool:
    """Whether nothing runs there, and no session has left a file."""
    return not device.processes() and {path.split("/")[1] for path in device.files()} <= {"runtime", ".lock"}


@needs_ssh
def test_a_row_has_every_figure(ready: ssh_server.SshServer, model: Path) -> None:
    report = measure(ready, model, threads=[1, 2], with_steps=True, cpu_mask="1")
    assert not report.failed, report.failed
    assert [(row.device, row.threads) for row in report.rows] == [(ready.name, 1), (ready.name, 2)]
    for row in report.rows:
        assert row.kind == "tflite" and row.runtime == "LiteRT"
        assert row.runs == len(row.samples_ms) == 5 and row.warmup_runs == 1
        order = [row.latency_ms_min, row.latency_ms_p50, row.latency_ms_p90, row.latency_ms_p99]
        assert order == sorted(order, key=float) and row.latency_ms_p50 == pytest.approx(
            sorted(row.samples_ms)[2], abs=1e-5
        )
        assert row.load_ms and row.first_inference_ms and row.latency_ms_mean and row.latency_ms_std is not None
        assert row.peak_memory_bytes and row.peak_memory_bytes > 10_000_000
        assert row.duration_s == pytest.approx(sum(row.samples_ms) / 1000, abs=1e-6)
        assert row.model_sha256 == files.sha256(model) and row.size_bytes == model.stat().st_size
        assert row.library_sha256 == files.sha256(next(ready.home.rglob("libbopkit_runtime.so")))
        assert row.settings["claimed_operators"] and row.settings["threads"] == row.threads
        assert len(row.steps) > 1 and sum(step.latency_ms_mean for step in row.steps) > 0
        assert row.input_shape == (8, 8, 64)
    environment = report.environments[ready.name]
    assert environment.machine == os.uname().machine and "bopkit-runtime" in environment.versions
    assert report.protocol.timing.cpu_mask == "1"
    assert TypeAdapter(BenchmarkReport).validate_json(json.dumps(report.to_dict())) == report
    assert is_clean(ready)


@needs_ssh
def test_the_users_own_ssh_config_counts(ready: ssh_server.SshServer, model: Path) -> None:
    report = benchmark_artifacts([model], devices=["ssh://board"], **FEW)
    assert not report.failed, report.failed
    assert device_info("ssh://board").is_ready


@needs_ssh
def test_a_host_of_the_ssh_config_that_is_made_for_logging_in(board: ssh_server.SshServer) -> None:
    config = board.client / "config"
    usual = config.read_text()
    own = "RemoteCommand tmux new -A -s main\n RequestTTY yes\n StdinNull yes\n SessionType none\n"
    own += f" ForkAfterAuthentication yes\n LocalForward {board.port} localhost:22\n ExitOnForwardFailure yes\n"
    config.write_text(usual.replace("Host board\n", f"Host board\n {own}"))
    try:
        assert device_info("ssh://board").environment.logical_cores >= 1
    finally:
        config.write_text(usual)


@pytest.mark.parametrize(
    ("printed", "options"),
    [
        ("OpenSSH_9.2p1 Debian-2+deb12u10, OpenSSL 3.0.19 27 Jan 2026", ["RemoteCommand", "StdinNull"]),
        ("OpenSSH_for_Windows_8.1p1, LibreSSL 3.0.2", ["RemoteCommand"]),
        ("OpenSSH_7.4p1, OpenSSL 1.0.2k-fips  26 Jan 2017", []),
        ("Dropbear v2022.83", []),
    ],
)
def test_a_client_gets_the_options_that_it_knows(
    printed: str, options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh_server.write_script(tmp_path / "ssh", f"echo '{printed}' >&2")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    command = ssh_connection._ssh_command(SshName("ssh://pi", "pi", None, None))
    assert [name for name in ("RemoteCommand", "StdinNull") if any(name in part for part in command)] == options


@needs_ssh
def test_files_and_variables_of_the_device_shadow_no_module(ready: ssh_server.SshServer, model: Path) -> None:
    session = ready.programs / "session"
    usual = session.read_text()
    shadow = ready.home / "platform.py"
    shadow.write_text("raise SystemExit('need a camera')")
    session.write_text(usual.replace("exec", f"export PYTHONHOME=/nowhere PYTHONPATH={ready.home}; exec"))
    try:
        assert not measure(ready, model).failed
    finally:
        session.write_text(usual)
        shadow.unlink()


@needs_ssh
def test_a_login_that_reads_the_input(board: ssh_server.SshServer) -> None:
    session = board.programs / "session"
    usual = session.read_text()
    session.write_text(usual.replace("exec", "exec < /dev/null; exec"))
    try:
        assert "at login reads the input that is meant for bopkit" in _error_of_connecting(board.name)
    finally:
        session.write_text(usual)


@needs_ssh
def test_what_a_login_shell_prints_does_no_harm(ready: ssh_server.SshServer, model: Path) -> None:
    session = ready.programs / "session"
    quiet = session.read_text()
    session.write_text(quiet.replace("exec", "printf 'Welcome!'; exec"))
    try:
        assert not measure(ready, model).failed
    finally:
        session.write_text(quiet)


@needs_ssh
def test_a_model_that_does_not_run_is_a_row_and_the_next_one_runs(
    ready: ssh_server.SshServer, model: Path, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(model.read_bytes()[:-300])
    with h5py.File(tmp_path / "model.h5", "w") as file:
        file.attrs["model_config"] = "{}"
    unknown = tmp_path / "unknown.tflite"
    unknown.write_bytes(model.read_bytes().replace(b"LceBconv2d", b"LceBconv3d"))
    report = measure(ready, damaged, tmp_path / "model.h5", tmp_path / "missing.tflite", unknown, model)
    errors = [f"{row.error} {row.hint}" for row in report.failed]
    assert [row.error is None for row in report.rows] == [False, False, False, False, True]
    assert re.search(r"damaged\.tflite is not a complete .* copy it again", errors[0]), errors
    assert re.search(r"devices run \.tflite files\. .*export .*model\.h5 --tflite", errors[1]), errors
    assert "does not exist" in errors[2], errors
    assert re.search(r"unknown\.tflite cannot be run: operator 1, LceBconv3d, .* Convert the model again", errors[3])
    assert is_clean(ready)


@needs_ssh
def test_a_run_that_crashes_or_hangs_is_a_row(
    ready: ssh_server.SshServer, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = next(ready.home.rglob("bopkit_runtime/__main__.py"))
    whole = main.read_text()
    try:
        main.write_text("import os\nos.kill(os.getpid(), 11)\n")
        assert "was ended by SIGSEGV" in only_error(measure(ready, model))
        main.write_text("print('{}')\n")
        assert f"another version of the runtime. Type `bopkit device setup {ready.name}`." in (
            only_error(measure(ready, model))
        )
        main.write_text("import time\ntime.sleep(600)\n")
        monkeypatch.setattr(ssh, "run_limit_s", lambda timing: 0.5)
        assert "took too long" in only_error(measure(ready, model))
    finally:
        main.write_text(whole)
    assert is_clean(ready)


@needs_ssh
def test_cores_that_are_not_there(ready: ssh_server.SshServer, model: Path) -> None:
    assert "none of the cores of the CPU mask. It has cores 0" in only_error(
        measure(ready, model, cpu_mask="1" + 63 * "0")
    )
    with pytest.raises(UsageError, match="not a CPU mask"):
        measure(ready, model, cpu_mask="cores")


@needs_ssh
def test_one_measures_at_a_time(ready: ssh_server.SshServer, model: Path, wheels: Path) -> None:
    with open(ready.home / ".bopkit-device" / ".lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lines: list[str] = []
        assert "Another bopkit process is using" in only_error(measure(ready, model, progress=lines.append))
        with pytest.raises(BopkitError, match="Another bopkit process is using"):
            remove_device(ready.name)
        with pytest.raises(BopkitError, match="Another bopkit process is using"):
            set_up_device(ready.name, wheels, progress=lines.append)
        assert not any("copying" in line for line in lines), lines
    assert not measure(ready, model).failed


def test_a_reservation_of_a_device_without_a_runtime_outlives_others(tmp_path: Path) -> None:
    """The agent, as ssh starts it: those that are refused end, and tidy up, while the first one holds the device."""

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, agent.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "HOME": str(tmp_path)},
        )

    def ask(process: subprocess.Popen[str]) -> dict[str, Any]:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write('{"do": "reserve"}\n')
        process.stdin.flush()
        lines = iter(process.stdout.readline, "")
        answer: dict[str, Any] = json.loads(
            next(line for line in lines if line.startswith(agent.MARK))[len(agent.MARK) :]
        )
        return answer

    with start() as first:
        assert ask(first) == {"ok": {}}
        for _ in range(2):
            with start() as other:
                assert ask(other)["refused"] == "busy"
                other.communicate()
        first.communicate()
    assert not list(tmp_path.iterdir())


@needs_ssh
def test_what_a_killed_session_left_is_removed(ready: ssh_server.SshServer) -> None:
    root = ready.home / ".bopkit-device"
    for name in ("session-dead", "new-dead", "session-alive", "session-young"):
        (root / name).mkdir()
        if name != "session-young":
            (root / name / ".lock").touch()
            os.utime(root / name, (0, 0))
    with open(root / "session-alive" / ".lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        device_info(ready.name)
        assert {path.name for path in root.glob("*-*")} == {"session-alive", "session-young"}
    os.utime(root / "session-young", (0, 0))
    device_info(ready.name)
    assert not list(root.glob("*-*"))


@needs_ssh
def test_an_interrupted_set_up_leaves_the_old_one(ready: ssh_server.SshServer, model: Path, tmp_path: Path) -> None:
    before = ready.files()

    def interrupt(line: str) -> None:
        if "starting the runtime" in line:
            assert any("/new-" in path for path in ready.files())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        set_up_device(ready.name, ssh_server.small_wheels(tmp_path), progress=interrupt)
    assert ready.files() == before and not measure(ready, model).failed


@needs_ssh
def test_a_runtime_that_does_not_start_is_not_installed(ready: ssh_server.SshServer, tmp_path: Path) -> None:
    before = ready.files()
    with pytest.raises(BopkitError, match="does not start on .*no such luck"):
        set_up_device(ready.name, ssh_server.small_wheels(tmp_path, "raise ImportError('no such luck')"))
    assert ready.files() == before


@needs_ssh
def test_a_file_that_does_not_arrive_is_a_clear_error(ready: ssh_server.SshServer, tmp_path: Path) -> None:
    name = parse_device_name(ready.name)
    assert isinstance(name, SshName)
    wheel = tmp_path / "some.whl"
    wheel.write_bytes(b"no wheel")
    with contextlib.closing(ssh_connection.Connection(name)) as connected:
        with pytest.raises(BopkitError, match=r"some\.whl arrived damaged on ssh://.*\. Run the command again"):
            connected.send_file("stage", wheel, wheel.name, files.sha256(wheel)[::-1])
        with pytest.raises(BopkitError, match=r"ssh://.* cannot unpack some\.whl: .*\. Remove that wheel"):
            connected.send_file("stage", wheel, wheel.name, files.sha256(wheel))
        with pytest.raises(BopkitError, match="cannot be read: Is a directory"):
            connected.send_file("put", tmp_path, "model.tflite", "")
        assert connected.request("hello")["manifest"], "the connection is still in step"
    assert is_clean(ready)


@needs_ssh
def test_a_runtime_of_another_format_is_set_up_again(ready: ssh_server.SshServer, model: Path) -> None:
    manifest = ready.home / ".bopkit-device" / "runtime" / "manifest.json"
    whole = manifest.read_text()
    manifest.write_text(json.dumps({**json.loads(whole), "format": 0}))
    try:
        assert "bopkit device setup" in only_error(measure(ready, model)) and not device_info(ready.name).is_ready
    finally:
        manifest.write_text(whole)


@needs_ssh
def test_a_device_that_drops_out_keeps_its_rows(ready: ssh_server.SshServer, model: Path) -> None:
    def cut_the_second_row(line: str) -> None:
        if "2 threads" in line:
            threading.Timer(0.2, lambda: eventually(lambda: _is_timing(ready)) and ready.cut_connections()).start()

    started_s = time.monotonic()
    options: dict[str, Any] = {"threads": [1, 2, 3], "min_duration_s": 1.0, "progress": cut_the_second_row}
    report = measure(ready, model, model, **options)
    assert [row.error is None for row in report.rows] == [True] + 5 * [False]
    assert report.rows[0].samples_ms
    for row in report.failed:
        assert re.search(r"disconnected: .*\. Check its power and network", f"{row.error} {row.hint}"), row
    assert time.monotonic() - started_s < WAIT_S
    assert eventually(lambda: is_clean(ready)), (ready.processes(), ready.files())


@needs_ssh
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_nothing_is_left_on_the_device_when_bopkit_is_stopped(
    number: signal.Signals, code: int, ready: ssh_server.SshServer, model: Path
) -> None:
    options = ["--device", ready.name, "--min-seconds", "60", "--json"]
    process = start_bopkit("benchmark", *options, "--", model)
    try:
        assert eventually(lambda: _is_timing(ready))
        assert any("/session-" in path for path in ready.files())
        process.send_signal(number)
        output, _ = process.communicate(timeout=WAIT_S)
        assert (process.returncode, output) == (code, "")
        if number != signal.SIGKILL:  # it has waited for the device
            assert is_clean(ready), (ready.processes(), ready.files())
        assert eventually(lambda: is_clean(ready)), (ready.processes(), ready.files())
    finally:
        process.kill()


def make_impatient(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let the agent give up after two seconds without a word, not a minute."""
    text = Path(agent.__file__).read_text()
    assert "SILENCE_S = 60.0" in text
    (folder / "agent.py").write_text(text.replace("SILENCE_S = 60.0", "SILENCE_S = 2.0"))
    monkeypatch.setattr(agent, "__file__", str(folder / "agent.py"))


@needs_ssh
def test_a_long_pause_is_no_silence(
    ready: ssh_server.SshServer, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_impatient(monkeypatch, tmp_path)
    monkeypatch.setattr(ssh_connection, "_PING_S", 0.2)
    assert not measure(ready, model, cool_down_s=2.5, min_duration_s=2.5).failed


@needs_ssh
def test_a_device_that_hears_nothing_stops(
    ready: ssh_server.SshServer, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the network between is gone, and no side is told."""
    make_impatient(monkeypatch, tmp_path)
    monkeypatch.setattr(ssh_connection, "_PING_S", 600.0)
    assert "disconnected" in only_error(measure(ready, model, min_duration_s=30.0))
    assert is_clean(ready)


def _is_timing(device: ssh_server.SshServer) -> bool:
    return any("-m bopkit_runtime" in command for command in device.processes())


@pytest.fixture
def empty(
    board: ssh_server.SshServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[ssh_server.SshServer]:
    """The device before it was set up, and a user who does not know it."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    kept = board.home.rename(board.home.with_name("kept"))
    board.home.mkdir()
    yield board
    shutil.rmtree(board.home)
    kept.rename(board.home)


@needs_ssh
def test_remove_leaves_nothing(
    empty: ssh_server.SshServer, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adb_client, "attached_devices", list)  # adb would leave a server running
    assert f"is not set up. Type `bopkit device setup {empty.name}`." in only_error(measure(empty, model))
    python = str(empty.programs / "python3")
    assert set_up_device(f"{empty.name}/", ssh_server.small_wheels(tmp_path), python).is_ready
    assert [device.name for device in list_devices()][:2] == ["local", empty.name]
    assert remembered_devices.python_of(SshName("", "127.0.0.1", None, empty.port)) == python
    assert (empty.home / ".bopkit-device").stat().st_mode & 0o777 == 0o700
    assert remove_device(empty.name) and not remove_device(empty.name)
    assert list(empty.home.iterdir()) == [] and empty.name not in [device.name for device in list_devices()]


@needs_ssh
def test_another_folder(empty: ssh_server.SshServer, tmp_path: Path) -> None:
    disk = empty.folder / "disk"
    disk.mkdir()
    wheels = ssh_server.small_wheels(tmp_path)
    assert set_up_device(empty.name, wheels).folder == str(empty.home / ".bopkit-device")
    with pytest.raises(BopkitError, match=r"has no folder /nowhere\. .*`bopkit device setup ssh://.* --folder PATH`"):
        set_up_device(empty.name, wheels, folder="/nowhere")
    assert set_up_device(empty.name, wheels, folder=str(disk)).folder == str(disk / ".bopkit-device")
    assert list(empty.home.iterdir()) == [], "the set-up before it was removed"
    assert set_up_device(empty.name, wheels).folder == device_info(empty.name).folder == str(disk / ".bopkit-device")
    assert remove_device(empty.name) and list(disk.iterdir()) == []
    (disk / ".bopkit-device").symlink_to(tmp_path)
    with pytest.raises(BopkitError, match="bopkit-device on ssh://.* is another user's"):
        set_up_device(empty.name, wheels, folder=str(disk))
    shutil.rmtree(disk)


@needs_ssh
def test_a_home_that_runs_no_files(
    empty: ssh_server.SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited = Path(agent.__file__).read_text().replace("disk_status(folder).f_flag", "(8 if 'home' in folder else 0)")
    (tmp_path / "agent.py").write_text(edited)
    monkeypatch.setattr(agent, "__file__", str(tmp_path / "agent.py"))
    hint = f"`bopkit device setup {empty.name} --folder /var/tmp`"
    with pytest.raises(BopkitError, match=f"runs no files from .*noexec. Name a folder .*{hint}"):
        set_up_device(empty.name, ssh_server.small_wheels(tmp_path))
    assert hint in device_info(empty.name).note
    broken = ssh_server.small_wheels(tmp_path, "raise ImportError('x.so: failed to map segment from shared object')")
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with pytest.raises(BopkitError, match="does not start on .*--folder PATH"):
        set_up_device(empty.name, broken)


@needs_ssh
def test_set_up_without_space(empty: ssh_server.SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_setup, "_SPARE_BYTES", 1 << 60)
    with pytest.raises(
        BopkitError, match=r"has \d+ MB free, and the runtime takes \d+ MB .*Free some space there, or .* --folder"
    ):
        set_up_device(empty.name, ssh_server.small_wheels(tmp_path))
    assert list(empty.home.iterdir()) == []


@needs_ssh
def test_wheels_that_are_not_there(empty: ssh_server.SshServer, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a folder"):
        set_up_device(empty.name, tmp_path / "missing")
    with pytest.raises(BopkitError, match="holds no wheel of bopkit-runtime for .*make -C runtime wheels"):
        set_up_device(empty.name, tmp_path)
    wheels = ssh_server.small_wheels(tmp_path)
    next(wheels.glob("numpy-*")).unlink()
    with pytest.raises(BopkitError, match="pip has no ai-edge-litert.* and numpy for cp.*: No matching"):
        set_up_device(empty.name, wheels)
    assert list(empty.home.iterdir()) == []


@needs_ssh
def test_a_full_disk(ready: ssh_server.SshServer, model: Path, tmp_path: Path) -> None:
    large = tmp_path / "large.tflite"
    large.write_bytes(model.read_bytes() + bytes(1 << 20))
    usual = (ready.programs / "python3").read_text()
    ready.set_python("ulimit -f 256; " + usual.splitlines()[-1])
    try:
        report = measure(ready, large, model)
        assert re.search(
            "There is no space left on .*Free some space there", f"{report.rows[0].error} {report.rows[0].hint}"
        )
        assert report.rows[1].error is None, "the connection is still in step"
    finally:
        ready.set_python(usual)
    assert is_clean(ready)


def _error_of_connecting(name: str) -> str:
    with pytest.raises(BopkitError) as caught:
        device_info(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@needs_ssh
def test_hosts_that_do_not_answer(board: ssh_server.SshServer) -> None:
    unknown = "No host is called no-such-host.invalid. Check the name"
    assert _error_of_connecting("ssh://no-such-host.invalid").startswith(unknown)
    nobody = f"ssh://127.0.0.1:{ssh_server.free_port()}"
    assert _error_of_connecting(nobody).startswith(f"{nobody} refuses the connection: no ssh server listens there.")


@needs_ssh
def test_a_device_that_cannot_be_reached_is_not_forgotten(board: ssh_server.SshServer) -> None:
    name = parse_device_name(f"ssh://127.0.0.1:{ssh_server.free_port()}")
    assert isinstance(name, SshName)
    with pytest.raises(BopkitError, match=r"listens there\. Nothing was removed\. Start one, .*:2222\.$"):
        remove_device(name.name)
    remembered_devices.remember(name, "python3", "Small")
    try:
        with pytest.raises(
            BopkitError, match=r"Nothing was removed\. .* gone for good: `bopkit device remove --forget"
        ):
            remove_device(name.name)
        assert name.key in remembered_devices.load()
        assert forget_device(name.name)
        assert not forget_device(name.name)
        assert name.key not in remembered_devices.load()
    finally:
        remembered_devices.forget(name)


@needs_ssh
def test_host_keys_are_checked(board: ssh_server.SshServer) -> None:
    try:
        board.trust_host("")
        told = _error_of_connecting(board.name)
        assert told.endswith(f"is not known here. Type `ssh -p {board.port} 127.0.0.1` once and accept its key.")
        board.trust_host((board.folder / "user_key.pub").read_text())
        told = _error_of_connecting(board.name)
        assert "has another host key than before" in told and f"`ssh-keygen -R '[127.0.0.1]:{board.port}'`" in told
        assert (board.client / "known_hosts").read_text().endswith((board.folder / "user_key.pub").read_text())
    finally:
        board.trust_host()


@needs_ssh
def test_a_refused_key(board: ssh_server.SshServer) -> None:
    keys = board.folder / "authorized_keys"
    accepted = keys.read_text()
    keys.write_text((board.folder / "host_key.pub").read_text())
    try:
        assert "accepts none of your keys. Type `ssh-copy-id" in _error_of_connecting(board.name)
    finally:
        keys.write_text(accepted)


@needs_ssh
@pytest.mark.parametrize(
    ("python", "message"),
    [
        (None, "has no python3 that runs. Install Python 3.9 or newer on it."),
        (
            'echo "bopkit-python 3.7" >&2; exit 1',
            "python3 of .* is Python 3.7; 3.9 or newer is needed. .*--python PATH",
        ),
        ('echo cannot open "$4" >&2; exit 2', "python3 of .* is not a Python interpreter. .*--python PATH"),
        ("echo Unknown option: -I >&2; exit 2", "python3 of .* is Python 2; 3.9 or newer is needed. .*--python PATH"),
        ("echo Bus error >&2; exit 135", "python3 on .* ended at once: Bus error. Try `ssh .* python3 --version`"),
    ],
)
def test_devices_without_a_python_that_runs(python: str | None, message: str, board: ssh_server.SshServer) -> None:
    usual = (board.programs / "python3").read_text()
    hidden = Path("/usr/bin/python3").exists()  # the device's programs come first, and the host's behind them
    try:
        board.set_python(python if python is not None or not hidden else "exit 127")
        assert re.search(message, _error_of_connecting(board.name))
    finally:
        board.set_python(usual)


@needs_ssh
def test_an_old_python_says_its_version(board: ssh_server.SshServer) -> None:
    """The line that starts the agent, run by this Python with another version's number."""
    usual = (board.programs / "python3").read_text()
    board.set_python(f'shift 3; exec {sys._base_executable} -c "import sys; sys.version_info = (3, 7, 3); $1"')
    try:
        assert "is Python 3.7; 3.9 or newer is needed" in _error_of_connecting(board.name)
    finally:
        board.set_python(usual)


def test_without_ssh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert _error_of_connecting("ssh://pi") == "ssh is not installed. Install it: apt install openssh-client."


def test_devices_that_need_no_set_up() -> None:
    for name in ("local", "adb"):
        with pytest.raises(UsageError, match="needs no set-up"):
            set_up_device(name)


def test_a_damaged_list_of_devices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "bopkit").mkdir()
    (tmp_path / "bopkit" / "devices.json").write_text("[")
    with pytest.raises(BopkitError, match="devices.json is damaged. Remove it"):
        list_devices()
