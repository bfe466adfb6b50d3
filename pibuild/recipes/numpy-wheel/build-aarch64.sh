#!/usr/bin/env bash
# numpy's wheel for AArch64: build.sh with another family of CPUs for meson, NEON as each ARMv8 has it, a long double of 16
# bytes, and pointers of 8 bytes. For Python 3.7 it adds the ABI's letter `m`. A change of the other scripts would change
# the keys of the wheels for 32-bit targets.
set -euo pipefail

sed -i -e 's/3\.4 | 3\.5)/3.4 | 3.5 | 3.7)/' -e "s/PY_INTPTR_T 4/PY_INTPTR_T 8/; s/LONGDOUBLE 8/LONGDOUBLE 16/" \
  /work/recipe/build.sh
sed -i -e "s/^cpu_family = 'arm'/cpu_family = 'aarch64'/" -e 's/IEEE_DOUBLE_LE/IEEE_QUAD_LE/' -e 's/neon_vfpv4/asimd/' \
  /work/recipe/with-meson.sh
exec bash /work/recipe/build.sh
