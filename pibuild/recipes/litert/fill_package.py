"""Write the schema module, and a stub for each module that is left out: `fill_package.py SCHEMA PACKAGE`.

A stub raises ImportError, so that programs which fall back to the interpreter keep working, and people read what to
do. Runs in the build's container with its own Python 3.9, so nothing of pibuild can be imported.
"""

import sys
from pathlib import Path

INSTEAD = {
    "compiled_model": "use ai_edge_litert.interpreter.Interpreter",
    "hardware_accelerator": "the interpreter runs on the CPU; no GPU or NPU of a Raspberry Pi is supported",
    "tensor_buffer": "use set_tensor() and get_tensor() of ai_edge_litert.interpreter.Interpreter",
    "aot": "compile models on a PC, with upstream's wheel for x86-64",
    "converter": "convert models on a PC, with TensorFlow or litert-torch",
    "internal": "edit LiteRT-LM's files on a PC, with upstream's wheel for x86-64",
    "mlir": "convert models on a PC, with TensorFlow or litert-torch",
    "model_runtime_info_pb2": "read profiles on a PC, with upstream's wheel for x86-64",
    "profiling_info_pb2": "read profiles on a PC, with upstream's wheel for x86-64",
    "tools": "use upstream's wheel for x86-64 on a PC",
}
"""What to do instead of importing a module of upstream's wheel, by its name."""

FLATBUFFERS = """\
try:
    import flatbuffers
except ImportError as error:
    raise ImportError("ai_edge_litert.schema_py_generated needs flatbuffers: pip install flatbuffers") from error
"""


def main(schema: Path, package: Path) -> None:
    """Write the modules into the package."""
    text = "".join(line for line in schema.read_text(encoding="utf-8").splitlines(keepends=True) if not _imports(line))
    (package / "schema_py_generated.py").write_text(f"{FLATBUFFERS}\n{text}", encoding="utf-8")
    for name, instead in INSTEAD.items():
        message = f"ai_edge_litert.{name} is not part of this wheel, which pibuild made for the Raspberry Pi: {instead}"
        (package / f"{name}.py").write_text(f'raise ImportError(\n    "{message}"\n)\n', encoding="utf-8")


def _imports(line: str) -> bool:
    return line == "import flatbuffers\n"


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
