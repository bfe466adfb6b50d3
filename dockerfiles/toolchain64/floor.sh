#!/bin/bash
# Adds to LIB_DIR what links programs against glibc FLOOR instead of the newer one beside the compiler.
# usage: floor.sh DEB_DIR FLOOR LIB_DIR
set -euo pipefail
deb_dir=$1 floor=$2 lib_dir=$3
here=$(dirname "$(readlink -f "$0")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

dpkg-deb --fsys-tarfile "$deb_dir"/glibc-source_*.deb | tar -xO ./usr/src/glibc/glibc-2.31.tar.xz \
    | tar -xJ -C "$work" --strip-components=6 --wildcards 'glibc-2.31/sysdeps/unix/sysv/linux/aarch64/*.abilist'
read -ra compiler <<< "$TRIPLE-gcc-10 $ARCH_FLAGS"
python3 "$here/floor_stubs64.py" "$work" "$floor" "$lib_dir" "${compiler[@]}"

# What libstdc++'s headers call and the floor lacks: a shim each, linked in where it is called.
objects=()
for shim in "$here"/shims/*.c; do
    symbol=$(basename "$shim" .c)
    if ! "$TRIPLE-nm" --dynamic --defined-only "$lib_dir"/*.so.? | grep -q " $symbol@"; then
        "${compiler[@]}" -O2 -fPIC -Wall -c "$shim" -o "$work/$symbol.o"
        objects+=("$work/$symbol.o")
    fi
done
if [ ${#objects[@]} -gt 0 ]; then
    echo "shims for glibc $floor: ${objects[*]##*/}"
    "$TRIPLE-ar" rsD "$lib_dir/libc_nonshared.a" "${objects[@]}"
fi
