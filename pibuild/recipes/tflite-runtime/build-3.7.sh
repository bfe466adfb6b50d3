#!/bin/bash
# tflite-runtime for Python 3.7: build.sh with the ABI's letter `m`, which Python 3.8 removed. numpy 1.16.6, the release
# that its numpy recipe has for 3.7, has the API of numpy 1.16: METADATA says so.
set -euo pipefail

sed -e "s/^  \.cpython-.*-\"\$PIBUILD_TRIPLE\"\.so) ;;/  .cpython-37m-\"\$PIBUILD_TRIPLE\".so) ;;/" \
  -e 's/^tag=.*/tag=cp37-cp37m-linux_$PIBUILD_MACHINE/' \
  -e 's/numpy (>=1\.19\.3)/numpy (>=1.16.0)/' -e 's/ -DNPY_TARGET_VERSION=NPY_1_19_API_VERSION//' recipe/build.sh > build/build.sh
exec bash build/build.sh
