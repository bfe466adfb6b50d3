#!/bin/bash
# TensorFlow Lite for AArch64: build.sh with the names that NEON's instructions have there. A change of build.sh itself
# would change the keys of what is built for the other targets.
set -euo pipefail

sed 's/tv(mla|mlal|mull|ld1|st1)\\\./t(fmla|mla|smlal|umlal|smull|ld1|st1)\\t\\{?v/' recipe/build.sh > build/build.sh
grep -q fmla build/build.sh
exec bash build/build.sh
