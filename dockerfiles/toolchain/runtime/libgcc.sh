#!/bin/bash
# Compiles libgcc.a, libgcc_eh.a and the crt files of GCC, without building a compiler: the headers that libgcc wants
# from gcc's build folder are those of Debian's compiler, from its plugin package.
# usage: libgcc.sh SRC_DIR BUILD_DIR LIB_DIR
set -euo pipefail
. "$(dirname "$0")/cross.sh"
src_dir=$1 build_dir=$2 lib_dir=$3
plugin=$src_dir/debian/usr/lib/gcc-cross/$TRIPLE/10/plugin/include

mkdir -p "$build_dir/$TRIPLE/libgcc" "$lib_dir"
cp -r "$plugin" "$build_dir/gcc"
cd "$build_dir/gcc"
HEADERS='' DEFINES=USED_FOR_TARGET TARGET_CPU_DEFAULT='' sh "$src_dir/gcc/gcc/mkconfig.sh" tconfig.h
cat > libgcc.mvars <<'MVARS'
GCC_CFLAGS = -O2 -DIN_GCC -DCROSS_DIRECTORY_STRUCTURE
INHIBIT_LIBC_CFLAGS =
TARGET_SYSTEM_ROOT =
NO_PIE_CFLAGS = -fno-PIE
MVARS

cd "$build_dir/$TRIPLE/libgcc"
# Fixed-point arithmetic (_Fract, _Accum) is a C dialect that nothing here speaks, and four fifths of libgcc.
env "${tools[@]}" CC="$TRIPLE-gcc-10 $ARCH_FLAGS" CFLAGS="-O2 -g0" libgcc_cv_fixed_point=no \
    "$src_dir/gcc/libgcc/configure" "${gcc_configure[@]}" --srcdir="$src_dir/gcc/libgcc" --enable-shared
objects=(crtbegin.o crtbeginS.o crtbeginT.o crtend.o crtendS.o crtfastmath.o libgcc.a libgcc_eh.a)
make LIBGCC2_DEBUG_CFLAGS=-g0 "${objects[@]}"
cp "${objects[@]}" "$lib_dir"
