#!/usr/bin/env bash
# CPython for AArch64: build.sh with libffi's other sources, and with a long double of 16 bytes. A change of build.sh
# itself would change the keys of all that is built for the other targets.
set -euo pipefail

sed -e 's#src/arm\b#src/aarch64#g' -e 's#@TARGET@/ARM/#@TARGET@/AARCH64/#' \
  -e 's#@HAVE_LONG_DOUBLE@/0/#@HAVE_LONG_DOUBLE@/1/#' /work/recipe/build.sh > /work/build/build.sh
sed -i -e 's/SIZEOF_LONG_DOUBLE 8/SIZEOF_LONG_DOUBLE 16\n#define HAVE_LONG_DOUBLE 1/' \
  -e 's/SIZEOF_SIZE_T 4/SIZEOF_SIZE_T 8/' /work/recipe/fficonfig.h
# A release may have a script of its own, which calls the one that it is given.
own=/work/recipe/build-$PIBUILD_VERSION.sh
[[ ! -e $own ]] || exec bash "$own" /work/build/build.sh
exec bash /work/build/build.sh
