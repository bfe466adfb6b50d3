#!/usr/bin/env bash
# CPython for the machine, of exactly the version that the target gets: it serves cross builds and never a person.
# Cheap to make rather than fast to run: no optimisation, no extension modules but those that build tools import,
# all of them inside the interpreter (so that nothing but the standard library depends on where it lies).
# Leaves: the prefix tree, frozen/ (the frozen standard library as C, the same for every CPU) and bin/cross-python.
set -euo pipefail

source_dir=/work/src/cpython
build_dir=/work/build/cpython
out_dir=/work/out
library_dir=$out_dir/lib/python$PIBUILD_PYTHON

modules=(
  _asyncio _bisect _blake2 _contextvars _csv _datetime _heapq _json _md5 _opcode _pickle _posixsubprocess _queue
  _random _sha1 _sha2 _sha256 _sha3 _sha512 _socket _struct _typing _zoneinfo
  array binascii fcntl math select unicodedata
)

build_zlib() {
  mkdir -p /work/build/zlib
  cd /work/build/zlib
  for name in adler32 crc32 deflate inffast inflate inftrees trees zutil; do
    gcc -O1 -w -c "/work/src/zlib/$name.c"
  done
  ar rcD libz.a ./*.o
}

# CPython's own table says how each module is made: Modules/Setup up to 3.10, Setup.stdlib.in from 3.11 on.
# A name that this Python does not know (its hashes changed names, say) is left out.
setup_lines() {
  local name
  echo '*static*'
  echo 'zlib zlibmodule.c -I/work/src/zlib /work/build/zlib/libz.a'
  for name in "${modules[@]}"; do
    sed -nE "s/^(#|@MODULE_[A-Z0-9_]+_TRUE@)($name( .*)?)$/\2/p" \
      $source_dir/Modules/Setup $source_dir/Modules/Setup.stdlib.in 2>/dev/null || true
  done
}

build_python() {
  mkdir -p $build_dir/Modules
  cd $build_dir
  setup_lines > Modules/Setup.local
  $source_dir/configure --prefix=/opt/pibuild/python-machine --without-doc-strings --without-ensurepip \
    --cache-file=config.cache OPT='-O0 -w -DNDEBUG'
  make -j"$PIBUILD_JOBS" python pybuilddir.txt
}

build_zlib
build_python
