# Sets up a machine for pibuild; sourced by ci/pibuild, ci/test and ci/bench.
#   set_up EXTRA    EXTRA: '' or an extra of pyproject.toml, such as 'test'
# Installed programs and a running engine are used as they are: then this takes a tenth of a second.
# For 'test', missing root or a missing engine is not an error, except with CI=true: skipped tests are listed.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv="$root/.venv"

say() { echo "pibuild: $*" >&2; }

set_up() {
  local extra=$1
  install_missing "$extra"
  start_engine "$extra"
  make_venv "$extra"
}

# Prints the name of a Python that is new enough, or nothing.
find_python() {
  local name
  for name in python3 python3.14 python3.13 python3.12 python3.11; do
    if "$name" -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then
      echo "$name"
      return
    fi
  done
}

# Whether an engine answers: that of DOCKER_HOST, of a docker context, or of the standard socket.
engine_answers() { docker version > /dev/null 2>&1; }

# Prints a message and ends with a code. Tests continue, except with CI=true, and skip what needs the missing part.
lack() {
  local extra=$1 code=$2
  shift 2
  say "$@"
  if [ "$extra" != test ] || [ "${CI-}" = true ]; then exit "$code"; fi
}

# Packages without which no tests can run.
missing_basics() {
  local python
  if [ ! -x "$venv/bin/python" ]; then
    python=$(find_python)
    [ -n "$python" ] || echo python3
    "${python:-python3}" -I -c 'import ensurepip' 2> /dev/null || echo python3-venv
  fi
  command -v git > /dev/null || echo git
}

missing_packages() {
  local extra=$1
  missing_basics
  command -v xz > /dev/null || echo xz-utils
  command -v mmdebstrap > /dev/null || echo mmdebstrap
  if ! command -v docker > /dev/null; then
    echo docker.io
  elif [ -z "${DOCKER_HOST-}" ] && ! PATH="$PATH:/usr/sbin" command -v dockerd > /dev/null && ! engine_answers; then
    echo docker.io
  fi
  if [ "$extra" = test ]; then
    # oracles of the instruction tables
    command -v arm-linux-gnueabihf-gcc > /dev/null || echo gcc-arm-linux-gnueabihf
    command -v qemu-arm > /dev/null || echo qemu-user
    command -v aarch64-linux-gnu-gcc > /dev/null || echo gcc-aarch64-linux-gnu
    # wheels that are compiled in tests
    command -v arm-linux-gnueabihf-g++ > /dev/null || echo g++-arm-linux-gnueabihf
    command -v arm-linux-gnueabi-gcc > /dev/null || echo gcc-arm-linux-gnueabi
    [ -e /usr/arm-linux-gnueabi/lib/libc.a ] || echo libc6-dev-armel-cross
    [ -e /usr/aarch64-linux-gnu/lib/libc.a ] || echo libc6-dev-arm64-cross
    command -v gpg > /dev/null || echo gpg # which signs a small archive
    command -v npm > /dev/null || echo npm # Bazel comes through it
    # tests of the page and of publishing
    command -v chromium > /dev/null || echo chromium
    command -v chromedriver > /dev/null || echo chromium-driver
    command -v rclone > /dev/null || echo rclone
    # wrong clocks in the fault campaign
    compgen -G '/usr/lib/*/faketime/libfaketime.so.1' > /dev/null || echo libfaketime
    # completions are tried in the shells that they are for
    command -v zsh > /dev/null || echo zsh
    command -v fish > /dev/null || echo fish
    # tests of the jobs in ci/: Groovy's parser runs on Java
    command -v java > /dev/null || echo default-jre-headless
    command -v systemd-analyze > /dev/null || echo systemd
    # the database of a server of remote execution
    command -v initdb > /dev/null || compgen -G "/usr/lib/postgresql/*/bin/initdb" > /dev/null || echo postgresql
  fi
}

