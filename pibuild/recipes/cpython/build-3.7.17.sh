#!/usr/bin/env bash
# CPython 3.7 for the target: `build-3.7.17.sh [SCRIPT]`. SCRIPT (default: build.sh) does most of it. This file adds what
# 3.7 lacks, can't find out in a cross build, or has in another place.
set -euo pipefail

library_dir=/work/out/lib/python3.7

# Modules that setup.py compiles and that are not in the table of modules, from which build.sh takes its lines.
cat >> /work/src/cpython/Modules/Setup.dist <<'EOF'
#_json _json.c
#_multiprocessing _multiprocessing/multiprocessing.c _multiprocessing/semaphore.c
#_opcode _opcode.c
#_queue _queuemodule.c
EOF
# Answers that its configure gets by running a program. In a cross build it assumes wrong ones: that floats can't be
# written in their shortest form, for example.
export ac_cv_have_long_long_format=yes ac_cv_little_endian_double=yes ac_cv_pthread=yes
export ac_cv_tanh_preserves_zero_sign=yes ac_cv_wchar_t_signed=no

bash "${1:-/work/recipe/build.sh}"

# distutils reads the Makefile, and looks for headers under the ABI's name.
install -D --mode=644 /work/build/cpython/Makefile "$library_dir/config-3.7m-$PIBUILD_TRIPLE/Makefile"
ln -s python3.7 /work/out/include/python3.7m
