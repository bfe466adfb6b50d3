#!/usr/bin/env bash
# Runs on the device: installs a wheel with the device's own pip, from a folder alone, then gives a person's command the
# terminal. /work/out/installed tells that it came to the command.
# usage: run.sh WHEEL COMMAND [ARG...]
set -euo pipefail
wheel=$1
shift
# shellcheck source=pibuild/emulate/on_device/prepare.sh
source /work/run/prepare.sh

if [[ -e $packages/left-out.txt ]] && ! pip install -qq "/work/wheels/$wheel" > /work/build/refused 2>&1; then
  # What is compiled of all that it asks for is not beside it, so pip can't resolve; the import does without.
  echo "pip finds not all that $wheel asks for: it gets what is pure Python, without $(paste -sd, "$packages/left-out.txt")" >&2
  pip install -qq --no-deps "$packages"/wheel/*.whl "/work/wheels/$wheel" >&2
elif [[ ! -e $packages/left-out.txt ]]; then
  pip install -qq "/work/wheels/$wheel" >&2
fi
touch /work/out/installed
cd /work/files
code=0
"$@" || code=$?
exit "$code"
