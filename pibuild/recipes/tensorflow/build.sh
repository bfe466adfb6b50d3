#!/bin/bash
# TensorFlow 1.x as a Python wheel, compiled by Bazel. No C++ action knows which Python it is for or where one is, so that
# the second Python takes all objects of the first from Bazel's disk cache.
# out/wheel/: the raw wheel; out/symbols/: each .so before strip, under its path inside the wheel.
set -euo pipefail

tensorflow=$PWD/src/tensorflow
tools=$PWD/build/bin
package=$PWD/build/package
openblas=$PWD/in/openblas
output=/work/cache/output
[[ $PIBUILD_VERSION == 1.12.3 ]] || output+=-$PIBUILD_VERSION  # releases have Bazels that don't know each other's folders

for patch in recipe/patches/"$PIBUILD_VERSION"/*.patch; do
  [[ -e $patch ]] || continue  # a release may need none
  patch --directory="$tensorflow" --strip=1 --batch --forward --quiet < "$patch"
done
python3 recipe/prepare.py "$tensorflow" src

# Tools that Bazel calls: paths are parts of its keys, so they are the same whatever the Python. Bazel's actions have no
# HOME, and without it Python before 3.8 asks for the user's entry in /etc/passwd, which a person's own user has not.
mkdir -p "$tools" build/python-lib
cat > "$tools/python" << TOOL
#!/bin/sh
HOME=$PWD/build exec $PWD/in/cpython-machine/bin/python$PIBUILD_PYTHON "\$@"
TOOL
cp "$tools/python" "$tools/python${PIBUILD_PYTHON%.*}"
cat > "$tools/swig" << TOOL
#!/bin/sh
SWIG_LIB=$PWD/src/swig/swig/data/share/swig/3.0.8 exec $PWD/src/swig/swig/data/bin/swig "\$@"
TOOL
cat > "$tools/bazel" << TOOL
#!/bin/sh
exec $(echo "$PWD"/src/bazel/bazel-*) --output_user_root=/work/cache/bazel --output_base=$output --max_idle_secs=60 "\$@"
TOOL
chmod +x "$tools"/* src/swig/swig/data/bin/swig src/bazel/bazel-*
export PATH=$tools:$PATH USER=pibuild

# knows FILE PATTERN    says whether the release's file has such a line
knows() { grep -Eqs "$2" "$tensorflow/$1"; }

# What ./configure would ask.
cd "$tensorflow"
export PYTHON_BIN_PATH=$tools/python PYTHON_LIB_PATH=/work/build/python-lib
TARGET_PYTHON_INCLUDE=/work/in/cpython/include/python$PIBUILD_PYTHON
TARGET_NUMPY_INCLUDE=$(echo /work/in/numpy/numpy/*core/include)  # numpy 2 has it in _core
export TARGET_PYTHON_INCLUDE TARGET_NUMPY_INCLUDE
export TF_SYSTEM_LIBS=curl,nasm,pcre,swig CC_OPT_FLAGS=-O2
! knows third_party/systemlibs/syslibs_configure.bzl '"hwloc"' || TF_SYSTEM_LIBS+=,hwloc
for name in CUDA IGNITE MPI OPENCL_SYCL ROCM; do export TF_NEED_$name=0; done
! knows configure.py "'TF_NEED_S3'" ||  # 1.4
  for name in GCP GDR HDFS JEMALLOC OPENCL S3 VERBS; do export TF_NEED_$name=0; done
export TF_ENABLE_XLA=0 TF_DOWNLOAD_CLANG=0 TF_SET_ANDROID_WORKSPACE=0
python configure.py < /dev/null

options=(
  -c opt --config=monolithic --cpu=armeabi --crosstool_top=@local_config_arm_compiler//:toolchain
  --verbose_failures --color=no --curses=yes --terminal_columns=200 --show_progress_rate_limit=10
  --jobs="$PIBUILD_JOBS" --local_resources="$((PIBUILD_JOBS * 2048)),$PIBUILD_JOBS,1.0"
  --disk_cache=/work/cache/disk --experimental_distdir=/work/src/distdir
  --host_copt=-O0 --host_copt=-w --copt=-w --copt=-Wno-psabi
)
# From 1.14 on there are options for what is of no use on a Pi, and a matrix product that is for x86.
for name in aws gcp hdfs ignite kafka nccl; do
  ! knows .bazelrc "^build:no$name " || options+=(--config="no$name")
done
! knows .bazelrc '^build:mkl --define=tensorflow_mkldnn_contraction_kernel=0' ||
  options+=(--define=tensorflow_mkldnn_contraction_kernel=0)
for flag in $PIBUILD_CFLAGS -funsafe-math-optimizations -ftree-vectorize -fomit-frame-pointer; do
  options+=(--copt="$flag")
done
# As upstream has it for a Pi without NEON: a matrix product that takes half of Eigen's instructions. Bazel does not know the
# library as an input, so its hash is in the path: another one means another link.
if [ -d "$openblas" ]; then
  linked=/work/build/openblas-$(cat "$openblas"/lib/libopenblas.a "$openblas"/include/*.h | sha256sum | cut -c 1-16)
  ln -s "$openblas" "$linked"
  options+=(--copt=-DUSE_GEMM_FOR_CONV --copt=-DUSE_OPENBLAS --copt=-isystem --copt="$openblas/include"
    --linkopt=-L"$linked/lib" --linkopt=-l:libopenblas.a "--linkopt=-Wl,--exclude-libs,libopenblas.a")
fi
extras=" ${PIBUILD_EXTRAS-} "
products=(//tensorflow/tools/pip_package:build_pip_package)
[[ $extras != *" c-library "* ]] || products+=(//tensorflow:libtensorflow.so)
[[ $extras != *" benchmark "* ]] || products+=(//tensorflow/tools/benchmark:benchmark_model)
declare -A actions=([1.4.0]='4,490' [1.12.3]='6,140' [1.14.0]='7,453')
[[ -z ${actions[$PIBUILD_VERSION]-} ]] || echo "about ${actions[$PIBUILD_VERSION]} actions in all"  # Bazel learns as it goes
# Without a terminal Bazel tells less the longer it builds; as for a terminal it keeps telling, and moves the cursor.
bazel build "${options[@]}" "${products[@]}" 2>&1 | sed -u 's/\r//g; s/\x1b\[[0-9;]*[A-Za-z]//g'
bazel shutdown

# keep EXTRA FILE NAME    puts a library or program beside the wheel, stripped, and its twin into symbols/
keep() {
  install -D "$2" "/work/out/symbols/$1/$3"
  install -D "$2" "/work/out/extras/$1/$3"
  "$PIBUILD_TRIPLE-strip" --strip-unneeded "/work/out/extras/$1/$3"
}
if [[ $extras == *" c-library "* ]]; then
  keep c-library bazel-bin/tensorflow/libtensorflow.so lib/libtensorflow.so
  # From 1.13 on programs ask for libtensorflow.so.1.
  soname=$("$PIBUILD_TRIPLE-readelf" -d bazel-bin/tensorflow/libtensorflow.so | sed -nE 's/.*\(SONAME\).*\[(.*)\]/\1/p')
  [[ -e /work/out/extras/c-library/lib/$soname ]] || ln -s libtensorflow.so "/work/out/extras/c-library/lib/$soname"
  for header in tensorflow/c/c_api.h tensorflow/c/tf_attrtype.h tensorflow/c/eager/c_api.h LICENSE; do
    [[ -e $header ]] || continue  # 1.12.3 has no tf_attrtype.h
    install -D -m 644 "$header" "/work/out/extras/c-library/include/$header"
  done
fi
if [[ $extras == *" benchmark "* ]]; then
  keep benchmark bazel-bin/tensorflow/tools/benchmark/benchmark_model bin/benchmark_model
fi

bazel-bin/tensorflow/tools/pip_package/build_pip_package --src "$package"
cd "$package"
# Among the headers upstream packs libraries of protobuf's own build, which nothing loads from there.
for folder in tensorflow/include external; do  # 1.4 has them in external
  [ ! -d $folder ] || find $folder -name '*.so' -delete
done
# Libraries are links into Bazel's folders, or files that nobody may write.
find . -name '*.so' | while read -r so; do
  install -D "$so" "/work/build/symbols/$so"
  rm "$so"
  "$PIBUILD_TRIPLE-strip" --strip-unneeded -o "$so" "/work/build/symbols/$so"
done
# What is compiled against a numpy refuses an older one when it is imported.
numpy=$(sed -nE 's/^Version: ([0-9]+\.[0-9]+).*/\1/p' /work/in/numpy/numpy-*.dist-info/METADATA)
sed -i "s/'numpy >= [^',]*/'numpy >= $numpy/" setup.py
# setuptools asks for ctypes on Windows alone and for pyexpat on a Mac, but imports both everywhere; the machine's Python has
# no ctypes, and from 3.9 on no pyexpat either.
mkdir -p /work/build/stub
echo '"""Stands in for the real one."""' > /work/build/stub/ctypes.py
echo 'ParserCreate = errors = model = None' > /work/build/stub/pyexpat.py
PYTHONPATH=/work/build/stub:/work/src/setuptools:/work/src/wheel /work/in/cpython-machine/bin/cross-python setup.py --quiet \
  bdist_wheel --plat-name "linux_$PIBUILD_MACHINE"
mkdir -p /work/out/wheel
mv dist/*.whl /work/out/wheel
# A twin has its library's path in the wheel: up to 3.5, distutils put a package without ext_modules under NAME.data/purelib.
unzip -Z1 /work/out/wheel/*.whl '*.so' | while read -r so; do
  install -D "/work/build/symbols/${so#*.data/*lib/}" "/work/out/symbols/$so"
done
