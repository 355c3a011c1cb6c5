"""Released weights, played by a server on this machine: what arrives is the network, once, wherever a model stands."""

import contextlib
import dataclasses
import hashlib
import json
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from signal import SIGINT, SIGTERM

import numpy as np
import pytest
from command_line import ForkedBopkit, failed, forked, succeeded
from release_server import ReleaseServer

import bopkit
from bopkit.artifacts.keras_file import open_model
from bopkit.keras2 import import_tensorflow
from bopkit.pretrained.releases import RELEASES, Release
from bopkit.registry import MODELS

pytestmark = pytest.mark.integration

NAME = "bopnet_64k"
"""Small, and nobody has released weights of it: the tests' own do not stand for Larq Zoo's."""

BEFORE = """
import json
from bopkit.pretrained import download, releases
download.PAUSE_S = 0.0
releases.LARQ_ZOO = {address!r}
releases.RELEASES[{name!r}] = releases.Release(**json.loads({release!r}))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The network whose weights are released, and their file, as `save_weights` writes it."""
    import_tensorflow().keras.utils.set_random_seed(1)
    architecture = MODELS.load(NAME)
    network = architecture.build_network(architecture.hparams("latent"), architecture.input_shape, architecture.classes)
    file = tmp_path_factory.mktemp("released") / "net_weights.h5"
    network.save_weights(file)
    return network, file.read_bytes()


class Releases:
    """Commands for which a server has released the network."""

    def __init__(self, server, content, folder):
        self.server, self.content, self.folder = server, content, folder
        sha256 = hashlib.sha256(content).hexdigest()
        self.release = Release(NAME, "v1", "net_weights.h5", sha256, 0.5, 0.9, NAME, dataset="cifar10")
        server.files["/v1/net_weights.h5"] = content

    @property
    def weights(self):
        return self.folder / "cache" / "bopkit" / "pretrained" / "weights" / "v1" / "net_weights.h5"

    def bopkit(self, *arguments, **options):
        return forked(*arguments, **self._options(), **options)

    @contextlib.contextmanager
    def started(self, *arguments):
        with tempfile.TemporaryDirectory() as output:
            process = ForkedBopkit(*arguments, output=Path(output), **self._options())
            try:
                yield process
            finally:
                process.kill()

    def _options(self):
        release = json.dumps(dataclasses.asdict(self.release))
        before = BEFORE.format(address=self.server.address, name=NAME, release=release)
        environment = {"XDG_CACHE_HOME": str(self.folder / "cache"), "no_proxy": "*"}
        return {"cwd": self.folder, "before": before, "environment": environment}


@pytest.fixture
def played(trained, tmp_path):
    with ReleaseServer() as server:
        yield Releases(server, trained[1], tmp_path)


def same_weights(network, path):
    return all(
        np.array_equal(*pair) for pair in zip(network.get_weights(), open_model(path).model.get_weights(), strict=True)
    )


def test_the_network_has_the_released_weights_and_says_whose_they_are(played, trained):
    shown = played.bopkit("pull", NAME)
    assert "Apache-2.0" in shown.stderr and "50.00 %" in shown.stderr and "bopkit has not measured it" in shown.stderr
    assert succeeded(shown).strip() == NAME
    model = played.folder / NAME / "model.h5"
    assert same_weights(trained[0], model)
    card = bopkit.read_card(model)
    assert (card.architecture, card.dataset, card.trained) == (NAME, "cifar10", True)
    assert card.source.endswith(f"/v1/net_weights.h5 (SHA-256 {played.release.sha256})")
    assert (card.licence, card.published) == ("Apache-2.0", {"top1": 0.5, "top5": 0.9})
    assert card.accuracy == {} and len(card.class_names) == 10
    before = model.read_bytes()
    assert "was there already" in played.bopkit("pull", NAME).stderr
    succeeded(played.bopkit("pull", NAME, "--to", "net.h5"))
    assert same_weights(trained[0], played.folder / "net.h5")
    assert model.read_bytes() == before
    assert played.server.ranges == [None]


def test_a_file_that_is_there_is_never_overwritten(played):
    (played.folder / "net.h5").write_bytes(b"mine")
    assert "exists already" in failed(played.bopkit("pull", NAME, "--to", "net.h5"), 2)
    assert (played.folder / "net.h5").read_bytes() == b"mine"


