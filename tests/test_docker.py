"""The training image and the manifests of docs/distributed.md, checked without Docker, SLURM or Kubernetes."""

import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from bopkit.cli.main import app

ROOT = Path(__file__).parents[1]
DOCKERFILE = ROOT / "docs" / "docker" / "Dockerfile.train"
IGNORE_FILE = DOCKERFILE.with_name(DOCKERFILE.name + ".dockerignore")
GUIDES = [ROOT / "docs" / "distributed.md", ROOT / "docs" / "docker" / "README.md"]


def instructions():
    """(instruction, value) of the Dockerfile, in order, continuation lines joined."""
    from dockerfile_parse import DockerfileParser

    parsed = DockerfileParser(fileobj=io.BytesIO(DOCKERFILE.read_bytes())).structure
    return [(each["instruction"], each["value"]) for each in parsed if each["instruction"] != "COMMENT"]


def values_of(name):
    return [value for instruction, value in instructions() if instruction == name]


def ignored(path, patterns):
    """Whether a .dockerignore keeps a file out: the last pattern that matches it, or a folder above it, decides."""
    verdict = False
    for pattern in patterns:
        body = re.escape(pattern.removeprefix("!").strip("/"))
        body = body.replace(r"\*\*/", "(.*/)?").replace(r"\*\*", ".*").replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
        if re.fullmatch(f"{body}(/.*)?", path):
            verdict = not pattern.startswith("!")
    return verdict


def build_context():
    """Files of the working tree that Docker would send to a build, as relative paths."""
    lines = IGNORE_FILE.read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    inner = [path for path in ROOT.iterdir() if path.name not in (".git", ".venv")]  # thousands, and ignored by `*`
    files = [each for path in inner for each in ([path] if path.is_file() else path.rglob("*")) if each.is_file()]
    return [name for name in (each.relative_to(ROOT).as_posix() for each in files) if not ignored(name, patterns)]


def test_the_context_holds_what_is_copied_and_nothing_else():
    context = build_context()
    sources = [source for copy in values_of("COPY") for source in copy.split()[:-1]]
    used = {source: [name for name in context if name == source or name.startswith(source)] for source in sources}
    assert all(used.values()), used
    assert set(context) == {name for names in used.values() for name in names}
    assert len(context) > 40
    assert not [name for name in context if "__pycache__" in name]


def test_rules_of_an_image():
    (base,) = values_of("FROM")
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", base)
    users = [(number, value) for number, (name, value) in enumerate(instructions()) if name == "USER"]
    last_run = max(number for number, (name, _) in enumerate(instructions()) if name == "RUN")
    assert [user for _, user in users] == ["bopkit"]
    assert users[0][0] > last_run
    assert "useradd --uid 1000 " in " ".join(values_of("RUN"))
    assert json.loads(values_of("ENTRYPOINT")[0]) == ["bopkit"]
    assert all(isinstance(word, str) for word in json.loads(values_of("CMD")[0]))
    pips = [run for run in values_of("RUN") if "pip " in run]
    assert pips
    assert all("--no-cache-dir" in run for run in pips)


@pytest.mark.integration
@pytest.mark.release
def test_the_image_runs_its_entry_point(tmp_path):
    """COPY, WORKDIR and `pip install` as Docker carries them out, without the dependencies, then the entry point."""
    image, site, workdir = tmp_path / "image", tmp_path / "site", Path("/")
    context = build_context()
    for instruction, value in instructions():
        if instruction == "WORKDIR":
            workdir = Path(value)
            (image / workdir.relative_to("/")).mkdir(parents=True, exist_ok=True)
        elif instruction == "COPY":
            copy(context, *shlex.split(value), image / workdir.relative_to("/"))
        elif instruction == "RUN" and value.startswith("pip install"):
            line = shlex.split(value.split("&&")[0])
            command = [sys.executable, "-m", *line, "--quiet", "--no-deps", "--target", str(site)]
            subprocess.run(command, cwd=image / workdir.relative_to("/"), check=True)
    entry = [str(site / "bin" / json.loads(values_of("ENTRYPOINT")[0])[0])]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    options = {"cwd": image / workdir.relative_to("/"), "env": environment, "capture_output": True, "text": True}
    version = subprocess.run([*entry, "--version"], check=True, **options).stdout.strip()
    assert f'version = "{version}"' in (ROOT / "pyproject.toml").read_text()
    models = subprocess.run([*entry, "models", "--json"], check=True, **options).stdout
    assert {"binarynet", "birealnet"} <= {model["name"] for model in json.loads(models)}
    where = "import bopkit.export, bopkit.models; print(bopkit.__file__)"
    imported = subprocess.run([sys.executable, "-c", where], check=True, **options).stdout
    assert imported.startswith(str(site))


def copy(context, *arguments):
    """A COPY instruction: files of a folder go into the target, a file keeps its name."""
    *sources, target, workdir = arguments
    for source in sources:
        for name in context:
            if name == source or name.startswith(source):
                inner = name.removeprefix(source) if source.endswith("/") else Path(name).name
                destination = workdir / target / inner
                destination.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, destination)


