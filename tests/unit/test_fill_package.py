"""The modules that LiteRT's recipe writes into its wheel: the schema, and stubs for those that are left out."""

import runpy
import sys
import types
from importlib import import_module
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "pibuild" / "recipes" / "litert" / "fill_package.py"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with these modules, which can be imported."""
    schema, folder = tmp_path / "schema.py", tmp_path / "filled"
    schema.write_text("import flatbuffers\nfrom math import pi\n")
    folder.mkdir()
    monkeypatch.setattr(sys, "argv", ["fill_package.py", str(schema), str(folder)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "filled"]:
        del sys.modules[name]


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("name", "instead"),
    [("compiled_model", "interpreter.Interpreter"), ("aot", "on a PC"), ("hardware_accelerator", "CPU")],
)
def test_a_module_that_is_left_out_says_what_to_use_instead(name, instead):
    with pytest.raises(ImportError) as caught:
        import_module(f"filled.{name}")
    assert f"ai_edge_litert.{name} is not part of this wheel" in str(caught.value)
    assert instead in str(caught.value)


@pytest.mark.usefixtures("package")
def test_without_flatbuffers_the_schema_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "flatbuffers", None)
    with pytest.raises(ImportError, match="pip install flatbuffers"):
        import_module("filled.schema_py_generated")


@pytest.mark.usefixtures("package")
def test_with_flatbuffers_the_schema_is_upstreams(monkeypatch):
    monkeypatch.setitem(sys.modules, "flatbuffers", types.ModuleType("flatbuffers"))
    assert import_module("filled.schema_py_generated").pi > 3
