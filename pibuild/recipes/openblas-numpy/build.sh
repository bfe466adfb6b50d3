#!/usr/bin/env bash
# Compiles OpenBLAS for numpy: out/lib/libopenblas.a, out/include/*.h, out/licenses. Real and complex numbers, no LAPACK:
# that would want a Fortran compiler, and numpy brings its own in C. With the names that Fortran would call as well, by
# which numpy's meson knows an OpenBLAS.
# Only those of its objects are compiled whose names say that they serve a function that numpy calls.
# One thread, for numpy's callers may have some of their own; they may call it at once, which USE_LOCKING is for.
set -euo pipefail

prefix=$PWD/out
cd src/openblas
# Every folder's Makefile includes this one after it has named its objects.
sed -i '1i\
called = axpy copy_k dot gemm gemv scal syrk\
serving = $(foreach object,$(1),$(if $(strip $(foreach name,$(called),$(findstring $(name),$(object)))),$(object)))\
$(foreach kind,S D C Z,$(eval $(kind)BLASOBJS := $(call serving,$($(kind)BLASOBJS))))' Makefile.tail
args=(
  TARGET="${PIBUILD_CMAKE_PROCESSOR^^}"  # its names are ARMV6 (VFPv2) and ARMV7 (VFPv3)
  CROSS=1 CROSS_SUFFIX="$PIBUILD_TRIPLE-" CC="$PIBUILD_TRIPLE-gcc" HOSTCC=gcc
  COMMON_OPT="$PIBUILD_CFLAGS -fvisibility=hidden -ffunction-sections -ffile-prefix-map=$PWD/="
  USE_THREAD=0 USE_LOCKING=1 NUM_THREADS=1
  NOFORTRAN=1 NO_LAPACK=1 NO_LAPACKE=1 NO_SHARED=1
  MAKE_NB_JOBS=0  # else as many as the machine has processors
)
make --jobs="$PIBUILD_JOBS" "${args[@]}" libs
make "${args[@]}" OPENBLAS_INCLUDE_DIR="$prefix/include" OPENBLAS_LIBRARY_DIR="$prefix/lib" PREFIX="$prefix" install

# Of what it installs, library and headers; the library's own name says its version.
cd "$prefix"
mv "$(readlink -f lib/libopenblas.a)" lib/libopenblas
rm -r lib/libopenblas.a lib/*/
mv lib/libopenblas lib/libopenblas.a
install -D --mode=644 -t licenses /work/src/openblas/LICENSE
find . -type f