install_missing() {
  local extra=$1 packages=() sudo=()
  mapfile -t packages < <(missing_packages "$extra")
  [ ${#packages[@]} -gt 0 ] || return 0
  [ -z "$(missing_basics)" ] || extra=''
  if ! command -v apt-get > /dev/null; then
    lack "$extra" 2 "this system has no apt-get; install these (or their like) by its own package manager: ${packages[*]}"
    return 0
  fi
  if [ "$(id -u)" != 0 ]; then
    if ! sudo -n true 2> /dev/null; then
      lack "$extra" 2 "missing, and only root may install it; run: sudo apt-get install ${packages[*]}"
      return 0
    fi
    sudo=(sudo -n)
  fi
  say "installing ${packages[*]}"
  local log
  log=$(mktemp)
  if ! { "${sudo[@]}" apt-get update && "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
      apt-get install --yes --no-install-recommends "${packages[@]}"; } > "$log" 2>&1; then
    tail -n 5 "$log" >&2
    say "apt-get could not install ${packages[*]}; its output is in $log"
    exit 2
  fi
  rm "$log"
  if [ ! -x "$venv/bin/python" ] && [ -z "$(find_python)" ]; then
    say "Python 3.11 or newer is missing, and this system's packages have none; Debian 12 and later have"
    exit 2
  fi
}

# Removes the pid file of a killed engine: the next engine does not start while any process has that number.
remove_stale() {
  local file=$1 program=$2
  [ -e "$file" ] || return 0
  case $(readlink "/proc/$(cat "$file")/exe") in
    */"$program") ;;
    *) rm "$file" ;;
  esac
}

# Starts the local engine if none answers. An engine that DOCKER_HOST or DOCKER_CONTEXT names is never started.
start_engine() {
  local extra=$1
  if engine_answers; then return; fi
  local name
  for name in DOCKER_HOST DOCKER_CONTEXT; do
    [ -n "${!name-}" ] || continue
    lack "$extra" 4 "no engine answers at $name=${!name}; start it, or unset $name to use one on this machine"
    return 0
  done
  if [ "$(id -u)" != 0 ]; then
    lack "$extra" 4 "no Docker engine answers, or you may not use its socket: sudo systemctl start docker; sudo usermod -aG docker $(id -un), then log in again"
    return 0
  fi
  say "starting the Docker engine"
  if [ -d /run/systemd/system ]; then
    systemctl start docker || true # without an answer below, its log says why
  elif command -v dockerd > /dev/null; then
    remove_stale /var/run/docker.pid dockerd
    remove_stale /var/run/docker/containerd/containerd.pid containerd
    setsid --fork dockerd > /var/log/dockerd.log 2>&1 < /dev/null
  fi
  local tries
  for ((tries = 0; tries < 150; tries++)); do
    if engine_answers; then return; fi
    sleep 0.2
  done
  lack "$extra" 4 "the Docker engine did not start within 30 s; its log: /var/log/dockerd.log, or journalctl -u docker"
}

# Installs the files whose hashes ci/lock.d/ lists, and nothing else: only wheels, because a source archive is built with
# packages that no lock names, and pibuild itself with the hatchling of the lock. `pip check` finds a lock that is
# older than pyproject.toml. The stamp names the inputs of the environment, and is written last.
make_venv() {
  local extra=$1
  local lock="$root/ci/lock.d/${extra:-pibuild}.txt" stamp="$venv/made-of${extra:+-$extra}"
  if cat "$root/pyproject.toml" "$lock" | cmp --silent - "$stamp"; then return; fi
  say "making $venv"
  (
    flock 9
    export PYTHONSAFEPATH=1 # the current folder may be a stranger's tree, with a pip.py or venv.py
    [ -x "$venv/bin/python" ] || "$(find_python)" -m venv "$venv"
    install=("$venv/bin/python" -m pip install --quiet --quiet --disable-pip-version-check --no-deps)
    "${install[@]}" --require-hashes --only-binary :all: --requirement "$lock"
    "${install[@]}" --no-index --no-build-isolation --editable "$root"
    cat "$root/pyproject.toml" "$lock" > "$stamp"
  ) 9> "$root/.venv.lock"
}
