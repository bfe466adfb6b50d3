#!/usr/bin/env bash
# HDF5's C library, the high-level one and zlib as one shared object: h5py has two dozen extension modules, all of which
# must see the same open files. Without tools, tests, szip and threads; h5py has a lock of its own.
# out/lib/: the library, not stripped; out/include/: headers; out/licenses.
set -euo pipefail

source_dir=/work/src/hdf5
zlib_dir=/work/src/zlib
build_dir=/work/build/hdf5
out_dir=/work/out
# No other HDF5 has this name: the loader takes a library that is there already for any other of the same soname.
library=libhdf5-h5py-$PIBUILD_VERSION.so
flags="$PIBUILD_CFLAGS -ffile-prefix-map=/work/="

# CMake is told that zlib is there: it only has to compile against it. It would take -O3 without a build type's flags.
# It would also keep the machine's kernel in the library, for error messages: autotools can do without, CMake can't.
configure() {
  cp $source_dir/src/H5build_settings.{off,cmake}.c.in
  cmake -G Ninja -S $source_dir -B $build_dir \
    -D CMAKE_SYSTEM_NAME=Linux -D CMAKE_SYSTEM_PROCESSOR="$PIBUILD_CMAKE_PROCESSOR" \
    -D CMAKE_C_COMPILER="$PIBUILD_TRIPLE-gcc" -D CMAKE_AR="$(command -v "$PIBUILD_TRIPLE-ar")" \
    -D CMAKE_BUILD_TYPE=Release -D CMAKE_C_FLAGS_RELEASE=-DNDEBUG -D CMAKE_C_FLAGS="$flags" \
    -D CMAKE_POSITION_INDEPENDENT_CODE=ON -D BUILD_SHARED_LIBS=OFF -D BUILD_TESTING=OFF \
    -D HDF5_BUILD_TOOLS=OFF -D HDF5_BUILD_EXAMPLES=OFF -D HDF5_BUILD_DOC=OFF -D HDF5_NO_PACKAGES=ON \
    -D HDF5_ENABLE_SZIP_SUPPORT=OFF -D HDF5_ENABLE_NONSTANDARD_FEATURE_FLOAT16=OFF \
    -D HDF5_DISABLE_COMPILER_WARNINGS=ON \
    -D H5_ZLIB_HEADER=zlib.h -D H5_ZLIB_INCLUDE_DIRS=$zlib_dir
}

# It looks these up by compiling; an answer that went wrong would let files end at 2 GB, or arrays be what they are not.
check_configuration() {
  local header=$build_dir/src/H5pubconf.h
  for line in 'SIZEOF_OFF_T 8' 'SIZEOF_SIZE_T 4' 'SIZEOF_LONG_DOUBLE 8' 'HAVE_FILTER_DEFLATE 1'; do
    grep -q "^#define H5_$line\$" "$header" || { echo "$header does not say H5_$line" >&2; return 1; }
  done
}

compile() {
  ninja -C $build_dir -j"$PIBUILD_JOBS" hdf5-static hdf5_hl-static
  for name in adler32 compress crc32 deflate inffast inflate inftrees trees uncompr zutil; do
    # shellcheck disable=SC2086  # several flags
    "$PIBUILD_TRIPLE-gcc" $flags -fPIC -c $zlib_dir/$name.c -o $build_dir/zlib-$name.o
  done
}

# What it does with itself stays within, even where a program has another HDF5 loaded for all to see.
link() {
  mkdir -p $out_dir/lib
  echo '{ global: H5*; local: *; };' > $build_dir/exports
  # shellcheck disable=SC2086  # several flags
  "$PIBUILD_TRIPLE-gcc" $flags -shared -o $out_dir/lib/"$library" -Wl,-soname,"$library" \
    -Wl,-Bsymbolic -Wl,-O1 -Wl,--as-needed -Wl,--version-script=$build_dir/exports \
    -Wl,--whole-archive $build_dir/bin/libhdf5.a $build_dir/bin/libhdf5_hl.a -Wl,--no-whole-archive \
    $build_dir/zlib-*.o -lm -ldl
}

install_headers() {
  for component in headers hlheaders; do
    cmake --install $build_dir --prefix $out_dir --component $component
  done
  mkdir -p $out_dir/licenses/{hdf5,zlib}
  cp $source_dir/COPYING* $out_dir/licenses/hdf5
  cp $zlib_dir/LICENSE $out_dir/licenses/zlib
}

configure
check_configuration
compile
link
install_headers
