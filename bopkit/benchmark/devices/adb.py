"""A device over adb: the user's benchmark binary times the model, in a folder that is removed afterwards."""

from __future__ import annotations

import secrets
import shlex
from pathlib import Path
from typing import NamedTuple

from bopkit import files, host
from bopkit.benchmark.devices import adb_client, benchmark_model_output
from bopkit.benchmark.devices.adb_client import AdbClient
from bopkit.benchmark.devices.device import Device, DeviceLostError
from bopkit.benchmark.devices.device_names import AdbName
from bopkit.benchmark.devices.remote import flatbuffer_of, row_of, run_limit_s
from bopkit.benchmark.job import Job, Timing
from bopkit.benchmark.results import BenchmarkRow, Environment
from bopkit.errors import BopkitError
from bopkit.progress import Progress

LIBRARY = "libbopkit_runtime.so"
"""Our delegate, for the device, beside the user's `benchmark_model`."""

_PARENT = "/data/local/tmp"
_PREFIX = "bopkit-"
_OPERATORS = (b"LceBconv2d", b"LceQuantize")
_MODEL, _RUNNER, _PROCESS = "model.tflite", "runner", "pid"

# The processors that a binary (by e_machine of its ELF header) runs on, by what Android or Linux calls them.
_MACHINES = {3: "x86", 40: "32-bit ARM", 62: "x86-64", 183: "64-bit ARM"}
_RUNS_ON = {
    "arm64-v8a": {183, 40},
    "armeabi-v7a": {40},
    "x86_64": {62, 3},
    "x86": {3},
    "aarch64": {183, 40},
    "armv7l": {40},
    "armv8l": {40},
}

# Removes what an interrupted run left: its process, if its number still belongs to one of ours, and its folder.
_SWEEP = f"""for folder in {_PARENT}/{_PREFIX}*; do
  [ -d "$folder" ] || continue
  number=$(cat "$folder/{_PROCESS}" 2>/dev/null)
  [ -n "$number" ] && grep -q "$folder/" "/proc/$number/cmdline" 2>/dev/null && kill -9 "$number"
  rm -rf "$folder"
done"""

_FACTS = """echo abi=$(getprop ro.product.cpu.abi 2>/dev/null)
echo maker=$(getprop ro.product.manufacturer 2>/dev/null)
echo model=$(getprop ro.product.model 2>/dev/null)
echo soc=$(getprop ro.soc.model 2>/dev/null)
echo android=$(getprop ro.build.version.release 2>/dev/null)
echo kernel=$(uname -s) $(uname -r)
echo machine=$(uname -m)
echo cores=$(grep -c ^processor /proc/cpuinfo)
echo memory_kb=$(grep ^MemTotal /proc/meminfo | tr -dc 0-9)"""


class Runner(NamedTuple):
    """A benchmark binary.

    Attributes:
        path: On this host.
        data: Its bytes.
        has_lce: Whether it holds the operators of Larq Compute Engine.
        library: Our delegate beside it; None where there is none, or the binary takes none.
    """

    path: Path
    data: bytes
    has_lce: bool
    library: Path | None

    @classmethod
    def read(cls, path: Path) -> Runner:
        """Read a binary."""
        data = path.read_bytes()
        library = path.with_name(LIBRARY)
        takes_delegate = b"external_delegate_path" in data and library.is_file()
        return cls(path, data, _OPERATORS[0] in data, library if takes_delegate else None)

    def knows(self, option: str) -> bool:
        """Whether it has an option: later versions have more, and refuse what they do not know."""
        return option.encode() in self.data


