#!/usr/bin/env bash
# numpy as people install it: optimised, with random, fft, linalg and f2py, matrix products by an OpenBLAS that is inside,
# and LAPACK by the C that numpy brings. Nothing of the Pi's is asked for but glibc. Left out are numpy's own tests and the
# modules that only they load.
# out/wheel/: the raw wheel; out/symbols/: the extension modules before strip, under their paths inside the wheel.
set -euo pipefail

source_dir=/work/src/numpy
blas_dir=/work/in/openblas-numpy
wheel_dir=/work/build/wheel
export PATH=$PATH:/work/in/cpython-machine/bin  # for cross-python; python3 stays the builder's, which is faster
export PYTHONDONTWRITEBYTECODE=1
# Not among them: _multiarray_tests, which numpy itself imports.
only_tested='/_(dummy|simd|(umath|rational|struct_ufunc|operand_flag)_tests)[.]'
cflags="$PIBUILD_CFLAGS -ffile-prefix-map=/work/="

# make_numpy is what differs: it leaves numpy in $wheel_dir.
if [[ -e $source_dir/meson.build ]]; then  # from 1.26 on
  # shellcheck source=with-meson.sh
  source /work/recipe/with-meson.sh
else
  # shellcheck source=with-distutils.sh
  source /work/recipe/with-distutils.sh
fi

leave_out_tests() {
  find $wheel_dir -path '*/tests/*' ! -type d ! -name _natype.py -delete
  find $wheel_dir -regextype egrep -regex ".*$only_tested.*so" -delete
  find $wheel_dir -type d -empty -delete
}

# The machine's sizes in these headers would let every module that is compiled against them read past what is there.
check_sizes() {
  local header line
  header=$(find $wheel_dir -name _numpyconfig.h)
  for line in 'LONG (SIZEOF_LONG|4)' 'PY_INTPTR_T 4' 'LONGDOUBLE 8' 'OFF_T 8' 'PY_LONG_LONG 8'; do
    grep -qE "^#define NPY_SIZEOF_$line\$" "$header" || { echo "$header does not say NPY_SIZEOF_$line" >&2; return 1; }
  done
}

split_symbols() {
  local module
  cd $wheel_dir
  find . -name '*.so' | while read -r module; do
    install -D "$module" "/work/out/symbols/$module"
    "$PIBUILD_TRIPLE-strip" "$module"
  done
}

# PKG-INFO of a source archive is the METADATA that a wheel would have.
describe() {
  local info=$wheel_dir/numpy-$PIBUILD_VERSION.dist-info interpreter=cp${PIBUILD_PYTHON/./} abi
  case $PIBUILD_PYTHON in
    2.7) abi=${interpreter}mu ;;
    3.4 | 3.5) abi=${interpreter}m ;;
    *) abi=$interpreter ;;
  esac
  mkdir -p "$info/licenses/openblas"
  cp $source_dir/PKG-INFO "$info/METADATA"
  entry_points > "$info/entry_points.txt"
  cp $blas_dir/licenses/* "$info/licenses/openblas"
  cd $source_dir
  cp LICENSE*.txt "$info"
  find numpy -iname '*license*' ! -path '*/svml/*' ! -path '*/_build_utils/*' -exec cp --parents -t "$info/licenses" {} +
  printf '%s\n' 'Wheel-Version: 1.0' 'Generator: pibuild' 'Root-Is-Purelib: false' \
    "Tag: $interpreter-$abi-linux_$PIBUILD_MACHINE" > "$info/WHEEL"
}

mkdir -p $wheel_dir /work/out/wheel
make_numpy
leave_out_tests
check_sizes
split_symbols
describe
PYTHONPATH=/work/src/wheel python3 -m wheel pack $wheel_dir --dest-dir /work/out/wheel
