#!/bin/bash
# Compiles the conformance set with the compilers of the toolchain image in which this runs: C with Clang, if it has that.
# usage: build.sh OUT_DIR
set -euo pipefail
source_dir=$(dirname "$(readlink -f "$0")")
out_dir=$1
compiler=("$PIBUILD_TRIPLE-g++" -std=c++17 -O2 -Wall -Wno-deprecated-declarations -D_FILE_OFFSET_BITS=64 -pthread)
c_compiler=$(command -v "$PIBUILD_TRIPLE-clang" || echo "$PIBUILD_TRIPLE-gcc")

mkdir -p "$out_dir"
cd "$out_dir"
link=(-Xlinker -z -Xlinker defs)
"${compiler[@]}" "${link[@]}" -fPIC -shared -o libshared.so "$source_dir/shared.cc"
"${compiler[@]}" "${link[@]}" -fPIC -shared -fvisibility=hidden -Wl,--exclude-libs,ALL -o plugin.so "$source_dir/plugin.cc"
# With -fexceptions, as an exception of C++ passes through it.
"$c_compiler" -std=c11 -O3 -Wall -fPIC -fexceptions -c -o kernel.o "$source_dir/kernel.c"
for part in main language threads library borders kernels; do
    "${compiler[@]}" -fPIE -c -o "$part.o" "$source_dir/$part.cc" &
    [ "$(jobs -pr | wc -l)" -lt "${PIBUILD_JOBS:-2}" ] || wait -n
done
wait
"${compiler[@]}" "${link[@]}" -pie -o conformance main.o language.o threads.o library.o borders.o kernels.o kernel.o \
    -L. -lshared -Wl,-rpath,"\$ORIGIN" -ldl -latomic
rm ./*.o