def test_a_model_file_may_be_pulled_by_name(played, trained):
    succeeded(played.bopkit("export", f"pull:{NAME}", "--tflite", "--pictures", 4))
    assert {path.name for path in played.folder.iterdir()} == {"cache", f"{NAME}.tflite"}
    assert bopkit.read_card(played.folder / f"{NAME}.tflite").licence == "Apache-2.0"
    succeeded(played.bopkit("verify", f"pull:{NAME}", f"{NAME}.tflite", "--pictures", 4))
    assert NAME in succeeded(played.bopkit("inspect", f"pull:{NAME}"))
    succeeded(played.bopkit("diff", f"pull:{NAME}", f"pull:{NAME}"))
    rows = json.loads(succeeded(played.bopkit("benchmark", f"pull:{NAME}", f"{NAME}.tflite", "--runs", 1, "--json")))
    assert [row["error"] for row in rows["rows"]] == [None, None]
    settings = ("--dataset", "digits", "--input-shape", "32,32,3", "--hparams-set", "latent", "--limit-steps", 1)
    settings += ("--hparams", "epochs=1,learning_rate_warmup_epochs=none")
    succeeded(played.bopkit("train", NAME, *settings, "--from", f"pull:{NAME}", "--output-dir", "run"))
    (kept,) = (played.folder / "cache").rglob(f"{NAME}.h5")
    config = json.loads((played.folder / "run" / "config.json").read_text())
    assert config["from"]["sha256"] == hashlib.sha256(kept.read_bytes()).hexdigest()
    assert played.server.ranges == [None]


def test_a_teacher_may_be_pulled_by_name(played):
    shown = played.bopkit("train", NAME, "--dataset", "digits", "--teacher", f"pull:{NAME}", "--dry-run")
    succeeded(shown)
    assert f"teacher pull:{NAME}, preprocessing imagenet, input 32 x 32 x 3" in shown.stderr


@pytest.mark.parametrize("command", [["export"], ["benchmark"], ["inspect"], ["predict"], ["evaluate"], ["refresh"]])
def test_the_bare_name_of_a_network_is_no_model_file(command, played):
    arguments = ["photo.png"] if command == ["predict"] else []
    (played.folder / "photo.png").write_bytes(b"")
    said = failed(played.bopkit(*command, NAME, *arguments), 2)
    assert f"pull:{NAME}" in said and f"bopkit init {NAME}" in said
    assert played.server.ranges == []


def test_without_a_network_one_line_says_where_to_put_what(played, trained):
    played.server.__exit__()
    said = failed(played.bopkit("export", f"pull:{NAME}", "--tflite", "--pictures", 4))
    assert f"{played.server.address}/v1/net_weights.h5 cannot be reached" in said
    assert f"Put that file by hand at {played.weights}" in said
    assert f"bopkit pull {NAME} --mirror URL" in said
    played.weights.parent.mkdir(parents=True, exist_ok=True)
    played.weights.write_bytes(played.content)
    succeeded(played.bopkit("export", f"pull:{NAME}", "--tflite", "--pictures", 4))


def test_a_mirror_takes_the_place_of_the_release(played, trained):
    played.server.files = {"/copy/v1/net_weights.h5": played.content}
    assert "HTTP 404" in failed(played.bopkit("pull", NAME))
    succeeded(played.bopkit("pull", NAME, "--mirror", f"{played.server.address}/copy"))
    assert same_weights(trained[0], played.folder / NAME / "model.h5")


