#!/usr/bin/env bash
# CPython for the target, complete in itself: zlib and libffi inside, every extension module part of the interpreter.
# Compiled without running a line of ARM code: what CPython wants to run while it is built, the machine's CPython of
# the same version does. Leaves the prefix tree of /opt/pibuild/python, with pip in site-packages.
set -euo pipefail

source_dir=/work/src/cpython
machine_dir=/work/in/cpython-machine
build_dir=/work/build/cpython
out_dir=/work/out
library_dir=$out_dir/lib/python$PIBUILD_PYTHON
include_dir=$out_dir/include/python$PIBUILD_PYTHON

# Left out because pure Python stands in: _asyncio, _decimal, _elementtree, _lsprof, _statistics, _uuid, _zoneinfo.
# Left out for want of a use here: bzip2, lzma, sqlite, readline, curses, ssl, the codecs of East Asia.
modules=(
  _bisect _blake2 _contextvars _csv _datetime _heapq _json _md5 _multiprocessing _opcode _pickle _posixshmem
  _posixsubprocess _queue _random _sha1 _sha2 _sha256 _sha3 _sha512 _socket _struct _typing
  array binascii cmath fcntl grp math mmap pyexpat resource select termios unicodedata
)

# compile ARCHIVE FLAGS... -- SOURCES...: a static library of ARM objects, without the library's own build system.
compile() {
  local archive=$1 flags=() object
  shift
  while [[ $1 != -- ]]; do flags+=("$1"); shift; done
  shift
  for source in "$@"; do
    object=$(basename "$source").o
    "$PIBUILD_TRIPLE-gcc" -O2 -fPIC "${flags[@]}" -c "$source" -o "$object"
    "$PIBUILD_TRIPLE-ar" rcD "$archive" "$object"
  done
}

build_zlib() {
  mkdir -p /work/build/zlib
  cd /work/build/zlib
  compile libz.a -- /work/src/zlib/{adler32,crc32,deflate,inffast,inflate,inftrees,trees,zutil}.c
}

build_libffi() {
  local source=/work/src/libffi
  mkdir -p /work/build/libffi
  cd /work/build/libffi
  cp /work/recipe/fficonfig.h .
  sed -e 's/@TARGET@/ARM/; s/@HAVE_LONG_DOUBLE@/0/; s/@FFI_EXEC_TRAMPOLINE_TABLE@/0/' $source/include/ffi.h.in > ffi.h
  compile libffi.a -I. -I$source/include -I$source/src/arm -fexceptions -DHAVE_CONFIG_H -- \
    $source/src/{prep_cif,types,raw_api,java_raw_api,closures,tramp}.c $source/src/arm/{ffi.c,sysv.S}
}

# How a module is made stands in CPython's own table, as lines that are commented out (up to 3.10) or switched by
# configure. A module that this Python does not have (its hashes changed names, say) has no line there.
setup_lines() {
  local table=$source_dir/Modules/Setup.stdlib.in
  [[ -e $table ]] || table=$source_dir/Modules/Setup
  cat <<'EOF'
*static*
zlib zlibmodule.c -I/work/src/zlib /work/build/zlib/libz.a
_ctypes _ctypes/_ctypes.c _ctypes/callbacks.c _ctypes/callproc.c _ctypes/stgdict.c _ctypes/cfield.c \
  -I/work/build/libffi -I/work/src/libffi/src/arm /work/build/libffi/libffi.a \
  -DHAVE_FFI_PREP_CIF_VAR -DHAVE_FFI_PREP_CLOSURE_LOC -DHAVE_FFI_CLOSURE_ALLOC
EOF
  for name in "${modules[@]}"; do
    sed -nE "s/^(#|@MODULE_[A-Z0-9_]+_TRUE@)($name .*)/\2/p" "$table"
  done
  if [[ $PIBUILD_PYTHON == 3.9 ]]; then  # its table knows nothing of these
    cat <<'EOF'
_multiprocessing _multiprocessing/multiprocessing.c _multiprocessing/semaphore.c -I$(srcdir)/Modules/_multiprocessing
_posixshmem _multiprocessing/posixshmem.c -lrt
_opcode _opcode.c
_queue _queuemodule.c
EOF
  fi
}

# The frozen modules are the same for every CPU; newer than the files that they were made from, they stay.
take_frozen() {
  [[ -d $machine_dir/frozen ]] || return 0
  mkdir -p $build_dir/Python
  cp -r $machine_dir/frozen/. $build_dir/Python
  find $build_dir/Python -type f -exec touch {} +
}

build_python() {
  local options=(
    --prefix=/opt/pibuild/python --build="$PIBUILD_BUILD_TRIPLE" --host="$PIBUILD_TRIPLE"
    --without-doc-strings --without-ensurepip --with-computed-gotos --enable-ipv6
    OPT='-O1 -DNDEBUG -fwrapv'
    # what configure can learn only by running a program, or by looking at the machine that it runs on
    ac_cv_file__dev_ptmx=yes ac_cv_file__dev_ptc=no ac_cv_broken_sem_getvalue=no ac_cv_working_tzset=yes
  )
  [[ $PIBUILD_PYTHON == 3.9 ]] || options+=("--with-build-python=$machine_dir/bin/python3")
  mkdir -p $build_dir/Modules
  setup_lines > $build_dir/Modules/Setup.local
  cd $build_dir
  export PATH=$machine_dir/bin:$PATH  # 3.9 looks for its like there
  CONFIG_SITE=$machine_dir/config.site $source_dir/configure "${options[@]}"
  # configure asks the headers for it, which are younger than the floor, and not the library
  sed -i 's/^#define HAVE_MEMFD_CREATE 1$//' pyconfig.h
  make -j"$PIBUILD_JOBS" python pybuilddir.txt
}

# By hand: `make install` would first build what is left out here, and compile each .py three times.
install_python() {
  cd $build_dir
  mkdir -p $out_dir/bin "$library_dir/lib-dynload" "$include_dir"
  "$PIBUILD_TRIPLE-strip" -o "$out_dir/bin/python$PIBUILD_PYTHON" python
  cp -r $source_dir/Include/. pyconfig.h "$include_dir"
  cp -r $source_dir/Lib/. "$(cat pybuilddir.txt)"/_sysconfigdata_*.py "$library_dir"
  echo 'Empty: every extension module is part of the interpreter.' > "$library_dir/lib-dynload/README"
  unzip -q "$library_dir"/ensurepip/_bundled/pip-*.whl -d "$library_dir/site-packages"
  rm -r "$library_dir/ensurepip"
}

build_zlib
build_libffi
take_frozen
build_python
install_python
PIBUILD_CROSS_PREFIX=$out_dir $machine_dir/bin/cross-python -B -c \
  'import sysconfig; print(sysconfig.get_platform(), sysconfig.get_config_var("EXT_SUFFIX"))'
