import sys

import pytest

from bopkit.errors import BopkitError, UsageError
from bopkit.registry import MODELS, Registry


def test_alias_and_name_give_the_same_architecture():
    assert MODELS.load("alexnet") is MODELS.load("binary_alexnet")


def test_second_owner_of_a_name_is_refused():
    registry = Registry("model", "ARCHITECTURE", "bopkit models")
    registry.register("a", "somewhere", aliases=["b"])
    for name, aliases in (("a", []), ("b", []), ("c", ["a"]), ("c", ["b"])):
        with pytest.raises(ValueError, match="already registered by somewhere"):
            registry.register(name, "elsewhere", aliases)


def test_unknown_name_suggests_and_lists():
    with pytest.raises(UsageError, match=r"Did you mean 'birealnet'\?.*bopkit models"):
        MODELS.load("birealnte")


def test_dotted_name_of_the_users_own_module(tmp_path, monkeypatch):
    (tmp_path / "my_nets.py").write_text("ARCHITECTURE = 'mine'\n")
    (tmp_path / "empty_nets.py").write_text("")
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "net.py").write_text("ARCHITECTURE = 'packaged'\n")
    (tmp_path / "pkg" / "broken.py").write_text("import nosuchmodule\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [each for each in sys.path if each])
    before = list(sys.path)
    assert MODELS.load("pkg.net") == "packaged"
    with pytest.raises(UsageError, match="No module"):
        MODELS.load("pkg.nosuch")
    with pytest.raises(BopkitError, match=r"pkg.broken cannot be imported: .*nosuchmodule"):
        MODELS.load("pkg.broken")
    assert sys.path == before


@pytest.mark.parametrize("name", ["..", "a b.c", "models/binarynet", ""])
def test_what_is_no_module_name_is_an_unknown_name(name):
    with pytest.raises(UsageError, match="Unknown model"):
        MODELS.load(name)


def test_a_file_in_place_of_a_name_is_said_to_be_one():
    with pytest.raises(UsageError, match=r"runs/good\.h5 is a file; this takes the name of a model"):
        MODELS.load("runs/good.h5")
