import sys
from pathlib import Path

import pytest

from bopkit.errors import BopkitError, UsageError
from bopkit.own_code import import_file
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


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder, which `sys.path` lacks as it does in the command line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [each for each in sys.path if each])
    return tmp_path


def test_plain_name_of_a_module_in_the_working_folder(here):
    (here / "plain_net.py").write_text("ARCHITECTURE = 'plain'\n")
    (here / "packaged_net").mkdir()
    (here / "packaged_net" / "__init__.py").write_text("ARCHITECTURE = 'packaged'\n")
    (here / "binarynet.py").write_text("ARCHITECTURE = 'not this one'\n")
    (here / "random.py").write_text("ARCHITECTURE = 'hidden'\n")
    assert (MODELS.load("plain_net"), MODELS.load("packaged_net")) == ("plain", "packaged")
    assert MODELS.load("binarynet").name == "binarynet"
    with pytest.raises(UsageError, match=r"random\.py is hidden by another module random, .*random\.py\. Rename"):
        MODELS.load("random")
    with pytest.raises(UsageError, match=r"Unknown model 'json'.*a Python module in this folder that defines"):
        MODELS.load("json")
    with pytest.raises(UsageError, match=r"plain_net\.py is a file; .* Type plain_net;"):
        MODELS.load("plain_net.py")


def test_a_file_is_imported_as_part_of_its_package(here):
    (here / "nets").mkdir()
    (here / "nets" / "beside_net.py").write_text("VALUE = 1\n")
    (here / "nets" / "alone_net.py").write_text("from beside_net import VALUE\n")
    (here / "packaged_by_file" / "inner").mkdir(parents=True)
    for folder in ("", "inner"):
        (here / "packaged_by_file" / folder / "__init__.py").touch()
    (here / "packaged_by_file" / "other.py").write_text("VALUE = 2\n")
    (here / "packaged_by_file" / "inner" / "net.py").write_text("from ..other import VALUE\n")
    assert import_file(Path("nets/alone_net.py"), "--custom").VALUE == 1
    assert import_file(here / "nets" / "alone_net.py", "--custom").VALUE == 1
    packaged = import_file(Path("packaged_by_file/inner/net.py"), "--custom")
    assert (packaged.VALUE, packaged.__name__) == (2, "packaged_by_file.inner.net")
    (here / "alone_net.py").write_text("VALUE = 3\n")
    with pytest.raises(UsageError, match=r"alone_net.py is hidden by another module alone_net, .*nets"):
        import_file(Path("alone_net.py"), "--custom")
    with pytest.raises(UsageError, match=r"no file nosuch\.py for --custom"):
        import_file(Path("nosuch.py"), "--custom")
    (here / "broken_net.py").write_text("1 / 0\n")
    with pytest.raises(BopkitError, match=r"broken_net\.py cannot be imported: ZeroDivisionError"):
        import_file(Path("broken_net.py"), "--custom")


@pytest.mark.parametrize("name", ["..", "a b.c", "models/binarynet", ""])
def test_what_is_no_module_name_is_an_unknown_name(name):
    with pytest.raises(UsageError, match="Unknown model"):
        MODELS.load(name)


def test_a_file_in_place_of_a_name_is_said_to_be_one():
    with pytest.raises(UsageError, match=r"runs/good\.h5 is a file; this takes the name of a model"):
        MODELS.load("runs/good.h5")
