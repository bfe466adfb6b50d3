#!/usr/bin/env bash
# Compiles OpenBLAS for the target: out/lib/libopenblas.a, out/include/cblas.h, out/licenses.
# One thread, for its callers have threads of their own; they may call it at once, which USE_LOCKING is for. Every thread
# that ever calls reserves a buffer of 32 MB, of which it uses as much as its matrices want.
set -euo pipefail

if [ "$PIBUILD_NEON" = 1 ]; then
  echo "openblas is for targets without NEON: its kernels for ARMv6 are all that is built here" >&2
  exit 1
fi
prefix=$PWD/out
cd src/openblas
args=(
  TARGET=ARMV6 CROSS=1 CROSS_SUFFIX="$PIBUILD_TRIPLE-" CC="$PIBUILD_TRIPLE-gcc" HOSTCC=gcc
  COMMON_OPT="$PIBUILD_CFLAGS -fvisibility=hidden -ffunction-sections -ffile-prefix-map=$PWD/="
  USE_THREAD=0 USE_LOCKING=1 NUM_THREADS=1
  ONLY_CBLAS=1 NO_LAPACK=1 NO_LAPACKE=1 NO_SHARED=1
  BUILD_SINGLE=1 BUILD_DOUBLE=1 BUILD_COMPLEX=0 BUILD_COMPLEX16=0
  MAKE_NB_JOBS=0  # else as many as the machine has processors
)
make --jobs="$PIBUILD_JOBS" "${args[@]}" libs
make "${args[@]}" OPENBLAS_INCLUDE_DIR="$prefix/include" OPENBLAS_LIBRARY_DIR="$prefix/lib" PREFIX="$prefix" install

# Of what it installs, the C interface alone; the library's own name says its version.
cd "$prefix"
mv "$(readlink -f lib/libopenblas.a)" lib/libopenblas
rm -r lib/libopenblas.a lib/*/ include/f77blas.h
mv lib/libopenblas lib/libopenblas.a
mkdir licenses
cp /work/src/openblas/LICENSE licenses/
find . -type f
