"""Finding the other workers, from TF_CONFIG or from SLURM's variables."""

import json

import pytest

from bopkit.errors import UsageError
from bopkit.runs.directory import RunDirectory, read_config
from bopkit.training.cluster import SLURM_BASE_PORT, SLURM_PORTS, Cluster, WorkerLost, expand_hosts, find_cluster

STEP = {
    "SLURM_JOB_ID": "17",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_NODELIST": "n[09-10],big",
    "SLURM_STEP_TASKS_PER_NODE": "1(x2),2",
    "SLURM_PROCID": "3",
}
"""What `srun` sets for the last of four tasks on three hosts."""


def tf_config(cluster, **task):
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": task})}


@pytest.mark.parametrize(
    "cluster, task, workers, index",
    [
        ({"worker": ["a:1", "b:2"]}, {"type": "worker", "index": 1}, ("a:1", "b:2"), 1),
        ({"worker": ["a:1", "b:2"]}, {"index": 1}, ("a:1", "b:2"), 1),
        ({"worker": ["a:1", "b:2"]}, {"type": "worker", "index": "1"}, ("a:1", "b:2"), 1),
        ({"worker": ["a:1"]}, {}, ("a:1",), 0),
        # The chief is worker 0, wherever it is written.
        ({"worker": ["a:1", "b:2"], "chief": ["c:3"]}, {"type": "worker", "index": 0}, ("c:3", "a:1", "b:2"), 1),
        ({"worker": ["a:1", "b:2"], "chief": ["c:3"]}, {"type": "worker", "index": 1}, ("c:3", "a:1", "b:2"), 2),
        ({"chief": ["c:3"], "worker": ["a:1", "b:2"]}, {"type": "chief", "index": 0}, ("c:3", "a:1", "b:2"), 0),
    ],
)
def test_tf_config(cluster, task, workers, index):
    found = find_cluster(tf_config(cluster, **task))
    assert found == Cluster(workers, index)
    # What TensorFlow is told leads to the same cluster.
    assert find_cluster({"TF_CONFIG": json.dumps(found.tf_config())}) == found


@pytest.mark.parametrize("environment", [{}, {"TF_CONFIG": ""}, {"TF_CONFIG": " "}, {"TF_CONFIG": "{}"}])
def test_no_cluster(environment):
    assert find_cluster(environment) is None


@pytest.mark.parametrize(
    "environment, message",
    [
        (tf_config({"worker": ["a:1"], "ps": ["p:1"]}, type="worker", index=0), "names ps; bopkit has workers only"),
        (tf_config({"worker": ["a:1"]}, type="evaluator", index=0), "names evaluator; bopkit has workers only"),
        (tf_config({"worker": ["a:1", "b:2"]}, type="worker", index=2), "worker the task index 2, but has 2 of"),
        (
            tf_config({"worker": ["a:1", "b:2"]}, type="worker", index=-1),
            "worker the task index -1, but has 2 of",
        ),
        (
            tf_config({"worker": ["a:1"]}, type="worker", index="first"),
            "worker the task index first, but has 1 of",
        ),
        # Beside a chief, a worker's index counts among the workers.
        (
            tf_config({"chief": ["c:1"], "worker": ["a:1"]}, type="worker", index=-1),
            "the task index -1, but has 1 of",
        ),
        (
            tf_config({"chief": ["c:1"], "worker": ["a:1"]}, type="worker", index=1),
            "the task index 1, but has 1 of",
        ),
        (
            tf_config({"chief": ["c:1"], "worker": ["a:1"]}, type="chief", index=1),
            "the task index 1, but has 1 of",
        ),
        (tf_config({"chief": ["c:1"], "worker": ["a:1"]}, index=0), "does not say which of 2 workers"),
        (tf_config({"worker": ["a:1", "b:2"]}, type="worker"), "does not say which of 2 workers"),
        (tf_config({"worker": ["a:1", "b:2"]}), "does not say which of 2 workers"),
        (tf_config({"worker": ["a:1", "a:1"]}, type="worker", index=0), "names a:1 twice"),
        (tf_config({"worker": ["a", "b:2"]}, type="worker", index=0), 'has "a" for a worker, which is not host:port'),
        (tf_config({"worker": ["a:", "b:2"]}, type="worker", index=0), 'has "a:" for a worker, which is not host:port'),
        (tf_config({"chief": [7]}, type="chief", index=0), "has 7 for a chief, which is not host:port"),
        (
            tf_config({"worker": "a:1"}, type="worker", index=0),
            'has "a:1" for worker, which is not a list of host:port',
        ),
        (tf_config({"worker": 2}, type="worker", index=0), "has 2 for worker, which is not a list of host:port"),
        (tf_config({"ps": ["p:1"]}, type="ps", index=0), "names ps; bopkit has workers only"),
        (tf_config({"ps": ["p:1"]}), "names ps; bopkit has workers only"),
        (tf_config(["a:1"], type="worker", index=0), "not a JSON object"),
        ({"TF_CONFIG": "worker=a:1,b:2"}, "not a JSON object"),
        ({"TF_CONFIG": "[1]"}, "not a JSON object"),
        ({"TF_CONFIG": "null"}, "not a JSON object"),
    ],
)
def test_a_tf_config_that_cannot_be(environment, message):
    with pytest.raises(UsageError, match=message) as caught:
        find_cluster(environment)
    example = caught.value.hint.removeprefix("Write for instance ").removesuffix(".")
    assert find_cluster({"TF_CONFIG": example}) == Cluster(("a:12345", "b:12345"), 0)


