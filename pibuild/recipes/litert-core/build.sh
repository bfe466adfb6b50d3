#!/bin/bash
# Compiles LiteRT's interpreter and what it links, once per target, for every Python.
# out/lib/liblitert.a: all objects in one archive; out/include/: headers; out/cxxflags: flags of their users;
# out/python/: the Python files of the wheel.
set -euo pipefail

for patch in recipe/patches/*.patch; do
  patch --directory=src --strip=1 --forward --batch < "$patch"
done
# CMakeLists.txt takes these files from TensorFlow's tree; LiteRT has the same ones, written by its own FlatBuffers.
mkdir -p src/tensorflow/tensorflow/compiler/mlir
ln -s "$PWD/src/litert/tflite/converter" src/tensorflow/tensorflow/compiler/mlir/lite

# TensorFlow's headers were moved since 2.14.1, and Eigen's TensorRef now takes a type that is const.
xla=src/tensorflow/third_party/xla/xla
mkdir -p "$xla"
mv src/tensorflow/tensorflow/tsl "$xla/tsl"
find "$xla" -name '*.h' -exec \
  sed -i 's#"tensorflow/tsl/#"xla/tsl/#; s#"third_party/eigen3/#"#; s#TensorRef<Tensor<#TensorRef<const Tensor<#' {} +

# FlatBuffers' compiler for this machine, with two of its twelve languages. It reads two small files, so it is not optimized.
mkdir -p build/flatc
(cd src/flatbuffers && g++ -std=c++17 -O0 -Iinclude -Isrc -I. -Igrpc -o ../../build/flatc/flatc ../../recipe/flatc.cc \
  src/{annotated_binary_text_gen,binary_annotator,code_generators,flatc,file_name_saving_file_manager}.cpp \
  src/{file_binary_writer,file_writer,idl_gen_binary,idl_gen_cpp,idl_gen_fbs,idl_gen_python,idl_gen_text}.cpp \
  src/{idl_parser,reflection,util}.cpp include/codegen/python.cc)

xnnpack=OFF
[ "$PIBUILD_NEON" = 1 ] && xnnpack=ON
# A target with KleidiAI among its sources, that is, one for AArch64, gets kernels for newer CPUs too. XNNPACK calls
# them only if the CPU has their instructions.
newer=OFF
[ -d src/kleidiai ] && newer=ON
src=$PWD/src
# embedding_lookup.cc includes FP16's header, whose folder CMake knows only from XNNPACK.
flags="$PIBUILD_CFLAGS -ffile-prefix-map=$PWD/= -fvisibility=hidden -ffunction-sections -fdata-sections -Wno-psabi"
flags+=" -I$src/fp16/include"
args=(
  -G Ninja -S src/litert/tflite -B build/lite
  -D CMAKE_TOOLCHAIN_FILE="$PWD/recipe/toolchain.cmake"
  -D CMAKE_BUILD_TYPE=Release
  -D CMAKE_C_FLAGS="$flags" -D CMAKE_ASM_FLAGS="$PIBUILD_CFLAGS -ffile-prefix-map=$PWD/="
  -D CMAKE_CXX_FLAGS="$flags -fvisibility-inlines-hidden -fno-exceptions"
  -D CMAKE_C_FLAGS_RELEASE="-O3 -DNDEBUG" -D CMAKE_CXX_FLAGS_RELEASE="-O3 -DNDEBUG"
  -D FETCHCONTENT_FULLY_DISCONNECTED=ON
  -D TENSORFLOW_SOURCE_DIR="$src/tensorflow" -D TFLITE_HOST_TOOLS_DIR="$PWD/build/flatc"
  -D PTHREADPOOL_SOURCE_DIR="$src/pthreadpool" -D FXDIV_SOURCE_DIR="$src/fxdiv" -D FP16_SOURCE_DIR="$src/fp16"
  -D CPUINFO_SOURCE_DIR="$src/cpuinfo"
  -D TFLITE_ENABLE_XNNPACK="$xnnpack" -D TFLITE_ENABLE_GPU=OFF -D TFLITE_ENABLE_NNAPI=OFF
  -D TFLITE_ENABLE_EXTERNAL_DELEGATE=OFF
  -D CPUINFO_LIBRARY_TYPE=static -D PTHREADPOOL_LIBRARY_TYPE=static -D XNNPACK_LIBRARY_TYPE=static
  -D XNNPACK_BUILD_ALL_MICROKERNELS=OFF
  -D XNNPACK_ENABLE_KLEIDIAI="$newer" -D KLEIDIAI_SOURCE_DIR="$src/kleidiai"
  -D XNNPACK_ENABLE_ARM_FP16_SCALAR="$newer" -D XNNPACK_ENABLE_ARM_FP16_VECTOR="$newer"
  -D XNNPACK_ENABLE_ARM_DOTPROD="$newer" -D XNNPACK_ENABLE_ARM_I8MM="$newer"
  -D XNNPACK_ENABLE_ARM_BF16=OFF -D XNNPACK_ENABLE_ARM_SME=OFF -D XNNPACK_ENABLE_ARM_SME2=OFF
)
for name in abseil-cpp cpuinfo eigen farmhash fft2d flatbuffers gemmlowp ruy xnnpack; do
  args+=(-D "FETCHCONTENT_SOURCE_DIR_${name^^}=$src/$name")
done
cmake "${args[@]}"
cmake --build build/lite --target tensorflow-lite --parallel "$PIBUILD_JOBS"

# One archive of every object, so that its users need not know which library wants which.
mkdir -p out/lib out/include out/python out/licenses
find build/lite -name '*.o' | LC_ALL=C sort > build/objects
"$PIBUILD_TRIPLE-ar" qcsD out/lib/liblitert.a @build/objects

if [ "$PIBUILD_NEON" = 1 ]; then
  # Names of NEON's instructions on ARMv7, and on AArch64, where floating-point instructions share some of them.
  neon='\t(v(mla|mlal|mull|ld1|st1)\.|(fmla|mla|smlal|umlal|smull|ld1|st1)\t\{?v)'
  for part in CMakeFiles/tensorflow-lite.dir/kernels _deps/ruy-build _deps/xnnpack-build; do
    count=$(find "build/lite/$part" -name '*.o' -exec "$PIBUILD_TRIPLE-objdump" --disassemble {} + |
      grep -cP "$neon" || true)
    echo "NEON: $count instructions in $part"
    [ "$count" -gt 100 ] || { echo "$part was compiled without NEON" >&2; exit 1; }
  done
fi

(cd src/litert && find tflite -name '*.h' -exec cp --parents -t ../../out/include {} +)
(cd src/tensorflow && find tensorflow/python -name '*.h' -exec cp --parents -t ../../out/include {} +)
(cd src/abseil-cpp && find absl \( -name '*.h' -o -name '*.inc' \) -exec cp --parents -t ../../out/include {} +)
cp -R src/flatbuffers/include/flatbuffers out/include/
echo "-std=gnu++20 -DTFL_STATIC_LIBRARY_BUILD$([ "$xnnpack" = OFF ] || echo " -DTFLITE_BUILD_WITH_XNNPACK_DELEGATE")" > out/cxxflags

lite=src/litert/tflite
cp -R "$lite/python/interpreter_wrapper" "$lite/python/interpreter.py" out/python/
cp "$lite"/python/metrics/*.py out/python/
build/flatc/flatc --python --gen-object-api --gen-onefile -o build/schema "$lite/converter/schema/schema.fbs"
cp build/schema/schema_generated.py out/python/schema_py_generated.py
for source in src/*; do
  mkdir "out/licenses/${source#src/}"
  find "$source" -maxdepth 1 \( -name 'LICENSE*' -o -name 'COPYING*' -o -name 'readme2d.txt' \) \
    -exec cp -R -t "out/licenses/${source#src/}" {} +
done
