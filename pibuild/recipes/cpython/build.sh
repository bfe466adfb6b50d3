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
  array binascii cmath fcntl grp math mmap parser pyexpat resource select termios unicodedata
)
case $PIBUILD_PYTHON in  # what is part of the interpreter anyway from 3.5 on, or has gone
  2.7)
    modules+=(
      _collections _functools _io _locale _sha cPickle cStringIO datetime itertools operator strop time
    ) ;;
  3.4) modules+=(time) ;;
esac

export PYTHONDONTWRITEBYTECODE=1

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
# In the oldest tables time is made a second time for _socket, a "=" turns a line into a variable, expat, whose source
# of entropy Python itself sets, is not told so, and _pickle has no source. From 3.11 on configure gives pyexpat its flags,
# unless its line has some.
setup_lines() {
  local table
  for table in $source_dir/Modules/Setup{.stdlib.in,.dist,}; do
    [[ ! -e $table ]] || break
  done
  cat <<'EOF'
*static*
zlib zlibmodule.c -I/work/src/zlib /work/build/zlib/libz.a
_ctypes _ctypes/_ctypes.c _ctypes/callbacks.c _ctypes/callproc.c _ctypes/stgdict.c _ctypes/cfield.c \
  -I/work/build/libffi -I/work/src/libffi/src/arm /work/build/libffi/libffi.a \
  -DHAVE_FFI_PREP_CIF_VAR -DHAVE_FFI_PREP_CLOSURE_LOC -DHAVE_FFI_CLOSURE_ALLOC
EOF
  for name in "${modules[@]}"; do
    [[ $PIBUILD_PYTHON$name == 2.7_pickle ]] || sed -nE "s/^(#|@MODULE_[A-Z0-9_]+_TRUE@)($name .*)/\2/p" "$table"
  done | sed -E 's/^(_socket socketmodule.c) timemodule.c/\1/; /^pyexpat expat/s/ -DXML_POOR_ENTROPY(=1)?|$/ -DXML_POOR_ENTROPY/'
  case $PIBUILD_PYTHON in  # its table knows nothing of these
    2.7)
      echo _json _json.c
      echo _multiprocessing _multiprocessing/{multiprocessing,semaphore,socket_connection}.c
      echo future_builtins future_builtins.c
      ;;
    3.4 | 3.5)
      echo _json _json.c
      echo _multiprocessing _multiprocessing/{multiprocessing,semaphore}.c
      echo _opcode _opcode.c
      ;;
    3.9)
      echo _multiprocessing _multiprocessing/{multiprocessing,semaphore}.c
      echo _opcode _opcode.c
      echo _posixshmem _multiprocessing/posixshmem.c -lrt
      echo _queue _queuemodule.c
      ;;
  esac
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
    AR="$PIBUILD_TRIPLE-ar" RANLIB="$PIBUILD_TRIPLE-ranlib" CFLAGS= OPT='-O1 -DNDEBUG -fwrapv'
    # what configure can learn only by running a program, or by looking at the machine that it runs on
    ac_cv_file__dev_ptmx=yes ac_cv_file__dev_ptc=no ac_cv_broken_sem_getvalue=no ac_cv_working_tzset=yes
  )
  case $PIBUILD_PYTHON in
    2.7 | 3.4 | 3.5)  # they ask more, and assume what is wrong here: that floats can't be written in their shortest form, say
      options+=(
        ac_cv_have_long_long_format=yes ac_cv_little_endian_double=yes ac_cv_pthread=yes
        ac_cv_tanh_preserves_zero_sign=yes ac_cv_wchar_t_signed=no
      ) ;;
    3.9) ;;
    *) options+=("--with-build-python=$machine_dir/bin/python3") ;;
  esac
  [[ $PIBUILD_PYTHON != 2.7 ]] || options+=(--enable-unicode=ucs4)  # as on Debian and Raspbian: cp27mu
  mkdir -p $build_dir/Modules
  setup_lines > $build_dir/Modules/Setup.local
  cd $build_dir
  export PATH=$machine_dir/bin:$PATH  # up to 3.9 it looks for its like there
  CONFIG_SITE=$machine_dir/config.site $source_dir/configure "${options[@]}"
  # configure asks the headers for it, which are younger than the floor, and not the library
  sed -i 's/^#define HAVE_MEMFD_CREATE 1$//' pyconfig.h
  # Debian's and Raspbian's 3.4 name the platform in the suffix, as CPython itself does from 3.5 on.
  [[ $PIBUILD_PYTHON != 3.4 ]] || sed -i "/^\(SOABI\|EXT_SUFFIX\)=/s/cpython-34m/&-$PIBUILD_TRIPLE/" Makefile
  make -j"$PIBUILD_JOBS" python pybuilddir.txt
}

# By hand: `make install` would first build what is left out here, and compile each .py three times.
install_python() {
  cd $build_dir
  mkdir -p $out_dir/bin "$library_dir/lib-dynload" "$include_dir"
  "$PIBUILD_TRIPLE-strip" -o "$out_dir/bin/python$PIBUILD_PYTHON" python
  cp -r $source_dir/Include/. pyconfig.h "$include_dir"
  cp -r $source_dir/Lib/. "$(cat pybuilddir.txt)"/_sysconfigdata*.py "$library_dir"
  echo 'Empty: every extension module is part of the interpreter.' > "$library_dir/lib-dynload/README"
  if [[ $PIBUILD_PYTHON == 3.[45] ]]; then  # distutils reads the Makefile, and looks for headers under the ABI's name
    install -D --mode=644 Makefile "$library_dir/config-${PIBUILD_PYTHON}m/Makefile"
    ln -s "python$PIBUILD_PYTHON" "${include_dir}m"
  fi
  if [[ -d /work/src/pip ]]; then
    cp -r /work/src/pip/. /work/src/setuptools/. "$library_dir/site-packages"
  else
    unzip -q "$library_dir"/ensurepip/_bundled/pip-*.whl -d "$library_dir/site-packages"
    rm -r "$library_dir/ensurepip"
  fi
}

build_zlib
build_libffi
take_frozen
build_python
install_python
PIBUILD_CROSS_PREFIX=$out_dir $machine_dir/bin/cross-python -B -c \
  'import sysconfig; print("%s %s" % (sysconfig.get_platform(), sysconfig.get_config_var("EXT_SUFFIX")))'