def code_blocks(language):
    text = "\n".join(guide.read_text() for guide in GUIDES)
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def documented_commands():
    """Commands of bopkit in both guides, on a shell, under srun, in a container and in a pod."""
    lines = "\n".join(code_blocks("bash") + code_blocks("yaml")).replace("\\\n", " ").splitlines()
    found = [re.search(r"^(?:exec |srun .*? |docker run .*? )?bopkit(?:-train)? (.*)", line.strip()) for line in lines]
    return [match[1] for match in found if match]


@pytest.mark.parametrize("command", documented_commands())
def test_documented_commands_parse(command):
    result = CliRunner().invoke(app, [*shlex.split(command), "--help"])
    assert result.exit_code == 0, result.output


def test_there_are_commands_of_every_kind():
    assert len(documented_commands()) == 7


def test_two_hosts_differ_in_their_index_only():
    configs = [
        json.loads(text) for text in re.findall(r"export TF_CONFIG='(.*)'$", GUIDES[0].read_text(), re.MULTILINE)
    ]
    assert [config["task"] for config in configs] == [{"type": "worker", "index": index} for index in (0, 1)]
    assert configs[0]["cluster"] == configs[1]["cluster"]
    assert len(configs[0]["cluster"]["worker"]) == 2


def stub(folder, name, text):
    """A program of that name, first on the path."""
    path = folder / name
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.parametrize(
    ("exit_codes", "ends_with", "started", "requeued"),
    [
        ([0], 0, 1, False),
        ([75, 137, 0], 0, 3, False),
        ([2], 2, 1, False),
        ([75, 1], 1, 2, False),
        ([143], 143, 1, True),
        ([75] * 9, 75, 5, False),
    ],
)
def test_the_slurm_script_starts_all_tasks_again(tmp_path, exit_codes, ends_with, started, requeued):
    script = next(block for block in code_blocks("bash") if block.startswith("#!/bin/bash"))
    (tmp_path / "codes").write_text("\n".join(map(str, exit_codes)) + "\n")
    stub(tmp_path, "scontrol", f"echo $* >> {tmp_path}/requeued")
    taken = f'echo "$*" >> {tmp_path}/started; exit $(sed -n "$(wc -l < {tmp_path}/started)p" {tmp_path}/codes)'
    environment = {**stub(tmp_path, "srun", taken), "SLURM_CPUS_PER_TASK": "4", "SLURM_JOB_ID": "7"}
    result = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (ends_with, "")
    starts = (tmp_path / "started").read_text().splitlines()
    assert len(starts) == started
    assert "--cpus-per-task=4 bopkit train birealnet " in starts[0]
    assert (tmp_path / "requeued").exists() == requeued


def manifests():
    (block,) = code_blocks("yaml")
    return {each["kind"]: each for each in yaml.safe_load_all(block)}


def test_kubernetes_pods_find_each_other(tmp_path):
    """The pods' command, run for each number, names the workers as Kubernetes names the pods."""
    service, job = manifests()["Service"], manifests()["Job"]
    assert (job["apiVersion"], job["spec"]["completionMode"]) == ("batch/v1", "Indexed")
    pod = job["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    workers = job["spec"]["completions"]
    assert job["spec"]["parallelism"] == workers
    assert service["spec"]["clusterIP"] == "None"  # headless: each pod has a name of its own
    assert pod["spec"]["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    port = container["ports"][0]["containerPort"]
    assert service["spec"]["ports"][0]["port"] == port
    expected = [f"{job['metadata']['name']}-{index}.{service['metadata']['name']}:{port}" for index in range(workers)]
    for index in range(workers):
        environment = {**stub(tmp_path, "bopkit", 'echo "$TF_CONFIG"'), "JOB_COMPLETION_INDEX": str(index)}
        result = subprocess.run(container["command"], env=environment, check=True, capture_output=True, text=True)
        assert json.loads(result.stdout) == {
            "cluster": {"worker": expected},
            "task": {"type": "worker", "index": index},
        }


def test_kubernetes_makes_stopped_pods_anew_and_gives_up_on_wrong_commands():
    job, claim = manifests()["Job"]["spec"], manifests()["PersistentVolumeClaim"]
    pod = job["template"]["spec"]
    assert pod["restartPolicy"] == "Never"  # podFailurePolicy needs it
    rules = [rule for rule in job["podFailurePolicy"]["rules"] if "onExitCodes" in rule]
    actions = {code: rule["action"] for rule in rules for code in rule["onExitCodes"]["values"]}
    assert actions == {1: "FailJob", 2: "FailJob", 75: "Ignore", 143: "Ignore"}
    for rule in rules:
        assert rule["onExitCodes"]["operator"] == "In"
        assert rule["onExitCodes"]["values"] == sorted(rule["onExitCodes"]["values"])
        assert rule["onExitCodes"]["containerName"] == pod["containers"][0]["name"]
    assert pod["securityContext"]["runAsUser"] == 1000  # the image's user
    assert {mount["name"] for mount in pod["containers"][0]["volumeMounts"]} == {
        each["name"] for each in pod["volumes"]
    }
    assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
