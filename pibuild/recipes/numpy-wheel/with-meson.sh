# numpy 2 is built by the meson that it brings (it has a module for CPU features), which runs on the builder's Python.
# shellcheck shell=bash disable=SC2154  # the variables are build.sh's
set -euo pipefail

build_dir=/work/build/numpy
export PYTHONPATH=/work/src/cython CYTHON_FOR_BUILD='/usr/bin/python3 -m cython'

meson() { /usr/bin/python3 "$source_dir/vendored-meson/meson/meson.py" "$@"; }

write_cross_file() {
  local flags
  # shellcheck disable=SC2086  # one word each
  flags=$(printf "'%s', " $cflags "-I$blas_dir/include")
  cat <<EOF
[binaries]
c = '$PIBUILD_TRIPLE-gcc'
cpp = '$PIBUILD_TRIPLE-g++'
ar = '$PIBUILD_TRIPLE-ar'
strip = '$PIBUILD_TRIPLE-strip'
python = 'cross-python'

# OpenBLAS's assembly does not say which stack it needs; on ARM that asks for an executable one, which glibc 2.41 refuses.
[built-in options]
c_args = [$flags]
cpp_args = [$flags]
c_link_args = ['-ldl', '-L$blas_dir/lib', '-Wl,-z,noexecstack']
cpp_link_args = ['-ldl', '-L$blas_dir/lib', '-Wl,-z,noexecstack']

[host_machine]
system = 'linux'
cpu_family = 'arm'
cpu = '$PIBUILD_CMAKE_PROCESSOR'
endian = 'little'

[properties]
longdouble_format = 'IEEE_DOUBLE_LE'
EOF
}

# Every function is compiled once, for what each CPU of the target has: nothing is chosen at run time. Without a LAPACK
# numpy takes its own.
configure() {
  local patch baselines=(none neon_vfpv4)
  for patch in /work/recipe/patches/*.patch; do
    patch --directory="$source_dir" --strip=1 --batch < "$patch"
  done
  write_cross_file > /work/build/cross.ini
  meson setup $build_dir "$source_dir" --cross-file /work/build/cross.ini --prefix /opt/pibuild/python \
    -Dbuildtype=release -Db_ndebug=true -Dcpu-baseline="${baselines[$PIBUILD_NEON]}" -Dcpu-dispatch=none \
    -Dblas=openblas -Dlapack=none -Dallow-noblas=true -Dpython.bytecompile=-1
  grep -q -- -DHAVE_CBLAS $build_dir/build.ninja || { echo 'meson found no OpenBLAS' >&2; return 1; }
}

make_numpy() {
  local root=/work/build/root modules
  configure
  modules=$(ninja -C $build_dir -t targets all | sed -nE 's/^(numpy\/.*[.]so): .*/\1/p' | grep -vE "$only_tested")
  # shellcheck disable=SC2086  # one word a line
  ninja -C $build_dir -j"$PIBUILD_JOBS" $modules \
    numpy/_core/{__multiarray_api.h,__ufunc_api.h,libnpymath.a} numpy/random/{libnpyrandom.a,_bounded_integers.pxd}
  DESTDIR=$root meson install -C $build_dir --no-rebuild --quiet --tags python-runtime,devel
  mv $root/opt/pibuild/python/lib/python*/site-packages/numpy "$wheel_dir"
  cd $build_dir
  # shellcheck disable=SC2086  # as above
  cp --parents -t "$wheel_dir" $modules
  cd "$source_dir"  # numpy.testing of 2.2 imports one file of the tests
  [[ ! -e numpy/_core/tests/_natype.py ]] || cp --parents -t "$wheel_dir" numpy/_core/tests/_natype.py
}

# As pyproject.toml says it.
entry_points() {
  awk '/^\[/ { said = sub(/project[.]scripts/, "console_scripts") + sub(/project[.]entry-points[.]/, "") }
    said { gsub(/\047/, ""); print }' "$source_dir/pyproject.toml"
}
