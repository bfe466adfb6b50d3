#!/usr/bin/env bash
# Runs on the device: becomes the process that installs a wheel and tries it (try_wheel.py). It must be the first process of the
# container, and it must not load anything of the wheel: so it starts without site-packages, and replaces this shell.
# usage: try.sh TASKS
set -euo pipefail
# shellcheck source=pibuild/emulate/on_device/prepare.sh
source /work/run/prepare.sh

mkdir -p /work/files
cd /work/files
exec python -E -s -S /work/run/try_wheel.py "$1"
