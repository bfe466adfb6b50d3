#!/bin/bash
# Compiles libstdc++.a, libsupc++.a and libstdc++fs.a to fit the headers of Debian's compiler.
# usage: libstdcxx.sh SRC_DIR BUILD_DIR LIB_DIR
set -euo pipefail
. "$(dirname "$0")/cross.sh"
src_dir=$1 build_dir=$2 lib_dir=$3

mkdir -p "$build_dir/$TRIPLE/libstdc++-v3" "$lib_dir"
cd "$build_dir/$TRIPLE/libstdc++-v3"
# The compiler is called as GCC's own build calls it. What a header can see is set as Debian has it; the header says that
# messages can be translated only if msgfmt is there, which is not needed for that.
env "${tools[@]}" ac_cv_prog_check_msgfmt=yes CC="$TRIPLE-gcc-10 $ARCH_FLAGS" \
    CXX="$TRIPLE-gcc-10 -shared-libgcc $ARCH_FLAGS -nostdinc++ -L$PWD/src/.libs -L$PWD/libsupc++/.libs" \
    CFLAGS="-O2 -g0 -fPIC" CXXFLAGS="-O2 -g0 -fPIC" \
    "$src_dir/gcc/libstdc++-v3/configure" "${gcc_configure[@]}" --srcdir="$src_dir/gcc/libstdc++-v3" \
    --enable-shared --enable-static --with-libstdcxx-lock-policy=atomic --enable-clocale=gnu \
    --enable-libstdcxx-time=yes --with-default-libstdcxx-abi=new --enable-libstdcxx-filesystem-ts=yes \
    --disable-libstdcxx-pch
# Configured with a shared library, because without one its header would lack symbol versions; made without one,
# because a wheel links the archive.
sed -i 's/^build_libtool_libs=yes$/build_libtool_libs=no/' libtool
make -C include
make -C libsupc++
make -C src
settings() { grep -v -e '^/\*' -e '^$' "$1"; }
header=include/$TRIPLE/bits/c++config.h
if ! diff <(settings "/usr/$TRIPLE/include/c++/10/$TRIPLE/bits/c++config.h") <(settings "$header"); then
    echo "libstdcxx.sh: $header must equal the compiler's own (<): programs are compiled with that one" >&2
    exit 1
fi
cp src/.libs/libstdc++.a libsupc++/.libs/libsupc++.a src/filesystem/.libs/libstdc++fs.a "$lib_dir"
