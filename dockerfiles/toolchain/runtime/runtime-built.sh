#!/bin/bash
# Compiles the target's runtime from the sources of Debian's compiler and C library, with the target's flags.
# usage: runtime-built.sh DEB_DIR LIB_DIR
set -euo pipefail
deb_dir=$1 lib_dir=$2
here=$(dirname "$(readlink -f "$0")")
work=$here/work
trap 'rm -rf "$work"' EXIT

mkdir -p "$work/build" "$lib_dir"
"$here/sources.sh" "$deb_dir" "$work/src"
make --no-print-directory -j"${JOBS:-$(nproc)}" -f "$here/runtime.mk" \
    SRC_DIR="$work/src" BUILD_DIR="$work/build" LIB_DIR="$lib_dir"
"$TRIPLE-strip" --strip-debug --enable-deterministic-archives "$lib_dir"/*.[oa]
