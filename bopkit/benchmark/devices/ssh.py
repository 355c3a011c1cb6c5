"""A device over ssh: the runtime that `bopkit device setup` put there times the model."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bopkit.benchmark.devices import remembered_devices
from bopkit.benchmark.devices.device import Device
from bopkit.benchmark.devices.device_names import SshName
from bopkit.benchmark.devices.remote import flatbuffer_of, row_of, run_limit_s
from bopkit.benchmark.job import Job, Timing
from bopkit.benchmark.results import BenchmarkRow, Environment
from bopkit.benchmark.runtimes.native_timing import fill_row
from bopkit.errors import BopkitError
from bopkit.host import parse_cpu_mask
from bopkit.progress import Progress

_MODEL = "model.tflite"  # on the device, whatever the artifact is called here

_NETWORK_S = 60.0  # for the answer, after the run


class SshDevice(Device):
    """A device over ssh.

    Args:
        name: Where it is.

    Raises:
        BopkitError: It cannot be reached, or was not set up.
    """

    def __init__(self, name: SshName) -> None:
        self.name = name.name
        self._connection = remembered_devices.open_connection(name)
        self._sent = ""
        try:
            self.environment = environment_of(self._connection.facts)
            _check_set_up(name.name, self._connection.facts["manifest"])
            self._connection.request("reserve")
        except BaseException:
            self._connection.close()
            raise

    def measure(self, job: Job, folder: Path, progress: Progress) -> BenchmarkRow:
        """Copy the model, and time it there."""
        assert job.timing is not None
        path = flatbuffer_of(job.artifact, self.name)
        row = row_of(job, path)
        assert row.model_sha256 is not None
        if self._sent != row.model_sha256:
            self._send(path, row.model_sha256, progress)
        answer = self._connection.request(
            "run",
            run_limit_s(job.timing) + _NETWORK_S,
            arguments=_arguments(job.timing, job.threads),
            cores=sorted(parse_cpu_mask(job.timing.cpu_mask)) if job.timing.cpu_mask is not None else None,
            limit_s=run_limit_s(job.timing),
        )
        if answer["code"] != 0:
            raise _failed(answer, job.artifact, self.name)
        try:
            fill_row(row, json.loads(answer["output"]))
        except (ValueError, KeyError, TypeError) as error:
            raise BopkitError(
                f"{self.name} has another version of the runtime.", f"Type `bopkit device setup {self.name}`."
            ) from error
        return row

    def close(self) -> None:
        """End the connection; what it wrote on the device is removed there."""
        self._connection.close()

    def _send(self, path: Path, sha256: str, progress: Progress) -> None:
        progress(f"{path}: copying to {self.name}")
        self._sent = ""
        self._connection.send_file("put", path, _MODEL, sha256)
        self._sent = sha256


def environment_of(facts: Mapping[str, Any]) -> Environment:
    """The environment of a device, from what its agent answers to `hello`."""
    manifest = facts["manifest"] or {}
    python = ".".join(map(str, facts["python"]))
    return Environment(
        cpu=manifest.get("cpu") or facts["cpu"],
        logical_cores=facts["cores"],
        memory_bytes=facts["memory_bytes"],
        os=facts["os"],
        machine=facts["machine"],
        versions={"python": python, **manifest.get("versions", {})},
    )


def _check_set_up(name: str, manifest: Mapping[str, Any] | None) -> None:
    if manifest is None:
        raise BopkitError(f"{name} is not set up.", f"Type `bopkit device setup {name}`.")
    if not manifest["is_current"]:
        raise BopkitError(
            f"{name} was set up for another Python or by another version of bopkit.",
            f"Type `bopkit device setup {name}` again.",
        )


def _arguments(timing: Timing, threads: int) -> list[str]:
    options = {
        "--threads": threads,
        "--warmup": timing.warmup_runs,
        "--runs": timing.runs,
        "--min-seconds": timing.min_duration_s,
        "--max-seconds": timing.time_limit_s,
    }
    profile = ["--profile"] if timing.with_steps else []
    return [_MODEL, "--json", *profile, *(f"{option}={value}" for option, value in options.items())]


def _failed(answer: Mapping[str, Any], artifact_path: str, device: str) -> BopkitError:
    code = answer["code"]
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        hint = "Its memory ran out, or the file is damaged: use a smaller network, or export it again."
        if name == "SIGILL":
            hint = "The runtime was made for another processor: type `bopkit device setup` again."
        return BopkitError(f"The process that ran {artifact_path} on {device} was ended by {name}.", hint)
    lines = [line for line in answer["errors"].splitlines() if line.strip()]
    errors = [line.removeprefix("Error: ") for line in lines if line.startswith("Error: ")]
    text = (errors or lines or [f"code {code}"])[-1].replace(_MODEL, artifact_path)
    return BopkitError(f"{device}: {text}")
