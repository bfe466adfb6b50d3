# shellcheck shell=bash
# Sourced on the device before anything runs there: the names `python` and `pip` stand for the device's own, and pip installs
# from folders alone. Needs PIBUILD_PYTHON; sets PIBUILD_PREFIX, below which pip installs.
own=/opt/pibuild/device/usr/bin/python$PIBUILD_PYTHON # the system's, where the userland is a whole one
packages=/opt/pibuild/dependencies
bin=/work/build/bin
export PIBUILD_PREFIX=/opt/pibuild/python
[[ ! -e $own ]] || PIBUILD_PREFIX=/work/build/.local # a user's own packages

mkdir -p "$bin"
# A Pi 2's system may stand for a Pi Zero's: then programs load this library, by which the machine has that name.
[[ ! -e /opt/pibuild/model/armv7l.so ]] || sed 's/armv7l/armv6l/' /opt/pibuild/model/armv7l.so > /work/build/armv6l.so
if [[ -e $own ]]; then
  ln -s "/usr/bin/python$PIBUILD_PYTHON" "$bin/python"
  ln -s python "$bin/python3"
  export PIP_USER=1
else
  # A program started through sys.executable must be emulated too, without any help from the machine's kernel: so the
  # interpreter's name is a script that calls the emulator, and argv[0] still tells Python where its library is.
  mv "$PIBUILD_PREFIX/bin/python$PIBUILD_PYTHON" "$PIBUILD_PREFIX/bin/interpreter"
  cat > "$PIBUILD_PREFIX/bin/python3" << WRAPPER
#!/bin/sh
exec device-run -0 $PIBUILD_PREFIX/bin/python3 $PIBUILD_PREFIX/bin/interpreter "\$@"
WRAPPER
  chmod +x "$PIBUILD_PREFIX/bin/python3"
  ln -s python3 "$PIBUILD_PREFIX/bin/python"
  ln -s python3 "$PIBUILD_PREFIX/bin/python$PIBUILD_PYTHON"
fi
# shellcheck disable=SC2016  # for the script to expand
printf '#!/bin/sh\nexec python -m pip "$@"\n' > "$bin/pip"
chmod +x "$bin/pip"
export PATH=$bin:$PIBUILD_PREFIX/bin:$PATH
export PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_PYTHON_VERSION_WARNING=1
export PIP_BREAK_SYSTEM_PACKAGES=1 PIP_NO_INDEX=1 PIP_FIND_LINKS="/work/wheels $packages/wheel"
