#!/bin/bash
# Compiles the conformance set in a toolchain image and runs it in a device image: one line per check, then the count.
# Files go in and out through the engine, which may be on another machine.
# usage: run.sh TOOLCHAIN_IMAGE DEVICE_IMAGE
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
containers=()
trap 'docker rm --force "${containers[@]}" > /dev/null' EXIT

new_container() { # IMAGE COMMAND...
    containers+=("$(docker create --network none --workdir /conformance "$@")")
}
new_container "$1" ./build.sh out
tar -C "$here/.." -c conformance | docker cp - "${containers[0]}:/"
docker start --attach "${containers[0]}"
# Not as the container's first process, whom no signal ends: an abort would hang.
new_container "$2" bash -c 'device-run ./conformance; exit $?'
docker cp "${containers[0]}:/conformance/out/." - | docker cp - "${containers[1]}:/conformance"
docker start --attach "${containers[1]}"
