#!/usr/bin/env bash
# Runs on the device: serves a site on loopback, and lets the device's own pip install from its index.
# usage: install_from_index.sh PROJECT IMPORT
set -euo pipefail
project=$1 import=$2 prefix=/opt/pibuild/python

cat > "$prefix/bin/python3" << WRAPPER
#!/bin/sh
exec /opt/pibuild/bin/device-run -0 "\$0" $prefix/bin/python$PIBUILD_PYTHON "\$@"
WRAPPER
chmod +x "$prefix/bin/python3"

server=http.server
[[ $PIBUILD_PYTHON != 2.7 ]] || server=SimpleHTTPServer
cd /work/site
"$prefix/bin/python3" -m "$server" 8000 > /work/out/served 2>&1 &
for ((tries = 0; tries < 300; tries++)); do
  (exec 3<> /dev/tcp/127.0.0.1/8000) 2> /dev/null && break
  sleep 0.2
done

cd /work/build
export PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_PYTHON_VERSION_WARNING=1
"$prefix/bin/python3" -m pip --version
"$prefix/bin/python3" -m pip install --no-cache-dir --index-url http://127.0.0.1:8000/current/simple/ "$project"
"$prefix/bin/python3" -c "import $import; print('imported ' + $import.__file__)"
