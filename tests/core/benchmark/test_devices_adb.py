"""Devices over adb: Debian's adb against a scripted device, and the parsing of what benchmark binaries print.

The device and the binary are scripts (`scripted_device`): no phone was at hand.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import scripted_device
import ssh_server
from command_line import start_bopkit
from devices_under_test import WAIT_S, eventually, only_error
from written_results import SERVER, make_report, make_row

from bopkit import files
from bopkit.benchmark import BenchmarkReport, BenchmarkRow, benchmark_artifacts
from bopkit.benchmark.devices import adb, adb_client, benchmark_model_output
from bopkit.benchmark.devices.device_names import AdbName, parse_device_name
from bopkit.benchmark.devices.info import device_info, list_devices
from bopkit.benchmark.reports import markdown, merge_reports, render_page
from bopkit.errors import BopkitError, UsageError

needs_adb = pytest.mark.skipif(scripted_device.MISSING is not None, reason=str(scripted_device.MISSING))

# Written after the format of the tool's printf calls, with numbers of our own.
OLD = """STARTING!
Min num runs: [50]
Loaded model model.tflite
Initialized session in 3.5ms.
Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
count=7 first=9000 curr=8000 min=7900 max=9000 avg=8100 std=300

Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
count=120 first=8100 curr=8050 min=7800 max=9.1e+03 avg=8.2e+03 std=150

Inference timings in us: Init: 3500, First inference: 9000, Warmup (avg): 8100, Inference (avg): 8.2e+03
Peak memory footprint (MB): init=2.5 overall=10
"""
WARM_UP = "INFO: count=3 first=950 curr=900 min=900 max=950 avg=920 std=20 p5=900 median=910 p95=950"
NEW = f"""{WARM_UP}
INFO: count=50 first=905 curr=901 min=880 max=1200 avg=910 std=12 p5=890 median=905 p95=1000
INFO: Inference timings in us: Init: 1500, First inference: 950, Warmup (avg): 920, Inference (avg): 910
INFO: Memory footprint delta from the start of the tool (MB): init=1 overall=4
INFO: Overall peak memory footprint (MB) via periodic monitoring: 12.5
"""


def test_output_of_old_versions() -> None:
    row = BenchmarkRow("model.tflite")
    assert benchmark_model_output.fill_row(row, OLD)
    assert (row.runs, row.warmup_runs, row.load_ms, row.first_inference_ms) == (120, 7, 3.5, 9.0)
    assert (row.latency_ms_mean, row.latency_ms_min, row.latency_ms_std) == (8.2, 7.8, 0.15)
    assert (row.latency_ms_p50, row.latency_ms_p90, row.latency_ms_p99, row.samples_ms) == (None, None, None, [])
    assert row.duration_s == pytest.approx(120 * 8.2e-3)
    assert (row.model_memory_bytes, row.peak_memory_bytes) == (10 << 20, None)
    assert "so p50, p90 and p99 are unknown. max 9.100 ms, memory 10.0 MiB." in row.notes[0]


def test_a_table_shows_the_mean_where_a_binary_prints_no_percentiles() -> None:
    row = make_row("phone.tflite", top1=None, device="adb", samples_ms=[], peak_memory_bytes=None)
    row.latency_ms_p50 = row.latency_ms_p90 = row.latency_ms_p99 = None
    assert benchmark_model_output.fill_row(row, OLD)
    merged = merge_reports([("", make_report(row, environments={"adb": SERVER}))])
    texts = markdown(merged).splitlines()
    headings, cells = ([cell.strip() for cell in texts[line].strip("|").split("|")] for line in (0, 2))
    shown = dict(zip(headings, cells, strict=True))
    assert (shown["mean ms"], shown["model memory"]) == ("8.200", "10.49 MB")
    assert not {"p50 ms", "p90 ms", "p99 ms", "memory"} & set(headings)
    page = render_page(merged)
    assert "8.200" in page and "10.49 MB" in page and "mean 8.200 ms" in page
    beside = markdown(merge_reports([("", make_report(row, make_row("local.tflite", 5.0)))])).splitlines()
    assert {"mean ms", "p50 ms", "p99 ms", "memory", "model memory"} <= {each.strip() for each in beside[0].split("|")}
    assert "mean ms" not in markdown(merge_reports([("", make_report(make_row("local.tflite", 5.0)))]))


def test_output_of_new_versions() -> None:
    row = BenchmarkRow("model.tflite")
    assert benchmark_model_output.fill_row(row, f"07-08 15:34:26.201 I/tflite: STARTING\n{NEW}")
    assert (row.latency_ms_p50, row.latency_ms_mean, row.runs, row.warmup_runs) == (0.905, 0.91, 50, 3)
    assert (row.model_memory_bytes, row.peak_memory_bytes) == (4 << 20, 25 << 19)
    assert "p5 0.890 ms, p95 1.000 ms, max 1.200 ms, memory 4.0 MiB" in row.notes[0]


def test_runs_that_were_all_equal() -> None:
    row = BenchmarkRow("model.tflite")
    assert benchmark_model_output.fill_row(row, "count=1 curr=900\n\ncount=1 curr=800\n")
    assert (row.latency_ms_p50, row.latency_ms_mean, row.latency_ms_std, row.warmup_runs) == (0.8, 0.8, 0.0, 1)


@pytest.mark.parametrize(
    ("output", "last"),
    [
        ("", "it printed nothing"),
        (WARM_UP, WARM_UP),
        ("count=many\nBenchmarking failed.\nbye", "Benchmarking failed"),
        (
            "ERROR: Encountered unresolved custom op: LceQuantize.\nstep 2\n",
            "ERROR: Encountered unresolved custom op: LceQuantize",
        ),
        ("count=5 avg=--3 curr=.\ncount=5 curr=+ avg=2", "count=5 curr=+ avg=2"),
    ],
)
def test_output_without_figures(output: str, last: str) -> None:
    row = BenchmarkRow("model.tflite")
    assert not benchmark_model_output.fill_row(row, output)
    assert benchmark_model_output.last_words(output) == last


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[scripted_device.ScriptedDevice]:
    """A scripted device, seen by an adb server of its own."""
    device = scripted_device.ScriptedDevice(
        tmp_path / "phone",
        {
            **{"ro.product.cpu.abi": "arm64-v8a", "ro.product.manufacturer": "Nobody"},
            **{"ro.product.model": "Scripted", "ro.build.version.release": "13"},
        },
    )
    device.add_system_file("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "schedutil\n")
    device.add_system_file("/sys/class/thermal/thermal_zone0/temp", "41500\n")
    device.add_system_file("/sys/devices/platform/soc/soc:firmware/get_throttled", "0\n")
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(ssh_server.free_port()))
    monkeypatch.setenv("HOME", str(tmp_path))  # of adb's key
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    subprocess.run(["adb", "connect", device.serial], check=True, capture_output=True)
    yield device
    subprocess.run(["adb", "kill-server"], check=True, capture_output=True)
    device.stop()


PAIRED = "adb-R58M12-xyZ (2)._adb-tls-connect._tcp"
"""A phone that was paired over the network, the second of its name."""


@pytest.fixture
def two_phones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Serials that a stand-in for adb lists; its devices run commands on this host, below folders of their own."""
    serials = ["PHONE", PAIRED]
    for serial in serials:
        (tmp_path / serial / "data" / "local" / "tmp").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    listed = "".join(f"{serial}\\tdevice\\n" for serial in serials)
    ssh_server.write_script(
        tmp_path / "bin" / "adb",
        f"""
if [ "$1" = -s ]; then phone="{tmp_path}/$2"; cd "$phone" || exit 1; shift 2; fi
case "$1" in
devices) printf 'List of devices attached\\n{listed}';;
push) cp "$2" "$phone$3";;
shell) echo "$2" | sed "s:/data/local/:data/local/:g" | sh;;
esac""",
    )
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("ANDROID_SERIAL", raising=False)
    return serials


