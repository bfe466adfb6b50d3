#!/usr/bin/env bash
# Makes the systems in which find_truth.py runs wheels: Debian's userlands, and pibuild's own for ARMv6, which Debian lacks.
# usage: roots.sh DIR [ROOT...], with roots such as bookworm-armhf (default: all)
# Needs root, mmdebstrap and qemu-user-static (QEMU_DIR: its folder); pi-one also needs Docker and the artifact of its CPython.
set -euo pipefail
dir=${1:?DIR}
shift
wanted=" $* "
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
mkdir -p "$dir"
cd "$dir"
exec 9> lock
flock 9
emulators=${QEMU_DIR:-/usr/bin}
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -m1 '/debian$')
pips=(
  "20.3.4 217ae5161a0e08c0fb873858806e3478c9775caffce5168b50ec885e358c199d"
  "26.0.1 bdb1b08f4274833d62c1aa29e20907365a2ceb950410df15fc9521bad440122b"
  "26.3 f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13"
)

for release in bullseye bookworm trixie; do
  packages=python3,python3-pip,libatomic1,libgomp1,libstdc++6,libgfortran5,libopenblas0-pthread,python3-numpy,python3-cffi-backend
  [[ $release != bullseye ]] || packages+=,python2.7
  for architecture in armhf arm64; do
    root=$release-$architecture
    [[ -e $root/made || ($wanted != "  " && $wanted != *" $root "*) ]] && continue
    rm -rf "$root"
    mmdebstrap --quiet --variant=extract --architectures="$architecture" --include="$packages" "$release" "$root" "$mirror"
    for folder in bin lib sbin; do # trixie's are links that a package's script makes
      [[ -e $root/$folder ]] || ln -s "usr/$folder" "$root/$folder"
    done
    for library in libblas.so.3 liblapack.so.3 libopenblas.so.0; do # links that a package's script makes
      found=$(echo "$root"/usr/lib/*/openblas-pthread/"$library")
      ln -sf "openblas-pthread/$library" "$(dirname "$found")/../$library"
    done
    mkdir -p "$root/etc/ssl/certs"
    find "$root/usr/share/ca-certificates" -name '*.crt' -exec cat {} + > "$root/etc/ssl/certs/ca-certificates.crt"
    cp "$emulators"/qemu-{arm,aarch64}-static "$root/usr/bin/"
    for pin in "${pips[@]}"; do
      pip=${pin%% *}
      python3 -m pip download --quiet --no-deps --no-cache-dir --python-version 3.11 --only-binary :all: --dest pips \
        --require-hashes --requirement <(echo "pip==$pip --hash=sha256:${pin#* }")
      mkdir -p "$root/pips/pip-$pip"
      python3 -m zipfile -e pips/pip-"$pip"-*.whl "$root/pips/pip-$pip"
    done
    touch "$root/made"
  done
done

if [[ ! -e pi-one/made && ($wanted == "  " || $wanted == *" pi-one "*) ]] && command -v docker > /dev/null; then
  rm -rf pi-one
  image=$(docker images --format '{{.Repository}}:{{.Tag}}' | grep -m1 '^pibuild/device-pi-one:')
  artifact=$("$here/../../.venv/bin/python" "$here/cpython_artifact.py" pi-one 3.11)
  container=$(docker create "$image")
  mkdir -p pi-one/opt/pibuild/python pi-one/usr/bin pi-one/tmp pi-one/dev
  docker cp -q "$container:/opt/pibuild/device/." pi-one
  docker rm "$container" > /dev/null
  tar -xf "$artifact" -C pi-one/opt/pibuild/python
  cp "$emulators/qemu-arm-static" pi-one/usr/bin/
  touch pi-one/made
fi
