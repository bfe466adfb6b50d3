#!/usr/bin/env bash
# build_pip_package --src FOLDER    puts what the wheel is made of into a folder
set -euo pipefail
[[ $1 == --src ]]
to=$2
from=bazel-bin/tensorflow/tools/pip_package/build_pip_package.runfiles/org_tensorflow
mkdir -p "$to"
cp -RL "$from/tensorflow" "$to"
rm -r "$to/tensorflow/tools"
find "$to/tensorflow" -type d ! -exec test -e '{}/__init__.py' \; -exec touch '{}/__init__.py' \;
cp tensorflow/tools/pip_package/setup.py "$to"