def test_names_that_are_listed_are_names_that_work(two_phones: list[str]) -> None:
    listed = [device.name for device in list_devices()]
    assert listed == ["local", *(f"adb:{serial}" for serial in two_phones)]
    for name in listed:
        assert device_info(name).name == name
    with pytest.raises(UsageError, match=re.escape(f"Name one of them: adb:PHONE, 'adb:{PAIRED}'.")):
        device_info("adb")


def test_the_serial_in_adbs_own_variable_counts(two_phones: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def commanded(name: str) -> str:
        parsed = parse_device_name(name)
        assert isinstance(parsed, AdbName)
        return adb_client.connect(parsed).shell("pwd")[1].strip().rpartition("/")[2]

    for serial in two_phones:
        monkeypatch.setenv("ANDROID_SERIAL", serial)
        assert commanded("adb") == serial
        assert commanded("adb:PHONE") == "PHONE"
    monkeypatch.setenv("ANDROID_SERIAL", "gone")
    with pytest.raises(BopkitError, match="adb sees no device gone, which ANDROID_SERIAL names. Plug one in"):
        commanded("adb")
    monkeypatch.setenv("ANDROID_SERIAL", "")  # as good as none
    with pytest.raises(UsageError, match="adb sees 2 devices"):
        commanded("adb")


def write_runner(path: Path, lines: str, knows: str = "LceBconv2d") -> Path:
    """A script in the place of a binary; `knows` is text that a binary holds."""
    ssh_server.write_script(path, f"# {knows}\n{lines}")
    return path


def printing(output: str) -> str:
    return f"cat <<'END'\n{output}\nEND"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A flatbuffer with one of LCE's operators, in a file whose name a shell would take apart."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[3] / "runtime" / "tests"))
        from sweep import CASES

        case = next(case for case in CASES if case.name == "chain-residual")
    path = tmp_path / "-my $(model)'s.tflite"
    path.write_bytes(case.graph.flatbuffer())
    return path


def measure(phone: scripted_device.ScriptedDevice, runner: Path, *models: Path, **options: Any) -> BenchmarkReport:
    return benchmark_artifacts(list(models), devices=[f"adb:{phone.serial}"], runner=runner, **options)


@pytest.mark.integration
@needs_adb
def test_a_scripted_device_runs_the_binary(phone: scripted_device.ScriptedDevice, model: Path, tmp_path: Path) -> None:
    heat = phone.root / "sys/class/thermal/thermal_zone0/temp"
    flags = phone.root / "sys/devices/platform/soc/soc:firmware/get_throttled"
    lines = f'{printing(NEW)}\necho 61000 > {heat}\necho 80008 > {flags}\necho "$@" > {tmp_path}/arguments'
    runner = write_runner(tmp_path / "lce_benchmark_model", lines)
    report = measure(phone, runner, model, threads=[1, 2], runs=20, min_duration_s=0.5, cpu_mask="1")
    assert not report.failed, report.failed
    for row, threads in zip(report.rows, (1, 2), strict=True):
        assert (row.threads, row.runtime, row.latency_ms_p50, row.runs) == (threads, "LCE", 0.905, 50)
        assert (row.governor, row.temperature_c_after, row.is_throttled) == ("schedutil", 61.0, True)
        assert (row.model_sha256, row.library_sha256) == (files.sha256(model), files.sha256(runner))
        assert any("clock was lowered" in note for note in row.notes)
    assert report.rows[0].temperature_c_before == 41.5
    environment = report.environments[f"adb:{phone.serial}"]
    assert (environment.cpu, environment.machine) == ("Nobody Scripted", "arm64-v8a")
    assert environment.os.startswith("Android 13, Linux")
    arguments = (tmp_path / "arguments").read_text()
    assert "--num_threads=2 --warmup_runs=10 --num_runs=20 --min_secs=0.5 --max_secs=30.0" in arguments
    assert any("taskset 1 /data/local/tmp/bopkit-" in command for command in phone.commands)
    assert list(phone.temporary.iterdir()) == []


@pytest.mark.integration
@needs_adb
def test_our_delegate_is_pushed_with_the_library_beside_the_binary(
    phone: scripted_device.ScriptedDevice, model: Path, tmp_path: Path
) -> None:
    library = tmp_path / adb.LIBRARY
    runner = write_runner(
        tmp_path / "benchmark_model", f'echo "$@"; ls "${{0%/*}}"\n{printing(OLD)}', "external_delegate_path"
    )
    told = only_error(measure(phone, runner, model))
    assert "does not know the operators" in told and f"Put {adb.LIBRARY} for the device beside it" in told
    library.write_bytes(b"library")
    (row,) = measure(phone, runner, model).rows
    assert row.error is None and row.runtime == "TensorFlow Lite" and row.settings["delegate"] is True
    assert row.library_sha256 == files.sha256(library)
    assert any(f"/{adb.LIBRARY} --external_delegate_options=num_threads:1" in command for command in phone.commands)


@needs_adb
@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("echo 'error: no such option'; exit 3", r"\(code 3\): error: no such option\. Check that the binary"),
        ("echo STARTING!", r"did not time .* \(code 0\): STARTING!\."),
        ("kill -11 $$", r"\(code 139\): .*"),
    ],
)
def test_a_binary_that_fails(
    lines: str, message: str, phone: scripted_device.ScriptedDevice, model: Path, tmp_path: Path
) -> None:
    report = measure(phone, write_runner(tmp_path / "lce_benchmark_model", lines), model)
    assert re.search(message, only_error(report)), report.rows
    assert list(phone.temporary.iterdir()) == []


