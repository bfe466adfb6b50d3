#!/bin/bash
# Compiles libatomic.a.
# usage: libatomic.sh SRC_DIR BUILD_DIR LIB_DIR
set -euo pipefail
. "$(dirname "$0")/cross.sh"
src_dir=$1 build_dir=$2 lib_dir=$3

mkdir -p "$build_dir/$TRIPLE/libatomic" "$lib_dir"
cd "$build_dir/$TRIPLE/libatomic"
# With ifunc it would choose between variants when it runs, and carry code for later ARMs.
env "${tools[@]}" CC="$TRIPLE-gcc-10 $ARCH_FLAGS" CFLAGS="-O2 -g0 -fPIC" libat_cv_have_ifunc=no \
    "$src_dir/gcc/libatomic/configure" "${gcc_configure[@]}" --srcdir="$src_dir/gcc/libatomic" \
    --disable-shared --enable-static
make
cp .libs/libatomic.a "$lib_dir"
