#!/usr/bin/env bash
# OpenBLAS for AArch64: build.sh with the name that OpenBLAS has for ARMv8.0. A change of build.sh itself would change the
# keys of the other targets.
set -euo pipefail

sed -i 's/^  TARGET=.*/  TARGET=ARMV8/' recipe/build.sh
exec bash recipe/build.sh