@pytest.mark.parametrize("content", [b"", b"no network", None])
def test_other_weights_than_the_released_ones_are_not_read(content, played):
    damaged = bytearray(played.content)
    damaged[len(damaged) // 2] ^= 1
    played.server.files["/v1/net_weights.h5"] = bytes(damaged) if content is None else content
    assert "is not the file that was released, and was removed" in failed(played.bopkit("pull", NAME))
    assert not played.weights.exists() and not (played.folder / NAME).exists()
    played.weights.write_bytes(damaged)
    played.server.files["/v1/net_weights.h5"] = played.content
    wrong = played.weights.with_name("net_weights.h5.wrong")
    wrong.write_bytes(b"older")
    said = played.bopkit("pull", NAME).stderr
    assert "its checksum is wrong: it is net_weights.h5.wrong beside it now" in said
    assert wrong.read_bytes() == damaged and played.weights.read_bytes() == played.content
    assert (played.folder / NAME / "model.h5").exists()


def test_weights_of_another_network_are_told(played, trained):
    architecture = MODELS.load(NAME)
    other = architecture.build_network(architecture.hparams("latent"), (32, 32, 1), 10)
    path = played.folder / "other.h5"
    other.save_weights(path)
    with ReleaseServer() as server:
        shown = Releases(server, path.read_bytes(), played.folder).bopkit("pull", NAME)
    assert "weights of another network" in failed(shown)


def test_two_commands_at_once_download_once(played, trained):
    """The second waits for the first, and says so."""
    played.server.plan = ["slow"]
    with ThreadPoolExecutor() as pool:
        first = pool.submit(played.bopkit, "pull", NAME, "--to", "one.h5")
        while not played.server.ranges:
            time.sleep(0.05)
        second = pool.submit(played.bopkit, "pull", NAME, "--to", "two.h5")
        time.sleep(3.0)  # until it has met the lock
        played.server.released.set()
        done = [each.result() for each in (first, second)]
    for each, file in zip(done, ("one.h5", "two.h5"), strict=True):
        succeeded(each)
        assert same_weights(trained[0], played.folder / file)
    assert f"Another bopkit is getting {NAME}: waiting for it" in done[1].stderr
    assert played.server.ranges == [None]


@pytest.mark.parametrize(
    "number, code, said", [(SIGINT, 130, "Interrupted. "), (SIGTERM, 143, "Told to stop by SIGTERM.")]
)
def test_what_arrived_before_ctrl_c_is_kept(number, code, said, played):
    played.server.plan = ["stall 20000"]
    with played.started("pull", NAME) as process:
        part = played.weights.with_name(f"{played.weights.name}.part")
        while not (part.exists() and part.stat().st_size == 20_000):
            time.sleep(0.05)
        process.send_signal(number)
        done = process.finished()
    assert done.returncode == code, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith(said) and "a download with the same command" in last
    assert not played.weights.exists() and not (played.folder / NAME).exists()
    played.server.plan = []
    succeeded(played.bopkit("pull", NAME))
    assert played.server.ranges == [None, "bytes=20000-"]


def test_a_full_disk_leaves_nothing_half_written(played):
    shown = played.bopkit("pull", NAME, size_bytes=100_000)
    assert "The disk is full" in failed(shown)
    assert not (played.folder / NAME).exists()
    succeeded(played.bopkit("pull", NAME))
    assert (played.folder / NAME / "model.h5").exists()


def test_the_list_says_what_is_here(played):
    shown = succeeded(played.bopkit("pull"))
    assert [line.split()[-1] for line in shown.splitlines() if line.startswith(NAME)] == ["no"]
    succeeded(played.bopkit("pull", NAME))
    shown = succeeded(played.bopkit("pull"))
    assert [line.split()[-1] for line in shown.splitlines() if line.startswith(NAME)] == ["yes"]


@pytest.mark.parametrize("name", ["quicknet", "birealnet"])
@pytest.mark.release
def test_networks_of_larq_zoo_are_built_of_files_of_the_same_form(name, tmp_path, monkeypatch):
    """Bi-Real Net has the kernels that its weights were trained with: signs times their mean magnitude."""
    import larq as lq

    architecture = MODELS.load(name)
    network = architecture.build_network(architecture.hparams("latent"), (224, 224, 3), 1000)
    folder = tmp_path / "mirror" / RELEASES[name].folder
    folder.mkdir(parents=True)
    network.save_weights(folder / RELEASES[name].file)
    sha256 = hashlib.sha256((folder / RELEASES[name].file).read_bytes()).hexdigest()
    monkeypatch.setitem(RELEASES, name, dataclasses.replace(RELEASES[name], sha256=sha256))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    pulled = bopkit.pull_model(name, mirror=(tmp_path / "mirror").as_uri())
    loaded = open_model(pulled.model)
    assert same_weights(network, pulled.model)
    assert len(loaded.card.class_names) == 1000 and loaded.card.preprocessing == "imagenet"
    kinds = {type(layer.kernel_quantizer) for layer in loaded.model.layers if hasattr(layer, "kernel_quantizer")}
    assert kinds == {lq.quantizers.MagnitudeAwareSign if name == "birealnet" else lq.quantizers.SteSign}
    assert loaded.card.class_names[0] == "n01440764"  # WordNet's identifier
    options = bopkit.ExportOptions(pictures=4, max_drop=100)  # of weights without meaning near-ties are many
    report = bopkit.export_model(pulled.model, options=options)
    for artifact in report.artifacts:
        assert all(layer.packed for layer in artifact.layers if layer.kernel_bits == 1)
    assert Path(report.artifacts[0].path).stat().st_size < 5_000_000
