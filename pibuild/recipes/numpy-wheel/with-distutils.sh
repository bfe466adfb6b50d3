# numpy 1.16 is built by numpy.distutils: what it asks the compiler, it asks by compiling and linking alone, and takes names
# and flags from sysconfig, so a machine's Python that answers as the target's is all that a cross build needs.
# shellcheck shell=bash disable=SC2154  # the variables are build.sh's
set -euo pipefail

make_numpy() {
  local root=/work/build/root
  cd "$source_dir"
  # It wants setuptools and makes no use of them; without them the machine's Python needs no ctypes.
  sed -i 's/^    from setuptools import setup$/    from distutils.core import setup/' setup.py
  # The variable OPENBLAS would give the modules an RPATH as well, and a file in its own folder would be installed.
  printf '%s\n' '[openblas]' "library_dirs = $blas_dir/lib" > ~/.numpy-site.cfg
  # It looks for libraries of the machine, unless told that there are none. Whether mathematics needs a library it asks by a
  # program that gcc empties, and tells only some of its modules; what LDFLAGS name comes before the objects.
  BLAS=None LAPACK=None ATLAS=None MATHLIB=m LDFLAGS='-Wl,--no-as-needed -Wl,-z,noexecstack -lm -ldl' CFLAGS=$cflags \
    NPY_NUM_BUILD_JOBS=$PIBUILD_JOBS \
    cross-python setup.py --quiet install --root=$root --prefix=/opt/pibuild/python --no-compile
  mv $root/opt/pibuild/python/lib/python*/site-packages/numpy "$wheel_dir"
}

# As setup.py says it to setuptools.
entry_points() {
  echo '[console_scripts]'
  printf '%s = numpy.f2py.f2py2e:main\n' f2py "f2py${PIBUILD_PYTHON%.*}" "f2py$PIBUILD_PYTHON"
}
