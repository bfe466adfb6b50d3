#!/usr/bin/env bash
# numpy for the target's Python: what a wheel is compiled against, and what it computes with when it is proven on the
# device. Not for anybody's use: no BLAS, no SIMD, no optimisation; without numpy's own tests and the modules that only
# they load, and without numpy.random and numpy.fft, which `import numpy` leaves alone. Leaves a site-packages tree.
# Wheels compiled against the headers of numpy 2 run with older ones too, if NPY_TARGET_VERSION is not set: 2.0 asks for
# numpy 1.19 or newer at run time, 2.2 for 1.21 or newer (NPY_FEATURE_VERSION in numpyconfig.h).
set -euo pipefail

source_dir=/work/src/numpy
build_dir=/work/build/numpy
install_dir=/work/build/install
out_dir=/work/out
# Up to 1.25 numpy is built by numpy.distutils, which has nothing in common with what follows.
[[ -e $source_dir/meson.build ]] || exec bash /work/recipe/build-distutils.sh
# shellcheck source=describe.sh
source /work/recipe/describe.sh
export PATH=$PATH:/work/in/cpython-machine/bin  # for cross-python; python3 stays the builder's, which is faster

# numpy needs its own meson (it has a module for CPU features), which runs on the builder's Python.
meson() { /usr/bin/python3 $source_dir/vendored-meson/meson/meson.py "$@"; }

# glibc has had all of C99's mathematics for longer than any floor: said here, meson does not compile 100 programs to
# find out. It would also compile one to see how long double is stored, and has no way to run it.
functions=(
  {a,}{sin,cos,tan}{,h} {,c}{sin,cos,tan}{,h} {f,c}abs floor ceil sqrt log10 log exp fmod modf frexp ldexp expm1 log1p
  rint trunc exp2 copysign nextafter cbrt log2 pow hypot atan2 creal cimag conj strtoll strtoull
  c{abs,acos,acosh,arg,asin,asinh,atan,atanh,exp,log,pow,sqrt,sin,sinh,cos,cosh,tan,tanh}{,f,l}
  isfinite isinf isnan signbit
)

write_cross_file() {
  cat <<EOF
[binaries]
c = '$PIBUILD_TRIPLE-gcc'
cpp = '$PIBUILD_TRIPLE-g++'
ar = '$PIBUILD_TRIPLE-ar'
strip = '$PIBUILD_TRIPLE-strip'
python = 'cross-python'

[built-in options]
c_link_args = ['-ldl']
cpp_link_args = ['-ldl']

[host_machine]
system = 'linux'
cpu_family = 'arm'
cpu = '$PIBUILD_CMAKE_PROCESSOR'
endian = 'little'

[properties]
longdouble_format = 'IEEE_DOUBLE_LE'
EOF
  printf 'has_function_%s = true\n' "${functions[@]}" | sort -u
}

# Only numpy.random is written in Cython.
leave_out_random_and_fft() {
  sed -i -E "s/, 'cython',/,/; /^cy = /d; /^if not cy[.]/,/^endif/d" $source_dir/meson.build
  sed -i -E "/'CYTHON': /d; /^subdir\('(fft|random)'\)/d" $source_dir/numpy/meson.build
}

configure() {
  for patch in /work/recipe/patches/*.patch; do
    patch --directory=$source_dir --strip=1 --batch < "$patch"
  done
  leave_out_random_and_fft
  write_cross_file > /work/build/cross.ini
  meson setup $build_dir $source_dir --cross-file /work/build/cross.ini \
    --prefix /opt/pibuild/python -Doptimization=0 -Ddebug=false -Db_ndebug=true \
    -Dblas=none -Dlapack=none -Dallow-noblas=true -Ddisable-optimization=true
}

# The extension modules, but for those that only tests load (_multiarray_tests is not one of them: numpy itself imports
# it), and lapack_lite, which nothing loads but which holds a second copy of LAPACK.
extension_modules() {
  ninja -C $build_dir -t targets all | sed -nE 's/^(numpy\/.*\.so): .*/\1/p' \
    | grep -vE '/(_umath_tests|_rational_tests|_struct_ufunc_tests|_operand_flag_tests|_simd|lapack_lite)\.'
}

build() {
  extension_modules > /work/build/modules
  # shellcheck disable=SC2046  # one word a line
  ninja -C $build_dir -j"$PIBUILD_JOBS" $(cat /work/build/modules) \
    numpy/_core/{__multiarray_api.h,__ufunc_api.h,libnpymath.a}
}

install() {
  DESTDIR=$install_dir meson install -C $build_dir --no-rebuild --quiet --tags python-runtime,devel
  mv $install_dir/opt/pibuild/python/lib/python*/site-packages/* $out_dir
  while read -r module; do
    "$PIBUILD_TRIPLE-strip" -o "$out_dir/$module" "$build_dir/$module"
  done < /work/build/modules
  find $out_dir -depth -type d -name tests -exec rm -r {} +
}

configure
build
install
describe $source_dir $out_dir
