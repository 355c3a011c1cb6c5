"""Bad input: one clear line on stderr, what to type next in it, exit code 2 for usage and 1 for failures."""

import errno
import os

import pytest
from command_line import bopkit, failed
from typer.testing import CliRunner

from bopkit.cli.main import app
from bopkit.errors import BopkitError, UsageError
from bopkit.failures import translate
from bopkit.keras2 import import_tensorflow

TRAIN = "train binarynet --dataset digits"


def error_of(command, exit_code):
    """The only line on stderr of a command that must fail before it has done anything."""
    result = CliRunner().invoke(app, command.split())
    assert result.exit_code == exit_code, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert result.stdout == ""
    return line


@pytest.mark.integration
@pytest.mark.parametrize(
    "command, said, hint",
    [
        ("models nope", "model 'nope'", "`bopkit models`"),
        ("models binarynett", "model 'binarynett'", "Did you mean 'binarynet'?"),
        ("hparams nope", "model 'nope'", "`bopkit models`"),
        ("hparams xnornet nope", "set of xnornet 'nope'", "Known: bold, bop, bop2nd, cema, latent. List them"),
        ("init nope", "model 'nope'", "`bopkit models`"),
        ("init binarynet -o net.keras", "net.keras does not end in .h5", "-o net.h5"),
        ("init binarynet --input-shape 32,32", "'32,32' is not a shape", "--input-shape 32,32,3"),
        ("init binarynet --hparams filters=0", "filters=0", "int, >= 1"),
        ("train nope --dataset digits", "model 'nope'", "`bopkit models`"),
        ("train no_such.network --dataset digits", "No module 'no_such.network'", "`bopkit models`"),
        ("train binarynet", "No dataset", "--dataset NAME"),
        ("train binarynet --dataset nope", "dataset 'nope'", "`bopkit data list`"),
        ("train binarynet --dataset no_such.pictures", "No module 'no_such.pictures'", "`bopkit data list`"),
        (f"{TRAIN} --dataset-version 1.0.0", "'digits' has no versions", "--dataset-version"),
        # Before a download begins.
        ("train birealnet --dataset imagenet2012 --preprocess-fn nope", "preprocessing 'nope'", "resize_and_flip"),
        (f"{TRAIN} --hparams-set nope", "set of binarynet 'nope'", "bop_sec52"),
        (f"{TRAIN} --hparams epoch=1", "hyper-parameter 'epoch'", "Known: optimizer, epochs,"),
        (f"{TRAIN} --hparams epochs=one", "epochs=one must be a valid integer", "int, >= 1"),
        (f"{TRAIN} --hparams gamma=2", "gamma=2", "float, > 0, <= 1"),
        (f"{TRAIN} --hparams gamma", "'gamma' in --hparams", "--hparams epochs=2,gamma=1e-3"),
        (f"{TRAIN} --hparams epochs=1,epochs=2", "'epochs' is given twice", "Leave one"),
        (f"{TRAIN} --hparams batch_size=2000", "1433 pictures, fewer than one batch", "--hparams batch_size=143"),
        (f"{TRAIN} --device tpu", "device 'tpu'", "auto, cpu, gpu, gpu:N"),
        (f"{TRAIN} --device gpu:99", "no device gpu:99", "--device cpu"),
        ("train xnornet --dataset digits", "at least 217 x 217", "--input-shape 217,217,1 or more"),
        ("prepare nope", "dataset 'nope'", "`bopkit data list`"),
        ("tensorboard --output-prefix no_such_folder", "No TensorBoard logs", "--output-prefix"),
        ("tensorboard nope", "model 'nope'", "`bopkit models`"),
        ("benchmark model.h5 --dataset nope", "dataset 'nope'", "`bopkit data list`"),
        ("benchmark model.h5 --dataset digits --preprocess-fn nope", "preprocessing 'nope'", "resize_and_flip"),
        ("benchmark model.h5 --split test", "split needs a dataset", "--dataset"),
    ],
)
def test_usage_errors(command, said, hint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = error_of(command, exit_code=2)
    assert said in line
    assert hint in line
    assert not list(tmp_path.iterdir())


def test_files_that_the_user_must_fetch(tmp_path):
    line = error_of(f"train birealnet --dataset imagenet2012 --data-dir {tmp_path}", exit_code=1)
    assert "ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar" in line
    assert f"Put the files into {tmp_path / 'downloads' / 'manual'}" in line
    assert f"bopkit data prepare imagenet2012 --data-dir {tmp_path}" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("theirs", "says"), [("photo.jpg", "not a run directory"), ("config.json", "does not belong to a run")]
)
def test_an_output_directory_with_something_else_in_it(theirs, says, tmp_path):
    (tmp_path / theirs).write_text("{}")
    assert says in error_of(f"{TRAIN} --output-dir {tmp_path}", exit_code=2)
    assert [path.name for path in tmp_path.iterdir()] == [theirs]


def test_a_dataset_that_is_not_prepared(tmp_path):
    line = error_of(f"benchmark model.h5 --dataset cifar100 --data-dir {tmp_path}", exit_code=1)
    assert "is not prepared" in line
    assert f"`bopkit data prepare cifar100 --data-dir {tmp_path}`" in line


@pytest.mark.parametrize("command", ["", "nope", "train", "train binarynet --nope", f"{TRAIN} --seed -1"])
def test_what_does_not_parse(command):
    result = CliRunner().invoke(app, command.split())
    assert result.exit_code == 2
    assert "Traceback" not in result.output


