#!/bin/bash
# Compiles a release's C library as the device compiles the one that it has: the same script, told another version.
# usage: glibc.sh SOURCE_DIR OUT_DIR, with glibc-source of the release unpacked in SOURCE_DIR
set -euo pipefail
source_dir=$1 out_dir=$2
make_dir=$(dirname "$(readlink -f "$0")")
archive=$(echo "$source_dir"/usr/src/glibc/glibc-*.tar.xz)
release=$(basename "$archive" .tar.xz)

changes=(-e "s#^dpkg-deb .*#tar -xJf '$archive' -C \"\$work\"#" -e "s#glibc-2[.]31#$release#g")
tar -tJf "$archive" > "$make_dir/files"
grep -q "^$release/crypt/Makefile$" "$make_dir/files" || changes+=(-e 's#crypt/libcrypt[.]so[.]1 ##') # gone since 2.39
sed "${changes[@]}" "$make_dir/userland-built.sh" > "$make_dir/userland-release.sh"
bash "$make_dir/userland-release.sh" "$source_dir" "$out_dir"
