#!/usr/bin/env bash
# Runs on the device: installs the wheel with its Python's own pip from a folder, then runs the recipe's check.
# The check's JSON is left in /work/out/result.json. Where there is a count_X.py to its check_X.py, that adds the
# instructions that the emulator counts.
set -euo pipefail
prefix=/opt/pibuild/python packages=/opt/pibuild/packages

# A program started through sys.executable must be emulated too, without any help from the machine's kernel: so the
# interpreter's name is a script that calls the emulator, and argv[0] still tells Python where its library is.
cat > "$prefix/bin/python3" << WRAPPER
#!/bin/sh
exec /opt/pibuild/bin/device-run -0 "\$0" $prefix/bin/python$PIBUILD_PYTHON "\$@"
WRAPPER
chmod +x "$prefix/bin/python3"

export PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_PYTHON_VERSION_WARNING=1
pip() { "$prefix/bin/python3" -m pip "$@"; }
cd /work/build
if [[ -d $packages ]]; then
  pip install --quiet --no-index --no-deps --no-compile $packages/wheel/*.whl
fi
if [[ -n ${PIBUILD_ALONE-} ]]; then
  # A wheel from anywhere: what else it asks for is not here, and whether its import works without is seen below.
  pip install --quiet --no-index --no-deps /work/wheels/*.whl
elif [[ -d $packages ]]; then
  # Of what the wheel asks for, what is compiled is not all here, so pip can't resolve: it installs the wheel alone, then
  # looks whether everything that is asked for is there and fits, and only what was left out may be missing.
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
if [[ -e $counting ]]; then
  count-run counts "$prefix/bin/python$PIBUILD_PYTHON" "$counting" /work/check/models /work/out/result.json counts
fi
