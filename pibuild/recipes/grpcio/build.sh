#!/usr/bin/env bash
# Compiles grpcio's one extension module against the target's Python, links it with the static C core, and packs the
# wheel as upstream's setup.py would. The source archive has what Cython made.
# out/wheel/: the raw wheel; out/symbols/: the module before strip, under its path inside the wheel.
set -euo pipefail

source_dir=$PWD/src/grpcio
python_dir=$source_dir/src/python/grpcio
tag=cp${PIBUILD_PYTHON/./}
case $PIBUILD_PYTHON in
  2.7) module=cygrpc.so entry=initcygrpc abi=${tag}mu ;;
  *) module=cygrpc.cpython-${tag#cp}m-$PIBUILD_TRIPLE.so entry=PyInit_cygrpc abi=${tag}m ;;
esac

# Headers as old as these give the initialisation function no visibility of its own, so it is the linker that hides all
# else; and those of 2.7 see an object through pointers to other structures.
mkdir -p build
echo "{ global: $entry; local: *; };" > build/exports
cat > build/build.ninja << NINJA
rule compile
  description = compiling \$in
  command = $PIBUILD_TRIPLE-g++ $PIBUILD_CFLAGS -Os -std=c++11 -fPIC -fno-exceptions -fno-strict-aliasing $
    -ffunction-sections -fdata-sections -w -ffile-prefix-map=$source_dir/= -DNDEBUG $
    -I$source_dir/include -I$source_dir -I$PWD/in/cpython/include/python$PIBUILD_PYTHON -c \$in -o \$out
rule link
  description = linking \$out
  command = $PIBUILD_TRIPLE-g++ -shared -o \$out \$in $PWD/in/grpc/lib/libgrpc.a -Wl,--gc-sections -Wl,--as-needed $
    -Wl,--version-script=exports -Wl,-O1 -pthread -ldl -lrt -lm
build cygrpc.o: compile $python_dir/grpc/_cython/cygrpc.cpp
build $module: link cygrpc.o
NINJA
ninja -C build -j "$PIBUILD_JOBS"

# A wheel with a missing symbol loads nowhere: beside Python's own API only glibc's versioned symbols may stay open.
open_symbols=$("$PIBUILD_TRIPLE-nm" --dynamic --undefined-only "build/$module" |
  grep -vE ' (U _?Py[A-Z_]\w*|[Uw] \S+@GLIBC_\S+|w (_ITM_(de)?registerTMCloneTable|__gmon_start__))$' || true)
if [ -n "$open_symbols" ]; then
  printf '%s\n' "$module leaves symbols open that nothing on a Pi defines:" "$open_symbols" >&2
  exit 1
fi

package=$PWD/build/wheel
info=$package/grpcio-$PIBUILD_VERSION.dist-info
mkdir -p "$info" out/wheel out/symbols/grpc/_cython
cd "$python_dir"
find grpc \( -name '*.py' -o -name '*.pem' \) -exec cp --parents -t "$package" {} +
cd - > /dev/null
cp "build/$module" out/symbols/grpc/_cython/
"$PIBUILD_TRIPLE-strip" --strip-unneeded -o "$package/grpc/_cython/$module" "build/$module"

# The archive's metadata are of an age that put requirements into a file of their own, sorted by markers.
requirements() {
  awk '/^\[:/ { marker = "; " substr($0, 3, length($0) - 3); next }
    match($0, /[<>=!~]/) { print "Requires-Dist: " substr($0, 1, RSTART - 1) " (" substr($0, RSTART) ")" marker }' \
    "$python_dir/grpcio.egg-info/requires.txt"
}
{
  sed '/^Description:/,/^Platform:/d; s/^Metadata-Version: .*/Metadata-Version: 2.1/' "$source_dir/PKG-INFO"
  requirements
  echo
  cat "$python_dir/README.rst"
} > "$info/METADATA"
printf '%s\n' 'Wheel-Version: 1.0' 'Generator: pibuild' 'Root-Is-Purelib: false' \
  "Tag: $tag-$abi-linux_$PIBUILD_MACHINE" > "$info/WHEEL"
cp "$python_dir/grpcio.egg-info/top_level.txt" "$info/"
cp -R in/grpc/licenses "$info/licenses"
PYTHONPATH=src/wheel python3 -m wheel pack --dest-dir out/wheel "$package"
