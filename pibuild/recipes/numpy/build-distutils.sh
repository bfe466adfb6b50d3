#!/usr/bin/env bash
# numpy for the Pythons of TensorFlow 1.x, built by numpy.distutils: what it asks the compiler, it asks by compiling and
# linking alone, and takes names and flags from sysconfig, so a machine's Python that answers as the target's is all that a
# cross build needs. With numpy.random and numpy.fft, which TensorFlow imports; no BLAS, no tests, Python's own -O1.
# Leaves a site-packages tree.
set -euo pipefail

source_dir=/work/src/numpy
install_dir=/work/build/install
out_dir=/work/out
export PATH=$PATH:/work/in/cpython-machine/bin PYTHONDONTWRITEBYTECODE=1
# shellcheck source=describe.sh
source /work/recipe/describe.sh

# It looks for libraries of the machine, unless told that there are none. Whether mathematics needs a library it asks by a
# program that gcc empties, and tells only some of its modules.
export BLAS=None LAPACK=None ATLAS=None MATHLIB=m LDFLAGS='-lm -ldl' NPY_NUM_BUILD_JOBS=$PIBUILD_JOBS

build() {
  cd $source_dir
  # It wants setuptools and makes no use of them; without them the machine's Python needs no ctypes.
  sed -i 's/^    from setuptools import setup$/    from distutils.core import setup/' setup.py
  # Loops of ufuncs ask for -O3 by themselves, which costs more than all the rest; on an emulated device it shows nowhere.
  # They are the first two of a list, of which each has two lines.
  sed -i -E "/optimize\(/{N;s/\('__attribute__.*\),$//}" numpy/core/setup_common.py
  cross-python setup.py --quiet install --root=$install_dir --prefix=/opt/pibuild/python --no-compile
  mv $install_dir/opt/pibuild/python/lib/python*/site-packages/numpy $out_dir
  find $out_dir -depth -type d -name tests -exec rm -r {} +
  rm $out_dir/numpy/core/_{dummy,umath_tests,rational_tests,struct_ufunc_tests,operand_flag_tests}.*so
  find $out_dir -name '*.so' -exec "$PIBUILD_TRIPLE-strip" {} +
}

# The machine's sizes in these headers would let every module that is compiled against them read past what is there.
check_configuration() {
  local header=$out_dir/numpy/core/include/numpy/_numpyconfig.h
  for line in 'LONG SIZEOF_LONG' 'PY_INTPTR_T 4' 'LONGDOUBLE 8' 'OFF_T 8' 'PY_LONG_LONG 8'; do
    grep -q "^#define NPY_SIZEOF_$line\$" "$header" || { echo "$header does not say NPY_SIZEOF_$line" >&2; return 1; }
  done
}

build
check_configuration
describe $source_dir $out_dir
