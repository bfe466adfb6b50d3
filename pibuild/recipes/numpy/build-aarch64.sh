#!/usr/bin/env bash
# numpy for AArch64: build.sh with another family of CPUs for meson, a long double of 16 bytes, and pointers of 8 bytes.
# For Python 3.7 it adds the ABI's letter `m`. A change of build.sh itself would change the keys of all that is built for
# the other targets.
set -euo pipefail

sed -i 's/3\.4 | 3\.5)/3.4 | 3.5 | 3.7)/' /work/recipe/describe.sh
sed -i -e 's/PY_INTPTR_T 4/PY_INTPTR_T 8/' -e 's/LONGDOUBLE 8/LONGDOUBLE 16/' /work/recipe/build-distutils.sh
sed -e "s/^cpu_family = 'arm'/cpu_family = 'aarch64'/" -e 's/IEEE_DOUBLE_LE/IEEE_QUAD_LE/' \
  /work/recipe/build.sh > /work/build/build.sh
exec bash /work/build/build.sh