@pytest.mark.integration
@pytest.mark.parametrize("command", ["--debug models nope", "models nope --debug", "models --debug nope"])
def test_debug_shows_the_traceback_wherever_it_is_typed(command):
    plain = failed(bopkit("models", "nope"), exit_code=2)
    result = bopkit(*command.split())
    assert result.returncode == 2
    lines = result.stderr.splitlines()
    assert lines[0].startswith("Traceback")
    assert lines[-1] == plain


def test_an_interrupt_is_one_line(monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("bopkit.catalogue.list_models", interrupted)
    result = CliRunner().invoke(app, ["models"])
    assert result.exit_code == 130
    (line,) = result.stderr.splitlines()
    assert line.startswith("Interrupted.")


def test_an_interrupt_before_the_first_command_is_known(tmp_path):
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt\n")
    result = bopkit("models", env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert (result.returncode, result.stderr) == (130, "Interrupted.\n")


def os_error(number, path=None):
    return OSError(number, os.strerror(number), *([str(path)] if path else []))


def keras_error(error, reason):
    """An error as Keras words it when a step fails."""
    listing = '\n\n  File "train.py", line 6, in <module>\n\n  File "fit.py", line 9, in fit\n\n'
    where = "\n\t [[{{node IteratorGetNext}}]] [Op:__inference_train_function_3067]"
    return error(
        None, None, f"Graph execution error:\n\nDetected at node IteratorGetNext defined at:{listing}{reason}{where}"
    )


@pytest.mark.parametrize(
    "error, message, hint",
    [
        (BopkitError("Its own.", "Words."), "Its own.", "Words."),
        (os_error(errno.ENOSPC, "out/a.h5"), "The disk is full while writing out/a.h5.", "Free some space"),
        (os_error(errno.ENOSPC), "The disk is full.", "Free some space"),
        (os_error(errno.EFBIG, "a"), "The disk is full while writing a.", "Free some space"),
        (os_error(errno.EDQUOT, "a"), "The disk is full while writing a.", "Free some space"),
        (os_error(errno.EACCES, "/locked"), "No permission for /locked.", "Choose another folder"),
        (os_error(errno.EROFS, "out/.bopkit-x1/a.png"), "No permission for out/a.png.", "Choose another folder"),
        (os_error(errno.EISDIR, "folder"), "folder: Is a directory.", "Check the path"),
        (os_error(errno.ENOTDIR, "a.h5/x"), "a.h5/x cannot be a folder: a file is in its place.", "another folder"),
        (os_error(errno.EEXIST, "a.h5"), "a.h5 cannot be a folder: a file is in its place.", "another folder"),
        (MemoryError(), "Out of memory.", "--hparams batch_size="),
        (
            RuntimeError("two\nlines"),
            "RuntimeError: two lines",
            "This looks like a bug: run again with --debug and report it.",
        ),
    ],
)
def test_translation(error, message, hint):
    known = translate(error)
    assert known.message == message
    assert hint in known.hint
    assert known.exit_code == 1


def test_the_first_of_several_errors_of_a_step():
    """As TensorFlow 2.21 worded it for two replicas."""
    place = "\n\t [[{{node assert_less/Assert/AssertGuard/Assert}}]]"
    listing = 'Detected at node Assert defined at (most recent call last):\n  File "train.py", line 8, in one\n\n'
    reason = "INVALID_ARGUMENT:  assertion failed: [loss is high] [x (x:0) = ] [1]"
    error = RuntimeError(
        f"Graph execution error:\n\n{listing}{listing}2 root error(s) found.\n  (0) {reason}{place}\n\t [[branch/_9]]\n"
        f"  (1) {reason}{place}\n0 successful operations.\n0 derived errors ignored. [Op:__inference_step_78]"
    )
    assert translate(error).message == "RuntimeError: assertion failed: [loss is high] [x (x:0) = ] [1]"


def test_usage_errors_keep_their_exit_code():
    assert translate(UsageError("No.")).exit_code == 2


@pytest.mark.parametrize(
    "name, reason, message, hint",
    [
        (
            "ResourceExhaustedError",
            "OOM when allocating tensor with shape[48,56,56,64] and type float",
            "Out of memory.",
            "--hparams batch_size=",
        ),
        (
            "AbortedError",
            "Operation received an exception:Status: 1, message: could not create a primitive",  # oneDNN
            "Out of memory.",
            "--hparams batch_size=",
        ),
        (
            "ResourceExhaustedError",
            "run/ckpt-1.data-00000-of-00001.tempstate4; No space left on device",
            "The disk is full.",
            "Free some space",
        ),
        (
            "DataLossError",
            "truncated record at 297583' failed with Read less bytes than requested",
            "A file is damaged or missing: truncated record at 297583' failed with Read less bytes than requested.",
            "`bopkit data prepare DATASET`",
        ),
        (
            "NotFoundError",
            "data/cifar10/train.tfrecord; No such file or directory",
            "A file is damaged or missing: data/cifar10/train.tfrecord; No such file or directory.",
            "`bopkit data prepare DATASET`",
        ),
    ],
)
def test_translation_of_tensorflow_errors(name, reason, message, hint):
    kind = getattr(import_tensorflow().errors, name)
    for error in (kind(None, None, reason), keras_error(kind, reason)):
        known = translate(error)
        assert known.message == message
        assert hint in known.hint