class AdbDevice(Device):
    """A device over adb.

    Args:
        name: Where it is.
        runner: Benchmark binary for it.

    Raises:
        BopkitError: It cannot be reached, or the binary is for another processor.
    """

    def __init__(self, name: AdbName, runner: Path) -> None:
        self.name = name.name
        self._client = adb_client.connect(name)
        self._runner = Runner.read(runner)
        self._is_there = False
        self._sent: str | None = None
        self._folder = f"{_PARENT}/{_PREFIX}{secrets.token_hex(4)}"
        self.environment = android_environment(self._client)
        _check_machine(self._runner, self.environment.machine, self.name)
        self._copy_runner()

    def measure(self, job: Job, folder: Path, progress: Progress) -> BenchmarkRow:
        """Copy the model, and let the binary time it."""
        assert job.timing is not None
        path = flatbuffer_of(job.artifact, self.name)
        row = row_of(job, path)
        self._fill_software(row, path)
        if not self._is_there:
            self._copy_runner()
        if self._sent != row.model_sha256:
            progress(f"{path}: copying to {self.name}")
            self._client.push(path, f"{self._folder}/{_MODEL}")
            self._sent = row.model_sha256
        before = self._system_files()
        try:
            code, output = self._client.shell(self._command(job.timing, job.threads), run_limit_s(job.timing))
        except BopkitError as error:
            # On a device that cannot be cleaned the next row would be timed beside what still runs.
            kind = BopkitError if self._clean() else DeviceLostError
            raise kind(error.message, error.hint) from error
        after = self._system_files()
        if code != 0 or not benchmark_model_output.fill_row(row, output):
            said = benchmark_model_output.last_words(output).replace(f"{self._folder}/", "")
            raise BopkitError(
                f"{self._runner.path.name} did not time {job.artifact} on {self.name} (code {code}): {said}.",
                "Check that the binary is for this device, and that the model runs in it.",
            )
        row.governor = host.governor(after)
        row.temperature_c_before, row.temperature_c_after = host.temperature_c(before), host.temperature_c(after)
        row.is_throttled = host.is_throttled(before, after)
        return row

    def close(self) -> None:
        """Kill what still runs on the device, and remove the folder."""
        if self._is_there:
            self._clean()

    def _clean(self) -> bool:
        """Whether the device could be cleaned; one that is gone is cleaned by its next session."""
        try:
            code, _ = self._client.shell(_SWEEP)
        except BopkitError:
            code = None
        self._is_there, self._sent = False, None
        return code == 0

    def _copy_runner(self) -> None:
        self._client.shell(_SWEEP)
        self._is_there = True
        try:
            self._fill_folder()
        except BaseException:
            self.close()
            raise

    def _fill_folder(self) -> None:
        code, output = self._client.shell(f"mkdir -p {self._folder}")
        if code != 0:
            raise BopkitError(
                f"{self.name} has no {_PARENT} to write to: {benchmark_model_output.last_words(output)}.",
                "Give the shell of the device that folder.",
            )
        self._client.push(self._runner.path, f"{self._folder}/{_RUNNER}")
        if self._runner.library is not None:
            self._client.push(self._runner.library, f"{self._folder}/{LIBRARY}")
        self._client.shell(f"chmod 755 {self._folder}/{_RUNNER}")

    def _fill_software(self, row: BenchmarkRow, path: Path) -> None:
        """What runs the model.

        Raises:
            BopkitError: Nothing that is there can.
        """
        runner = self._runner
        is_binary = any(operator in path.read_bytes() for operator in _OPERATORS)
        if is_binary and not runner.has_lce and runner.library is None:
            raise BopkitError(
                f"{runner.path.name} does not know the operators of Larq Compute Engine in {path}.",
                f"Put {LIBRARY} for the device beside it, or give LCE's lce_benchmark_model.",
            )
        row.runtime = "LCE" if runner.has_lce else "TensorFlow Lite"
        row.library_sha256 = files.sha256(runner.library or runner.path)
        row.settings = {
            "threads": row.threads or 1,
            "runner": runner.path.name,
            "delegate": runner.library is not None,
            "timed": "invoke",
        }

    def _command(self, timing: Timing, threads: int) -> str:
        folder, runner = self._folder, self._runner
        options = {
            "graph": f"{folder}/{_MODEL}",
            "num_threads": threads,
            "warmup_runs": timing.warmup_runs,
            "num_runs": timing.runs,
            "min_secs": timing.min_duration_s,
            "max_secs": timing.time_limit_s,
        }
        if runner.knows("warmup_min_secs"):
            options["warmup_min_secs"] = 0  # half a second unless told otherwise
        if runner.knows("report_peak_memory_footprint"):
            options["report_peak_memory_footprint"] = "true"
        if runner.library is not None:
            options["external_delegate_path"] = f"{folder}/{LIBRARY}"
            options["external_delegate_options"] = f"num_threads:{threads}"
        command = [f"{folder}/{_RUNNER}", *(f"--{name}={value}" for name, value in options.items())]
        if timing.cpu_mask is not None:
            command = ["taskset", timing.cpu_mask.removeprefix("0x"), *command]
        # The number of the process is noted, for `_SWEEP`: what adb started goes on when adb is stopped.
        note = f"echo $$ > {folder}/{_PROCESS}; exec {shlex.join(command)}"
        return f"cd {folder} && sh -c {shlex.quote(note)}"

    def _system_files(self) -> host.Files:
        _, output = self._client.shell(f"grep -Hs . {' '.join(host.SYSTEM_FILES)}")
        parts = (line.partition(":") for line in output.replace("soc:firmware", _SOC_FIRMWARE).splitlines())
        return {path.replace(_SOC_FIRMWARE, "soc:firmware"): text.strip() for path, colon, text in parts if colon}


_SOC_FIRMWARE = "soc\0firmware"  # its path holds the colon that grep puts behind paths


def android_environment(client: AdbClient) -> Environment:
    """What a device over adb is, Android or another Linux.

    Raises:
        DeviceLostError: It is gone.
    """
    _, output = client.shell(_FACTS)
    facts = {name: value.strip() for name, _, value in (line.partition("=") for line in output.splitlines())}
    android = facts.get("android", "")
    names = [" ".join(filter(None, (facts.get("maker"), facts.get("model")))), facts.get("soc")]
    return Environment(
        cpu=", ".join(filter(None, names)) or facts.get("machine", ""),
        logical_cores=int(facts.get("cores") or 1),
        memory_bytes=int(facts.get("memory_kb") or 0) * 1024,
        os=", ".join(filter(None, (f"Android {android}" if android else "", facts.get("kernel")))),
        machine=facts.get("abi") or facts.get("machine", ""),
        versions={"android": android} if android else {},
    )


def _check_machine(runner: Runner, machine: str, device: str) -> None:
    """Refuse a binary for another processor; scripts and processors that are not known pass.

    Raises:
        BopkitError: It is for another one.
    """
    if runner.data[:4] != b"\x7fELF" or machine not in _RUNS_ON:
        return
    made_for = int.from_bytes(runner.data[18:20], "little")
    if made_for not in _RUNS_ON[machine]:
        raise BopkitError(
            f"{runner.path.name} is for {_MACHINES.get(made_for, f'machine {made_for}')}, and {device} is {machine}.",
            "Give a binary that was built for it.",
        )
