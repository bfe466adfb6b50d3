# What pip wants to know of numpy. PKG-INFO of a source archive is the METADATA that a wheel would have.
# shellcheck shell=bash

# describe SOURCE_DIR SITE_PACKAGES_DIR
describe() {
  local info=$2/numpy-$PIBUILD_VERSION.dist-info interpreter=cp${PIBUILD_PYTHON/./} abi
  case $PIBUILD_PYTHON in
    2.7) abi=${interpreter}mu ;;
    3.4 | 3.5) abi=${interpreter}m ;;
    *) abi=$interpreter ;;
  esac
  mkdir "$info"
  cp "$1/PKG-INFO" "$info/METADATA"
  cp "$1/LICENSE.txt" "$info"
  echo pibuild > "$info/INSTALLER"
  printf '%s\n' 'Wheel-Version: 1.0' 'Generator: pibuild' 'Root-Is-Purelib: false' \
    "Tag: $interpreter-$abi-linux_$PIBUILD_MACHINE" > "$info/WHEEL"
}
