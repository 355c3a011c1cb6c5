"""Which devices a run computes on, how many of them together, and in which precision.

One process trains on one device, on several of its machine (`mirrored`), or as one of several workers on several
machines (`multiworker`), found in TF_CONFIG or in SLURM's variables.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bopkit.errors import BopkitError, UsageError
from bopkit.keras2 import import_tensorflow
from bopkit.training import cluster
from bopkit.versions import package_versions

STRATEGIES = ("auto", "one", "mirrored", "multiworker", "tpu")
PRECISIONS = ("float32", "bfloat16")
_AMPERE = (8, 0)
"""First compute capability of NVIDIA GPUs with bfloat16 matrix units."""


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where a run computes.

    Attributes:
        strategy: The `tf.distribute.Strategy`.
        name: `one`, `mirrored`, `multiworker` or `tpu`.
        replicas: Replicas of all workers.
        worker: Index of this process among the workers.
        workers: Number of processes.
        on_gpu: Whether it computes on GPUs.
    """

    strategy: Any
    name: str
    replicas: int = 1
    worker: int = 0
    workers: int = 1
    on_gpu: bool = False

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the run directory."""
        return self.worker == 0

    @property
    def replicas_here(self) -> int:
        """Replicas of this process."""
        return self.replicas // self.workers

    def gather(self, values: Sequence[float]) -> list[list[float]]:
        """The values of each worker, in their order; returns when the last worker has given its own."""
        if self.workers == 1:
            return [list(values)]
        row = import_tensorflow().constant([[0.0, *values]], "float64")  # never empty: that cannot be gathered
        rows = self.strategy.experimental_local_results(self._gather_rows(row))[0].numpy()
        return rows[:: self.replicas_here, 1:].tolist()

    @functools.cached_property
    def _gather_rows(self) -> Any:
        """A function from float64 [1, n] to those of all replicas, float64 [replicas, n]; traced once for each n."""
        tf = import_tensorflow()

        def of_replica(row: Any) -> Any:
            # An argument is on no device, and an exchange between workers has to know one.
            return tf.distribute.get_replica_context().all_gather(tf.identity(row), axis=0)

        return tf.function(lambda row: self.strategy.run(of_replica, (row,)), autograph=False)

    def describe(self) -> str:
        """In words."""
        kind = "GPU" if self.on_gpu else "TPU" if self.name == "tpu" else "CPU"
        if self.name == "one":
            return f"one {kind}"
        return f"{self.name}, {self.replicas} {kind} replicas" + (
            f" on {self.workers} workers, this is worker {self.worker}" if self.workers > 1 else ""
        )


def choose_devices(strategy: str, device: str, environment: Mapping[str, str] = os.environ) -> Placement:
    """Choose devices and strategy; TensorFlow then sees no other devices.

    Args:
        strategy: One of `STRATEGIES`; `auto` is multiworker where TF_CONFIG or SLURM tells of several workers,
            mirrored where this process sees several GPUs, else one.
        device: `auto` (GPUs if there are any), `cpu`, `gpu`, `gpu:N`, or `cpu*N` for N virtual CPU devices.
        environment: Where TF_CONFIG and SLURM's variables are looked for.

    Raises:
        UsageError: A name is wrong, or there is no such device or cluster.
        BopkitError: TensorFlow has already started on other devices.
    """
    if strategy not in STRATEGIES:
        raise UsageError(f"Unknown strategy {strategy!r}.", f"Known: {', '.join(STRATEGIES)}.")
    found = cluster.find_cluster(environment) if strategy in ("auto", "multiworker") else None
    if strategy == "multiworker" and found is None:
        raise UsageError(
            "No cluster: neither TF_CONFIG nor SLURM's variables name workers.",
            "docs/distributed.md shows how to start workers; --strategy one trains on this machine alone.",
        )
    if strategy == "tpu":
        return _on_tpu(environment)
    devices = _select_devices(device, every_gpu=strategy != "one")
    on_gpu = "GPU" in devices[0]
    tf = import_tensorflow()
    if found is not None and (len(found.workers) > 1 or strategy == "multiworker"):
        return _on_cluster(found, devices, on_gpu)
    if strategy == "mirrored" or (strategy == "auto" and len(devices) > 1):
        mirrored = tf.distribute.MirroredStrategy(devices)
        return Placement(mirrored, "mirrored", replicas=len(devices), on_gpu=on_gpu)
    # OneDeviceStrategy prefetches batches to its device; on a CPU that would be a copy for nothing.
    one = tf.distribute.OneDeviceStrategy(devices[0]) if on_gpu else tf.distribute.get_strategy()
    return Placement(one, "one", on_gpu=on_gpu)


def _select_devices(name: str, every_gpu: bool) -> list[str]:
    """Make TensorFlow see only the wanted devices, and name them."""
    match = re.fullmatch(r"auto|cpu(?:\*([1-9]\d?))?|gpu(?::(\d+))?", name)
    if match is None:
        raise UsageError(f"Unknown device {name!r}.", "Known: auto, cpu, gpu, gpu:N, cpu*N (N virtual devices).")
    tf = import_tensorflow()
    gpus = tf.config.list_physical_devices("GPU")
    index = int(match[2] or 0)
    if name.startswith("gpu") and index >= len(gpus):
        raise UsageError(
            f"There is no device {name}: TensorFlow sees {len(gpus)} GPU(s).",
            "Run `bopkit doctor`, or use --device cpu.",
        )
    visible = [] if name.startswith("cpu") else gpus if every_gpu and match[2] is None else gpus[index : index + 1]
    try:
        if visible != tf.config.get_visible_devices("GPU"):
            tf.config.set_visible_devices(visible, "GPU")
        for gpu in visible:
            tf.config.experimental.set_memory_growth(gpu, True)
        if match[1]:
            cpu = tf.config.list_physical_devices("CPU")[0]
            wanted = [tf.config.LogicalDeviceConfiguration()] * int(match[1])
            if len(tf.config.get_logical_device_configuration(cpu) or [None]) != len(wanted):
                tf.config.set_logical_device_configuration(cpu, wanted)
    except RuntimeError as error:
        raise BopkitError(
            f"Device {name} can no longer be chosen: TensorFlow is already running.",
            "Train in a fresh Python process.",
        ) from error
    kind, count = ("GPU", len(visible)) if visible else ("CPU", int(match[1] or 1))
    return [f"/{kind}:{number}" for number in range(count)]


def _on_cluster(found: cluster.Cluster, devices: list[str], on_gpu: bool) -> Placement:
    """Connect to the other workers; waits until all of them are there."""
    tf = import_tensorflow()
    if len(devices) > 1 and not on_gpu:
        raise UsageError("Several workers cannot use virtual CPU devices.", "Use --device cpu or --strategy mirrored.")
    os.environ["TF_CONFIG"] = json.dumps(found.tf_config())
    communication = tf.distribute.experimental.CommunicationOptions(
        implementation=tf.distribute.experimental.CommunicationImplementation.NCCL
        if on_gpu
        else tf.distribute.experimental.CommunicationImplementation.RING
    )
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy(communication_options=communication)
    except (tf.errors.OpError, RuntimeError) as error:
        raise cluster.WorkerLost(
            f"Worker {found.index} of {len(found.workers)} cannot join the others: {str(error).splitlines()[0][:200]}."
        ) from error
    return Placement(
        strategy,
        "multiworker",
        replicas=strategy.num_replicas_in_sync,
        worker=found.index,
        workers=len(found.workers),
        on_gpu=on_gpu,
    )


def _on_tpu(environment: Mapping[str, str]) -> Placement:
    """The TPU that the machine or TPU_NAME names. Never run by us: no TPU was at hand."""
    tf = import_tensorflow()
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(environment.get("TPU_NAME", ""))
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        strategy = tf.distribute.TPUStrategy(resolver)
    except Exception as error:  # the resolver raises whatever its transport does
        raise UsageError("No TPU answers.", "Set TPU_NAME on a TPU machine, or use --strategy auto.") from error
    return Placement(strategy, "tpu", replicas=strategy.num_replicas_in_sync)


class PrecisionChoice(NamedTuple):
    """One of `PRECISIONS`, and why it was chosen, in words."""

    name: str
    reason: str


def choose_precision(wanted: str | None, placement: Placement) -> PrecisionChoice:
    """The precision of a run: the wanted one, or bfloat16 where the device has units for it.

    Raises:
        UsageError: There is no such precision.
    """
    if wanted is not None:
        if wanted not in PRECISIONS:
            hint = " Bop's averages are near 1e-8, below what float16 can hold." if wanted == "float16" else ""
            raise UsageError(f"Unknown precision {wanted!r}.{hint}", f"Known: {', '.join(PRECISIONS)}.")
        return PrecisionChoice(wanted, "as chosen")
    if placement.name == "tpu":
        return PrecisionChoice("bfloat16", "default: TPUs have bfloat16 units")
    if placement.on_gpu:
        tf = import_tensorflow()
        details = (tf.config.experimental.get_device_details(gpu) for gpu in tf.config.get_visible_devices("GPU"))
        kind, capable = "GPU", all(each.get("compute_capability", (0, 0)) >= _AMPERE for each in details)
    else:
        kind, capable = "CPU", _cpu_multiplies_bfloat16()
    if capable:
        return PrecisionChoice("bfloat16", f"default: this {kind} has bfloat16 instructions")
    return PrecisionChoice("float32", f"default: this {kind} is not known to have bfloat16 instructions")


def _cpu_multiplies_bfloat16() -> bool:
    """Whether Linux names bfloat16 instructions among the CPU's; elsewhere no."""
    with contextlib.suppress(OSError):
        flags = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        return flags is not None and not {"amx_bf16", "avx512_bf16"}.isdisjoint(flags[1].split())
    return False


def gpu_name() -> str | None:
    """What its maker calls the first GPU that TensorFlow sees; None if it sees none."""
    tf = import_tensorflow()
    for gpu in tf.config.get_visible_devices("GPU"):
        return str(tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name))
    return None


def describe_environment(placement: Placement) -> dict[str, Any]:
    """Versions, machine and devices, as plain JSON values."""
    tf = import_tensorflow()
    return {
        "versions": package_versions(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "devices": [device.name for device in tf.config.get_visible_devices()],
        "strategy": placement.name,
        "replicas": placement.replicas,
        "workers": placement.workers,
    }