@needs_adb
def test_a_binary_for_another_processor(phone: scripted_device.ScriptedDevice, model: Path, tmp_path: Path) -> None:
    runner = tmp_path / "benchmark_model"
    runner.write_bytes(b"\x7fELF" + bytes(14) + (62).to_bytes(2, "little") + b"LceBconv2d")
    assert "benchmark_model is for x86-64, and adb:" in only_error(measure(phone, runner, model))
    with pytest.raises(UsageError, match="missing is not a file"):
        measure(phone, tmp_path / "missing", model)


@needs_adb
def test_a_full_device(phone: scripted_device.ScriptedDevice, model: Path, tmp_path: Path) -> None:
    phone.is_full = True
    runner = write_runner(tmp_path / "lce_benchmark_model", printing(NEW))
    assert "There is no space left on adb:" in only_error(measure(phone, runner, model))
    assert list(phone.temporary.iterdir()) == []


@needs_adb
def test_a_device_that_drops_out_keeps_its_rows(
    phone: scripted_device.ScriptedDevice, model: Path, tmp_path: Path
) -> None:
    runner = write_runner(tmp_path / "lce_benchmark_model", printing(NEW))

    def pull_the_plug(line: str) -> None:
        if "2 threads" in line:
            phone.pull_plug()

    report = measure(phone, runner, model, threads=[1, 2, 4], progress=pull_the_plug)
    assert [row.error is None for row in report.rows] == [True, False, False]
    assert all("disconnected" in str(row.error) for row in report.failed)
    assert len(list(phone.temporary.iterdir())) == 1, "nobody could remove it"


