#!/usr/bin/env bash
# Runs on the device: installs a wheel with the device's own pip, from a folder alone, then gives a person's command the
# terminal. /work/out/installed tells that it came to the command.
# usage: run.sh WHEEL COMMAND [ARG...]
set -euo pipefail
wheel=$1
shift
own=/opt/pibuild/device/usr/bin/python$PIBUILD_PYTHON # the system's, where the userland is a whole one
prefix=/opt/pibuild/python packages=/opt/pibuild/packages
[[ ! -e $own ]] || prefix=/work/build/.local # a user's own packages
bin=/work/build/bin

mkdir -p "$bin"
if [[ -e $own ]]; then
  ln -s "/usr/bin/python$PIBUILD_PYTHON" "$bin/python"
  ln -s python "$bin/python3"
  export PIP_USER=1
else
  # A program started through sys.executable must be emulated too, without any help from the machine's kernel: so the
  # interpreter's name is a script that calls the emulator, and argv[0] still tells Python where its library is.
  mv "$prefix/bin/python$PIBUILD_PYTHON" "$prefix/bin/interpreter"
  cat > "$prefix/bin/python3" << WRAPPER
#!/bin/sh
exec device-run -0 $prefix/bin/python3 $prefix/bin/interpreter "\$@"
WRAPPER
  chmod +x "$prefix/bin/python3"
  ln -s python3 "$prefix/bin/python"
  ln -s python3 "$prefix/bin/python$PIBUILD_PYTHON"
fi
# shellcheck disable=SC2016  # for the script to expand
printf '#!/bin/sh\nexec python -m pip "$@"\n' > "$bin/pip"
chmod +x "$bin/pip"
export PATH=$bin:$prefix/bin:$PATH
export PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_PYTHON_VERSION_WARNING=1
export PIP_BREAK_SYSTEM_PACKAGES=1 PIP_NO_INDEX=1 PIP_FIND_LINKS="/work/wheels $packages/wheel"

if [[ -e $packages/left-out.txt ]] && ! pip install -qq "/work/wheels/$wheel" > /work/build/refused 2>&1; then
  # What is compiled of all that it asks for is not beside it, so pip can't resolve; the import does without.
  echo "pip finds not all that $wheel asks for: it gets what is pure Python, without $(paste -sd, $packages/left-out.txt)" >&2
  pip install -qq --no-deps $packages/wheel/*.whl "/work/wheels/$wheel" >&2
elif [[ ! -e $packages/left-out.txt ]]; then
  pip install -qq "/work/wheels/$wheel" >&2
fi
touch /work/out/installed
cd /work/files
code=0
"$@" || code=$?
exit "$code"
