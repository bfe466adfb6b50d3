#!/usr/bin/env bash
# Runs on the device: installs the wheel with its Python's own pip from a folder, then runs the recipe's check.
# The check's JSON is left in /work/out/result.json.
set -euo pipefail
prefix=/opt/pibuild/python

# A program started through sys.executable must be emulated too, without any help from the machine's kernel: so the
# interpreter's name is a script that calls the emulator, and argv[0] still tells Python where its library is.
cat > "$prefix/bin/python3" << WRAPPER
#!/bin/sh
exec /opt/pibuild/bin/device-run -0 "\$0" $prefix/bin/python$PIBUILD_PYTHON "\$@"
WRAPPER
chmod +x "$prefix/bin/python3"

export PIP_ROOT_USER_ACTION=ignore
"$prefix/bin/python3" -m pip install --quiet --no-index --disable-pip-version-check \
  --find-links /work/wheels "$PIBUILD_PACKAGE"
cd /work/build
"$prefix/bin/python3" "/work/check/$PIBUILD_CHECK" /work/check/models > /work/out/result.json