@needs_adb
def test_what_a_cut_off_run_left_is_swept(phone: scripted_device.ScriptedDevice, model: Path, tmp_path: Path) -> None:
    left = phone.temporary / "bopkit-0"
    left.mkdir()
    write_runner(left / "runner", "sleep 600")
    with subprocess.Popen([left / "runner"]) as orphan, subprocess.Popen(["sleep", "600"]) as stranger:
        (left / "pid").write_text(f"{orphan.pid}\n")
        other = phone.temporary / "bopkit-1"
        other.mkdir()
        (other / "pid").write_text(f"{stranger.pid}\n")  # the number was given to another process since
        assert not measure(phone, write_runner(tmp_path / "lce_benchmark_model", printing(NEW)), model).failed
        assert orphan.wait(WAIT_S) == -signal.SIGKILL
        assert stranger.poll() is None
        stranger.kill()
    assert list(phone.temporary.iterdir()) == []


@pytest.mark.integration
@needs_adb
def test_nothing_is_left_on_the_device_after_ctrl_c(
    phone: scripted_device.ScriptedDevice, model: Path, tmp_path: Path
) -> None:
    runner = write_runner(tmp_path / "lce_benchmark_model", f"echo $$ > {tmp_path}/number; while :; do sleep 0.1; done")
    options = ["--device", f"adb:{phone.serial}", "--runner", runner, "--json"]
    process = start_bopkit("benchmark", *options, "--", model)
    try:
        assert eventually((tmp_path / "number").exists)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=WAIT_S)
        assert (process.returncode, output) == (130, "")
    finally:
        process.kill()
    number = int((tmp_path / "number").read_text())
    assert eventually(lambda: not Path("/proc", str(number)).exists())
    assert list(phone.temporary.iterdir()) == []


@pytest.mark.integration
@needs_adb
def test_a_run_that_hangs_ends_before_anything_is_timed_beside_it(
    phone: scripted_device.ScriptedDevice, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = write_runner(
        tmp_path / "lce_benchmark_model", f"echo $$ >> {tmp_path}/numbers; while :; do sleep 0.1; done"
    )
    monkeypatch.setattr(adb, "run_limit_s", lambda timing: 2.0)
    rows = benchmark_artifacts([model], devices=[f"adb:{phone.serial}"], runner=runner, threads=[1, 2]).rows
    assert ["did not answer within 2 s" in str(row.error) for row in rows] == [True, True]
    numbers = (tmp_path / "numbers").read_text().split()
    assert len(numbers) == 2  # the first is no reason to give the device up
    assert eventually(lambda: not any(Path("/proc", number).exists() for number in numbers))
    assert list(phone.temporary.iterdir()) == []


@needs_adb
def test_which_device(phone: scripted_device.ScriptedDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    assert f"adb:{phone.serial}" in [device.name for device in list_devices()]
    assert device_info("adb").environment.machine == "arm64-v8a"
    with pytest.raises(BopkitError, match="adb sees no device nothing. Plug one in"):
        device_info("adb:nothing")
    for attached, error in (
        ([], "adb sees no device. Plug"),
        ([("a", "device"), ("b", "device")], "adb sees 2 devices. Name one of them: adb:a, adb:b"),
        ([("a", "unauthorized")], "adb is unauthorized. Accept this host's key on its screen"),
        ([("a", "no permissions (user in plugdev group)")], "adb is no permissions"),
        ([("a", "recovery")], "adb is in the state recovery"),
    ):
        monkeypatch.setattr(adb_client, "attached_devices", lambda attached=attached: attached)
        with pytest.raises(BopkitError, match=error):
            device_info("adb")


def test_without_adb_or_binary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="adb needs a benchmark binary. Give .* with --runner"):
        benchmark_artifacts(["model.tflite"], devices=["adb"])
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with pytest.raises(BopkitError, match="adb is not installed. Install it: apt install adb."):
        device_info("adb")
    assert [device.name for device in list_devices()] == ["local"]
    assert os.environ["PATH"] == str(tmp_path)
