#!/bin/sh
# interpreters.sh DEVICE_DIR
# Puts a script that calls the emulator where each of the system's interpreters believes that it is, so that a program that
# is started through sys.executable is emulated, too, without any help from the machine's kernel.
set -eu
cd "$1/usr/bin"
for name in python[23].*; do
  case $name in *-config) continue ;; esac
  # shellcheck disable=SC2016  # for the script to expand
  printf '#!/bin/sh\nexec device-run -0 /usr/bin/%s %s "$@"\n' "$name" "$PWD/$name" > "/usr/bin/$name"
  chmod +x "/usr/bin/$name"
done
