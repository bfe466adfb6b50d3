#!/usr/bin/env bash
# Runs on the device: installs the wheel with its Python's own pip from a folder, then runs the recipe's check.
# The check's JSON is written to /work/out/result.json. If a count_X.py belongs to the recipe's check_X.py, it adds the
# instructions that the emulator counts, unless PIBUILD_UNCOUNTED is set.
set -euo pipefail
prefix=/opt/pibuild/python packages=/opt/pibuild/dependencies

# A program started through sys.executable must be emulated, too, and the machine's kernel does not do that. So the
# interpreter's name is a script that calls the emulator; argv[0] still tells Python where its library is.
cat > "$prefix/bin/python3" << WRAPPER
#!/bin/sh
exec /opt/pibuild/bin/device-run -0 "\$0" $prefix/bin/python$PIBUILD_PYTHON "\$@"
WRAPPER
chmod +x "$prefix/bin/python3"

export PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_PYTHON_VERSION_WARNING=1
pip() { "$prefix/bin/python3" -m pip "$@"; }
cd /work/build
if [[ -d $packages/wheel ]]; then
  pip install --quiet --no-index --no-deps --no-compile $packages/wheel/*.whl
fi
if [[ -d $packages/wheel ]]; then
  # Some of the wheel's compiled dependencies are left out, so pip can't resolve them: it installs the wheel alone. Then
  # pip check lists dependencies that are missing or have a wrong version; only those that were left out may be missing.
  pip install --quiet --no-index --no-deps --find-links /work/wheels "$PIBUILD_PACKAGE"
  pip check > unmet || bash /work/check/judge_unmet.sh $packages/left-out.txt unmet
else
  pip install --quiet --no-index --find-links /work/wheels "$PIBUILD_PACKAGE"
fi
if [[ -n ${PIBUILD_WHEELHOUSE-} ]]; then
  pip check
  pip freeze --all > /work/out/installed.txt
fi
"$prefix/bin/python3" "/work/check/$PIBUILD_CHECK" /work/check/models > /work/out/result.json
counting=/work/check/count_${PIBUILD_CHECK#check_}
if [[ -e $counting && -z ${PIBUILD_UNCOUNTED-} ]]; then
  count-run counts "$prefix/bin/python$PIBUILD_PYTHON" "$counting" /work/check/models /work/out/result.json counts
fi
