#!/usr/bin/env bash
# h5py for the target's Python, as upstream's wheels have it: modules, tests, and in h5py/.libs the one HDF5 that
# all modules link. Cython makes C of them, for any Python and CPU; setup.py would want numpy and HDF5 of the machine.
# out/wheel/: the raw wheel; out/symbols/: modules and library before strip, under their paths inside the wheel.
set -euo pipefail

source_dir=/work/src/h5py
hdf5_dir=/work/in/hdf5
build_dir=/work/build/h5py
wheel_dir=/work/build/wheel
symbols_dir=/work/out/symbols/h5py
export PYTHONDONTWRITEBYTECODE=1

suffix=$(/work/in/cpython-machine/bin/cross-python -c \
  'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX") or sysconfig.get_config_var("SO"))')
interpreter=cp${PIBUILD_PYTHON/./}
case $PIBUILD_PYTHON in
  2.7) abi=${interpreter}mu ;;
  *) abi=${interpreter}m ;;
esac

# What setup.py asks the libraries of the machine: which HDF5 there is, and whether long double is more than double.
prepare() {
  local header=$hdf5_dir/include/H5public.h part version=()
  for part in MAJOR MINOR RELEASE; do
    version+=("$(sed -nE "s/^#define H5_VERS_$part +([0-9]+).*/\1/p" $header)")
  done
  cd $source_dir
  for patch in /work/recipe/patches/*.patch; do
    patch --strip=1 --batch < "$patch"
  done
  cat > h5py/config.pxi <<EOF
DEF MPI = False
DEF MPI4PY_V2 = False
DEF HDF5_VERSION = (${version[0]}, ${version[1]}, ${version[2]})
DEF SWMR_MIN_HDF5_VERSION = (1, 9, 178)
DEF VDS_MIN_HDF5_VERSION = (1, 9, 233)
DEF COMPLEX256_SUPPORT = False
EOF
  python3 api_gen.py
}

# h5py is written for the API of HDF5 1.6 and, where that had none, that of 1.8: a name's first definition counts.
write_ninja() {
  local source module others
  cat <<EOF
cflags = $PIBUILD_CFLAGS -fPIC -fwrapv -fno-strict-aliasing -DNDEBUG -DH5_USE_16_API -DH5_USE_18_API $
  -w -Werror=implicit-function-declaration -ffile-prefix-map=/work/= -I$source_dir/h5py -I$source_dir/lzf $
  -I$hdf5_dir/include -I/work/in/cpython/include/python$PIBUILD_PYTHON -I/work/in/numpy/numpy/core/include
rule cython
  description = translating \$in
  command = cd $source_dir && PYTHONPATH=/work/src/cython $
    python3 -m cython -2 h5py/\$module.pyx -o $build_dir/\$module.c
rule compile
  description = compiling \$in
  command = $PIBUILD_TRIPLE-gcc \$cflags -c \$in -o \$out
rule link
  description = linking \$out
  command = $PIBUILD_TRIPLE-gcc $PIBUILD_CFLAGS -shared -o \$out \$in -Wl,-rpath,'\$\$ORIGIN/.libs' $
    -Wl,--as-needed -Wl,-O1 $(echo $hdf5_dir/lib/libhdf5-*.so)
EOF
  for source in lzf_filter lzf/lzf_c lzf/lzf_d; do
    echo "build $(basename $source).o: compile $source_dir/lzf/$source.c"
  done
  for module in $(cd $source_dir/h5py && basename -s .pyx ./*.pyx); do
    printf '%s\n' "build $module.c: cython $source_dir/h5py/$module.pyx" "  module = $module" \
      "build $module.o: compile $module.c"
    others=
    [[ $module != h5z ]] || others=' lzf_filter.o lzf_c.o lzf_d.o'
    echo "build $symbols_dir/$module$suffix: link $module.o$others"
  done
}

compile() {
  mkdir -p $build_dir $symbols_dir/.libs
  write_ninja > $build_dir/build.ninja
  ninja -C $build_dir -j"$PIBUILD_JOBS"
  cp $hdf5_dir/lib/libhdf5-*.so $symbols_dir/.libs
}

assemble() {
  local info=$wheel_dir/h5py-$PIBUILD_VERSION.dist-info path
  mkdir -p "$info/licenses/h5py" $wheel_dir/h5py/.libs
  (cd $source_dir && find h5py -name '*.py' -exec cp --parents {} $wheel_dir \;)
  (cd $symbols_dir && find . -name '*.so') | while read -r path; do
    "$PIBUILD_TRIPLE-strip" --strip-unneeded -o "$wheel_dir/h5py/$path" "$symbols_dir/$path"
  done
  cp -r $source_dir/LICENSE $source_dir/licenses/. "$info/licenses/h5py"
  cp $source_dir/lzf/LICENSE.txt "$info/licenses/h5py/lzf.txt"
  cp -r $hdf5_dir/licenses/. "$info/licenses"
  # What upstream's wheels say, but for numpy: modules want one that is not older than what they are compiled against.
  { cat $source_dir/PKG-INFO; printf 'Requires-Dist: %s\n' 'numpy (>=1.16)' six; } |
    sed '1s/.*/Metadata-Version: 2.1/' > "$info/METADATA"
  printf '%s\n' 'Wheel-Version: 1.0' 'Generator: pibuild' 'Root-Is-Purelib: false' \
    "Tag: $interpreter-$abi-linux_$PIBUILD_MACHINE" > "$info/WHEEL"
  echo h5py > "$info/top_level.txt"
  mkdir -p /work/out/wheel
  # Not the image's own Python: Debian keeps distutils apart, which wheel imports.
  PYTHONPATH=/work/src/wheel /work/in/cpython-machine/bin/python"$PIBUILD_PYTHON" \
    -m wheel pack --dest-dir /work/out/wheel $wheel_dir
}

prepare
compile
assemble
