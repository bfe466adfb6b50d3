#!/bin/bash
# Links TensorFlow Lite's Python wrapper against the static library and packs the wheel, as upstream's pip_package does.
# out/wheel/: the raw wheel; out/symbols/: the extension module before strip, under its path inside the wheel.
set -euo pipefail

lite=$PWD/in/tensorflow-lite
package=build/wheel/tflite_runtime
module=_pywrap_tensorflow_interpreter_wrapper
sysconfig=(in/cpython/lib/python"$PIBUILD_PYTHON"/_sysconfigdata*.py)
suffix=$(sed -n "s/^ *'EXT_SUFFIX': '\(.*\)',\$/\1/p" "${sysconfig[0]}")
case $suffix in
  .cpython-"${PIBUILD_PYTHON/./}"-"$PIBUILD_TRIPLE".so) ;;
  *) echo "in/cpython says EXT_SUFFIX is '$suffix': not Python $PIBUILD_PYTHON for $PIBUILD_TRIPLE" >&2; exit 1 ;;
esac
numpy=(in/numpy/numpy/{_core,core}/include)
[ -d "${numpy[0]}" ] || numpy=("${numpy[1]}")

# Built against NumPy 2's headers, a module runs with every NumPy from the target version on: METADATA says the same.
cat > build/build.ninja << NINJA
flags = $PIBUILD_CFLAGS $(cat "$lite/cxxflags") -fPIC -fvisibility=hidden -fvisibility-inlines-hidden $
  -ffunction-sections -fdata-sections -ffile-prefix-map=$PWD/= -Wno-psabi -DNDEBUG -DNPY_TARGET_VERSION=NPY_1_19_API_VERSION $
  -I$lite/include -I$PWD/src/pybind11/pybind11/include -I$PWD/in/cpython/include/python$PIBUILD_PYTHON -I$PWD/${numpy[0]}
rule compile
  description = compiling \$in
  command = $PIBUILD_TRIPLE-g++ \$flags -c \$in -o \$out
rule link
  description = linking \$out
  command = $PIBUILD_TRIPLE-g++ $PIBUILD_CFLAGS -shared -o \$out \$in $lite/lib/libtensorflow-lite.a -Wl,--gc-sections $
    -Wl,--as-needed -Wl,--version-script=exports -Wl,-O1 -pthread -ldl
$(for name in interpreter_wrapper interpreter_wrapper_pybind11 numpy python_error_reporter python_utils; do
    echo "build $name.o: compile $lite/python/interpreter_wrapper/$name.cc"
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

mkdir -p "$package" out/wheel out/symbols/tflite_runtime
cp "build/$module$suffix" out/symbols/tflite_runtime/
"$PIBUILD_TRIPLE-strip" --strip-unneeded -o "$package/$module$suffix" "build/$module$suffix"
cp "$lite"/python/{interpreter,metrics/metrics_interface,metrics/metrics_portable}.py "$package/"
printf '%s\n' "__version__ = '$PIBUILD_VERSION'" "__git_version__ = 'v$PIBUILD_VERSION'" > "$package/__init__.py"

info=build/wheel/tflite_runtime-$PIBUILD_VERSION.dist-info
mkdir -p "$info"
cp -R "$lite/licenses" "$info/licenses"
mkdir "$info/licenses/pybind11"
cp src/pybind11/*.dist-info/LICENSE "$info/licenses/pybind11/"
tag=cp${PIBUILD_PYTHON/./}-cp${PIBUILD_PYTHON/./}-linux_$PIBUILD_MACHINE
cat > "$info/METADATA" << METADATA
Metadata-Version: 2.1
Name: tflite-runtime
Version: $PIBUILD_VERSION
Summary: TensorFlow Lite is for mobile and embedded devices.
Home-page: https://www.tensorflow.org/lite/
Author: Google, LLC
Author-email: packages@tensorflow.org
License: Apache 2.0
Keywords: tflite tensorflow tensor machine learning
Classifier: Development Status :: 5 - Production/Stable
Classifier: Intended Audience :: Developers
Classifier: License :: OSI Approved :: Apache Software License
Classifier: Operating System :: POSIX :: Linux
Classifier: Programming Language :: Python :: $PIBUILD_PYTHON
Classifier: Topic :: Scientific/Engineering :: Artificial Intelligence
Requires-Dist: numpy (>=1.19.3)

TensorFlow Lite is the official solution for running machine learning models on
mobile and embedded devices. It enables on-device machine learning inference
with low latency and a small binary size on Android, iOS, and other operating
systems.
METADATA
printf '%s\n' 'Wheel-Version: 1.0' 'Generator: pibuild' 'Root-Is-Purelib: false' "Tag: $tag" > "$info/WHEEL"
echo tflite_runtime > "$info/top_level.txt"

python3 recipe/pack_wheel.py build/wheel "$info" "out/wheel/tflite_runtime-$PIBUILD_VERSION-$tag.whl"
