"""The workers of a distributed run, from TF_CONFIG or SLURM's variables. Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any

from bopkit.errors import BopkitError, UsageError

SLURM_BASE_PORT = 12_000
SLURM_PORTS = 8_000
"""A SLURM job's workers listen on SLURM_BASE_PORT + job id % SLURM_PORTS: two jobs on one host rarely meet."""


class WorkerLost(BopkitError):
    """Another worker died, or could not be reached. TensorFlow lets no worker join again: all have to start over."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h: the same command may succeed later

    def __init__(self, message: str):
        super().__init__(message, "Start the same command on every host again: the run resumes from its checkpoint.")


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The workers of a run and which of them this process is.

    Attributes:
        workers: host:port of each.
        index: Position of this process, from 0.
    """

    workers: tuple[str, ...]
    index: int

    def tf_config(self) -> dict[str, Any]:
        """What TensorFlow reads from TF_CONFIG."""
        return {"cluster": {"worker": list(self.workers)}, "task": {"type": "worker", "index": self.index}}


def find_cluster(environment: Mapping[str, str]) -> Cluster | None:
    """The cluster that the environment describes; None if it describes none.

    Raises:
        UsageError: It describes one that cannot be.
    """
    if environment.get("TF_CONFIG", "").strip():
        return _from_tf_config(environment["TF_CONFIG"])
    # Only steps that `srun` starts have this one: a batch script itself runs once, whatever its job asked for.
    if environment.get("SLURM_STEP_NUM_TASKS", "1") != "1":
        return _from_slurm(environment)
    return None


def _from_tf_config(text: str) -> Cluster | None:
    try:
        config = json.loads(text)
        groups, task = dict(config.get("cluster", {})), dict(config.get("task", {}))
    except (ValueError, AttributeError, TypeError) as error:
        raise _wrong_tf_config("is not a JSON object with `cluster` and `task`") from error
    kind = str(task.get("type", "worker"))
    others = {*groups, kind} - {"chief", "worker"}
    if others:
        raise _wrong_tf_config(f"names {', '.join(sorted(others))}; bopkit has workers only")
    tasks = {each: _addresses(groups, each) for each in ("chief", "worker")}
    workers = (*tasks["chief"], *tasks["worker"])  # the chief is worker 0, wherever it is written
    if not workers:
        return None
    if len(set(workers)) < len(workers):
        raise _wrong_tf_config(f"names {max(workers, key=workers.count)} twice")
    if len(workers) > 1 and ("index" not in task or (tasks["chief"] and "type" not in task)):
        raise _wrong_tf_config(f"does not say which of {len(workers)} workers this is")
    group = tasks[kind]
    index = str(task.get("index", 0))
    if not index.isdecimal() or int(index) >= len(group):
        raise _wrong_tf_config(f"gives {kind} the task index {index}, but has {len(group)} of that type")
    return Cluster(workers, workers.index(group[int(index)]))


def _addresses(groups: dict[str, Any], kind: str) -> list[str]:
    """The host:port of each task of one type."""
    addresses = groups.get(kind, [])
    if not isinstance(addresses, list):
        raise _wrong_tf_config(f"has {json.dumps(addresses)} for {kind}, which is not a list of host:port")
    for address in addresses:
        if not isinstance(address, str) or not re.fullmatch(r"\S+:\d{1,5}", address):
            raise _wrong_tf_config(f"has {json.dumps(address)} for a {kind}, which is not host:port")
    return addresses


def _wrong_tf_config(what: str) -> UsageError:
    return UsageError(
        f"TF_CONFIG {what}.",
        'Write for instance {"cluster": {"worker": ["a:12345", "b:12345"]}, "task": {"type": "worker", "index": 0}}.',
    )


def _from_slurm(environment: Mapping[str, str]) -> Cluster:
    """One worker a task; tasks of one host listen on neighbouring ports."""
    try:
        tasks, index = int(environment["SLURM_STEP_NUM_TASKS"]), int(environment["SLURM_PROCID"])
        hosts = expand_hosts(environment["SLURM_STEP_NODELIST"])
        per_host = _expand_counts(environment["SLURM_STEP_TASKS_PER_NODE"])
        port = SLURM_BASE_PORT + int(environment.get("SLURM_JOB_ID", "0")) % SLURM_PORTS
    except (KeyError, ValueError) as error:
        raise UsageError(
            f"SLURM's variables name no workers: {error}.", "Start it with `srun`, or set TF_CONFIG."
        ) from error
    workers = tuple(f"{host}:{port + i}" for host, count in zip(hosts, per_host, strict=False) for i in range(count))
    if len(workers) != tasks or index >= tasks:
        raise UsageError(
            f"SLURM tells of {tasks} tasks and of {len(workers)} places for them.", "Start one task a node with `srun`."
        )
    return Cluster(workers, index)


def expand_hosts(text: str) -> list[str]:
    """`n[01-03,7],login` as SLURM writes node lists: n01 n02 n03 n7 login.

    Raises:
        ValueError: It is no node list.
    """
    hosts: list[str] = []
    if text.count("[") != text.count("]"):
        raise ValueError(f"{text!r} is not a node list")
    for part in re.findall(r"(?:[^,\[]|\[[^\]]*\])+", text):
        match = re.fullmatch(r"([^\[\]]*)(?:\[([^\]]*)\](.*))?", part)
        if match is None:
            raise ValueError(f"{text!r} is not a node list")
        if match[2] is None:
            hosts.append(part)
            continue
        for numbers in match[2].split(","):
            first, _, last = numbers.partition("-")
            for number in range(int(first), int(last or first) + 1):
                hosts += expand_hosts(f"{match[1]}{number:0{len(first)}d}{match[3]}")
    return hosts


def _expand_counts(text: str) -> list[int]:
    """`2(x3),1` as SLURM writes tasks per node: 2 2 2 1."""
    counts: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part)
        if match is None:
            raise ValueError(f"{text!r} are not task counts")
        counts += [int(match[1])] * int(match[2] or 1)
    return counts
