#!/bin/bash
# Links LiteRT's Python wrapper against the static library and packs the wheel ai-edge-litert.
# out/wheel/: the raw wheel; out/symbols/: the extension module before strip, under its path inside the wheel.
set -euo pipefail

core=$PWD/in/litert-core
package=build/wheel/ai_edge_litert
module=_pywrap_litert_interpreter_wrapper
sysconfig=(in/cpython/lib/python"$PIBUILD_PYTHON"/_sysconfigdata*.py)
suffix=$(sed -n "s/^ *'EXT_SUFFIX': '\(.*\)',\$/\1/p" "${sysconfig[0]}")
# .cpython-311-arm-linux-gnueabihf.so; until Python 3.7, there is an m behind the version.
abi=${suffix#.cpython-}
abi=${abi%-"$PIBUILD_TRIPLE".so}
case $abi in
  "${PIBUILD_PYTHON/./}" | "${PIBUILD_PYTHON/./}m") ;;
  *) echo "in/cpython says EXT_SUFFIX is '$suffix': not Python $PIBUILD_PYTHON for $PIBUILD_TRIPLE" >&2; exit 1 ;;
esac
numpy=(in/numpy/numpy/{_core,core}/include)
[ -d "${numpy[0]}" ] || numpy=("${numpy[1]}")
headers=(in/cpython/include/python"$PIBUILD_PYTHON"*)

# XNNPACK's assembly for 32 bits doesn't say that it needs no executable stack. glibc 2.41 (trixie) refuses modules that do.
# Built against NumPy 2's headers, a module runs with every NumPy from the target version on: METADATA says the same.
cat > build/build.ninja << NINJA
flags = $PIBUILD_CFLAGS $(cat "$core/cxxflags") -fPIC -fvisibility=hidden -fvisibility-inlines-hidden $
  -ffunction-sections -fdata-sections -ffile-prefix-map=$PWD/= -Wno-psabi -DNDEBUG -DNPY_TARGET_VERSION=NPY_1_19_API_VERSION $
  -I$core/include -I$PWD/src/pybind11/pybind11/include -I$PWD/${headers[0]} -I$PWD/${numpy[0]}
rule compile
  description = compiling \$in
  command = $PIBUILD_TRIPLE-g++ \$flags -c \$in -o \$out
rule link
  description = linking \$out
  command = $PIBUILD_TRIPLE-g++ $PIBUILD_CFLAGS -shared -o \$out \$in $core/lib/liblitert.a -Wl,--gc-sections $
    -Wl,--as-needed -Wl,--version-script=exports -Wl,-O1 -Wl,-z,noexecstack -pthread -ldl
$(for name in interpreter_wrapper interpreter_wrapper_pybind11 numpy python_error_reporter python_utils; do
    echo "build $name.o: compile $core/python/interpreter_wrapper/$name.cc"
    objects="${objects-} $name.o"
  done
  echo "build $module$suffix: link $objects")
NINJA
echo "{ global: PyInit_$module; local: *; };" > build/exports
ninja -C build -j "$PIBUILD_JOBS"

# A wheel with a missing symbol loads nowhere: beside Python's own API only glibc's versioned symbols may stay open.
open_symbols=$("$PIBUILD_TRIPLE-nm" --dynamic --undefined-only "build/$module$suffix" |
  grep -vE ' (U _?Py[A-Z_]\w*|[Uw] \S+@GLIBC_\S+|w (_ITM_(de)?registerTMCloneTable|__gmon_start__))$' || true)
if [ -n "$open_symbols" ]; then
  printf '%s\n' "$module$suffix leaves symbols open that nothing on a Pi defines:" "$open_symbols" >&2
  exit 1
fi

mkdir -p "$package" out/wheel out/symbols/ai_edge_litert
cp "build/$module$suffix" out/symbols/ai_edge_litert/
"$PIBUILD_TRIPLE-strip" --strip-unneeded -o "$package/$module$suffix" "build/$module$suffix"
# These two files import their own package by the name of their older wheel, which upstream replaces in the same way.
for name in interpreter metrics_portable; do
  sed 's/tflite_runtime/ai_edge_litert/g' "$core/python/$name.py" > "$package/$name.py"
done
cp "$core/python/metrics_interface.py" "$package/"
python3 recipe/fill_package.py "$core/python/schema_py_generated.py" "$package"
echo "__version__ = '$PIBUILD_VERSION'" > "$package/__init__.py"

info=build/wheel/ai_edge_litert-$PIBUILD_VERSION.dist-info
mkdir -p "$info"
cp -R "$core/licenses" "$info/licenses"
mkdir "$info/licenses/pybind11"
cp src/pybind11/*.dist-info/LICENSE "$info/licenses/pybind11/"
tag=cp${PIBUILD_PYTHON/./}-cp$abi-linux_$PIBUILD_MACHINE
cat > "$info/METADATA" << METADATA
Metadata-Version: 2.1
Name: ai-edge-litert
Version: $PIBUILD_VERSION
Summary: LiteRT's interpreter for the Raspberry Pi: runs .tflite models on the CPU
Home-page: https://github.com/google-ai-edge/LiteRT
Author: Google AI Edge Authors
License: Apache 2.0
Keywords: litert,tflite,tensorflow,machine learning,raspberry pi
Classifier: Intended Audience :: Developers
Classifier: License :: OSI Approved :: Apache Software License
Classifier: Operating System :: POSIX :: Linux
Classifier: Programming Language :: Python :: $PIBUILD_PYTHON
Classifier: Topic :: Scientific/Engineering :: Artificial Intelligence
Requires-Dist: numpy (>=1.19.3)

Built from LiteRT's sources by pibuild. Programs with this import run unchanged:

    from ai_edge_litert.interpreter import Interpreter

The wheel contains ai_edge_litert.interpreter, the metrics modules and
schema_py_generated, which needs the package flatbuffers.

It does not contain compiled_model, tensor_buffer, hardware_accelerator (GPU and
NPU), aot, the converter and the other modules of the wheel for x86-64. Importing
one of them raises ImportError with a hint. To convert or compile a model, install
ai-edge-litert on a PC.
METADATA
printf '%s\n' 'Wheel-Version: 1.0' 'Generator: pibuild' 'Root-Is-Purelib: false' "Tag: $tag" > "$info/WHEEL"
echo ai_edge_litert > "$info/top_level.txt"

python3 recipe/pack_wheel.py build/wheel "$info" "out/wheel/ai_edge_litert-$PIBUILD_VERSION-$tag.whl"
