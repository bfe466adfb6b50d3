#!/usr/bin/env bash
# wrapt for the target's Python, with the extension module that setup.py leaves out where it can't be made.
# out/wheel/: the raw wheel; out/symbols/: the module before strip, under its path inside the wheel.
set -euo pipefail

source_dir=/work/src/wrapt
wheel_dir=/work/build/wheel
symbols_dir=/work/out/symbols/wrapt
info=$wheel_dir/wrapt-$PIBUILD_VERSION.dist-info
export PYTHONDONTWRITEBYTECODE=1

suffix=$(/work/in/cpython-machine/bin/cross-python -c \
  'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX") or sysconfig.get_config_var("SO"))')
interpreter=cp${PIBUILD_PYTHON/./}
case $PIBUILD_PYTHON in
  2.7) abi=${interpreter}mu ;;
  *) abi=${interpreter}m ;;
esac

mkdir -p $symbols_dir $wheel_dir/wrapt "$info/licenses" /work/out/wheel
# shellcheck disable=SC2086  # several flags
"$PIBUILD_TRIPLE-gcc" $PIBUILD_CFLAGS -fPIC -fwrapv -fno-strict-aliasing -DNDEBUG -ffile-prefix-map=/work/= \
  -I"/work/in/cpython/include/python$PIBUILD_PYTHON" -shared -Wl,-O1 -Wl,--as-needed \
  $source_dir/src/wrapt/_wrappers.c -o "$symbols_dir/_wrappers$suffix"
"$PIBUILD_TRIPLE-strip" --strip-unneeded -o "$wheel_dir/wrapt/_wrappers$suffix" "$symbols_dir/_wrappers$suffix"

cp $source_dir/src/wrapt/*.py $wheel_dir/wrapt
cp $source_dir/LICENSE "$info/licenses"
cp $source_dir/PKG-INFO "$info/METADATA"
printf '%s\n' 'Wheel-Version: 1.0' 'Generator: pibuild' 'Root-Is-Purelib: false' \
  "Tag: $interpreter-$abi-linux_$PIBUILD_MACHINE" > "$info/WHEEL"
echo wrapt > "$info/top_level.txt"
# Not the image's own Python: Debian keeps distutils apart, which wheel imports.
PYTHONPATH=/work/src/wheel /work/in/cpython-machine/bin/python"$PIBUILD_PYTHON" \
  -m wheel pack --dest-dir /work/out/wheel $wheel_dir
