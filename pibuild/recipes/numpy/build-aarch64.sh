#!/usr/bin/env bash
# numpy for AArch64: build.sh with another family of CPUs for meson, and a long double of 16 bytes. A change of build.sh
# itself would change the keys of all that is built for the other targets.
set -euo pipefail

sed -e "s/^cpu_family = 'arm'/cpu_family = 'aarch64'/" -e 's/IEEE_DOUBLE_LE/IEEE_QUAD_LE/' \
  /work/recipe/build.sh > /work/build/build.sh
exec bash /work/build/build.sh