def test_slurm():
    port = SLURM_BASE_PORT + 17
    workers = (f"n09:{port}", f"n10:{port}", f"big:{port}", f"big:{port + 1}")
    for index in range(4):
        assert find_cluster({**STEP, "SLURM_PROCID": str(index)}) == Cluster(workers, index)
    far = find_cluster({**STEP, "SLURM_JOB_ID": str(17 + 5 * SLURM_PORTS)})
    assert far.workers == workers
    assert SLURM_BASE_PORT + SLURM_PORTS < 32_768  # below the ports that Linux hands out by itself
    config = tf_config({"worker": ["a:1"]}, type="worker", index=0)
    assert find_cluster({**STEP, **config}) == Cluster(("a:1",), 0)


def test_a_batch_script_is_no_worker():
    """It runs once, whatever its job asked for; so does a step of one task."""
    job = {"SLURM_JOB_ID": "17", "SLURM_NTASKS": "4", "SLURM_NODELIST": "n[1-4]", "SLURM_PROCID": "0"}
    assert find_cluster(job) is None
    assert find_cluster({**job, **STEP, "SLURM_STEP_NUM_TASKS": "1"}) is None


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"SLURM_STEP_NUM_TASKS": "5"}, "5 tasks and of 4 places"),
        ({"SLURM_STEP_NODELIST": "n[09-10]"}, "4 tasks and of 2 places"),
        ({"SLURM_PROCID": "4"}, "tasks and of"),
        ({"SLURM_STEP_TASKS_PER_NODE": "two"}, "name no workers: 'two' are not task counts"),
        ({"SLURM_STEP_NODELIST": "n[a-b]"}, "name no workers"),
        ({"SLURM_STEP_NUM_TASKS": "many"}, "name no workers"),
    ],
)
def test_slurm_variables_that_cannot_be(changes, message):
    with pytest.raises(UsageError, match=message) as caught:
        find_cluster({**STEP, **changes})
    assert "`srun`" in caught.value.hint


@pytest.mark.parametrize("name", sorted(STEP.keys() - {"SLURM_JOB_ID", "SLURM_STEP_NUM_TASKS"}))
def test_a_slurm_variable_that_is_missing_is_named(name):
    with pytest.raises(UsageError, match=f"name no workers: '{name}'"):
        find_cluster({key: value for key, value in STEP.items() if key != name})


@pytest.mark.parametrize(
    "text, hosts",
    [
        ("login", "login"),
        ("a,b", "a b"),
        ("n[1-3]", "n1 n2 n3"),
        ("n[08-11,7],login", "n08 n09 n10 n11 n7 login"),
        ("n[099-101]", "n099 n100 n101"),
        ("r[1-2]n[01-02].site", "r1n01.site r1n02.site r2n01.site r2n02.site"),
    ],
)
def test_node_lists(text, hosts):
    assert expand_hosts(text) == hosts.split()


def test_a_lost_worker_is_a_failure_that_starting_again_may_mend():
    error = WorkerLost("Worker 0 has lost another worker.")
    assert error.exit_code == 75
    assert "again" in error.hint


def test_a_worker_may_come_while_the_chief_makes_the_folder(tmp_path):
    """It then sees a lock and a half-written file, of the chief or of one that was killed: neither is in the way."""
    (tmp_path / "lock").touch()
    (tmp_path / ".bopkit-1").mkdir()
    RunDirectory(tmp_path, {"hparams": {}}, {}, writes=False)
    RunDirectory(tmp_path, {"hparams": {}}, {}).close()
    assert read_config(tmp_path) == {"hparams": {}}
