#!/usr/bin/env bash
# CPython for the machine, of exactly the version that the target gets: it serves cross builds and never a person.
# Cheap to make rather than fast to run: no optimisation, and of the extension modules only those that build tools
# import and that have no stand-in in pure Python, all of them inside the interpreter.
# Leaves the prefix tree; bin/cross-python, which answers as the target's Python does; and, for the target's build,
# config.site and frozen/, the part of the standard library that CPython compiles in, as C files for any CPU.
set -euo pipefail

source_dir=/work/src/cpython
build_dir=/work/build/cpython
out_dir=/work/out
library_dir=$out_dir/lib/python$PIBUILD_PYTHON
include_dir=$out_dir/include/python$PIBUILD_PYTHON

modules=(
  _blake2 _contextvars _csv _md5 _opcode _posixsubprocess _random _sha1 _sha2 _sha256 _sha3 _sha512 _socket _struct
  array binascii fcntl math select unicodedata
)
# What is part of the interpreter anyway from 3.5 on, or has a stand-in only there.
case $PIBUILD_PYTHON in
  2.7)
    modules+=(
      _collections _functools _io _locale _sha cPickle cStringIO datetime itertools operator pyexpat strop time
    ) ;;
  3.4) modules+=(pyexpat time) ;;
  3.5) modules+=(pyexpat) ;;
esac

export PYTHONDONTWRITEBYTECODE=1

build_zlib() {
  mkdir -p /work/build/zlib
  cd /work/build/zlib
  for name in adler32 crc32 deflate inffast inflate inftrees trees zutil; do
    gcc -O1 -w -c "/work/src/zlib/$name.c"
  done
  ar rcD libz.a ./*.o
}

# How a module is made stands in CPython's own table, as lines that are commented out (up to 3.10) or switched by
# configure. A module that this Python does not have (its hashes changed names, say) has no line there.
# In the oldest tables time is made a second time for _socket, a "=" turns a line into a variable, and expat, whose
# source of entropy Python itself sets, is not told so.
setup_lines() {
  local table
  for table in $source_dir/Modules/Setup{.stdlib.in,.dist,}; do
    [[ ! -e $table ]] || break
  done
  echo '*static*'
  echo 'zlib zlibmodule.c -I/work/src/zlib /work/build/zlib/libz.a'
  for name in "${modules[@]}"; do
    sed -nE "s/^(#|@MODULE_[A-Z0-9_]+_TRUE@)($name .*)/\2/p" "$table"
  done | sed -E 's/^(_socket socketmodule.c) timemodule.c/\1/; /^pyexpat /s/ -DXML_POOR_ENTROPY(=1)?|$/ -DXML_POOR_ENTROPY/'
  if [[ $PIBUILD_PYTHON == 2.7 ]]; then
    echo '_multiprocessing' _multiprocessing/{multiprocessing,semaphore,socket_connection}.c
  fi
}

build_python() {
  mkdir -p $build_dir/Modules
  setup_lines > $build_dir/Modules/Setup.local
  cd $build_dir
  local options=(
    --prefix=/opt/pibuild/python-machine --without-doc-strings --without-ensurepip CFLAGS= OPT='-O0 -w -DNDEBUG'
  )
  [[ $PIBUILD_PYTHON != 2.7 ]] || options+=(--enable-unicode=ucs4)  # as the target's
  CONFIG_SITE=/work/recipe/config.site $source_dir/configure "${options[@]}"
  make -j"$PIBUILD_JOBS" python pybuilddir.txt
}

# By hand: `make install` would first build and then test what is left out here, and compile each .py three times.
install_python() {
  cd $build_dir
  install -D --strip python "$out_dir/bin/python$PIBUILD_PYTHON"
  ln -s "python$PIBUILD_PYTHON" "$out_dir/bin/python${PIBUILD_PYTHON%.*}"

  mkdir -p "$library_dir/lib-dynload" "$include_dir"
  cp -r $source_dir/Include/. pyconfig.h "$include_dir"
  cp -r $source_dir/Lib/. "$(cat pybuilddir.txt)"/_sysconfigdata*.py "$library_dir"
  echo 'Empty: every extension module is part of the interpreter.' > "$library_dir/lib-dynload/README"
  [[ -d $library_dir/ensurepip ]] || return 0  # what is in the oldest ones is of no use
  for wheel in "$library_dir"/ensurepip/_bundled/*.whl; do
    unzip -q "$wheel" -d "$library_dir/site-packages"
  done
  rm -r "$library_dir/ensurepip"
}

install_for_target() {
  cp /work/recipe/config.site $out_dir
  cd $build_dir/Python
  mkdir $out_dir/frozen
  for folder in frozen_modules deepfreeze; do  # none up to 3.10, only the first from 3.13 on
    [[ ! -d $folder ]] || cp -r $folder $out_dir/frozen
  done
}

# The machine's interpreter with the standard library, the headers and the build-time answers of the target's Python.
# Possible because no extension module is loaded from a file.
install_cross_python() {
  cat > $out_dir/bin/cross-python <<EOF
#!/bin/sh
# The target's Python as far as a build can see it: the artifact cpython, run by the machine's interpreter.
export PYTHONHOME="\${PIBUILD_CROSS_PREFIX:-/work/in/cpython}"
export _PYTHON_HOST_PLATFORM="linux-\$PIBUILD_MACHINE"
export _PYTHON_SYSCONFIGDATA_NAME="_sysconfigdata__linux_\$PIBUILD_TRIPLE"
exec "\$(dirname "\$0")/python$PIBUILD_PYTHON" "\$@"
EOF
  chmod 755 $out_dir/bin/cross-python
}

build_zlib
build_python
install_python
install_for_target
install_cross_python
"$out_dir/bin/python$PIBUILD_PYTHON" -c 'import hashlib, json, socket, sysconfig, zlib; print(sysconfig.get_platform())'
