#!/bin/sh
# Takes packages from the distribution's archive in the versions of the lock, /opt/pibuild/packages/lock, and writes what
# was taken to /opt/pibuild/packages/installed, as lines of a lock: ARCHIVE SUITE ARCHITECTURE PACKAGE VERSION SHA256.
# locked.sh install PACKAGE...                            into this image
# locked.sh download FOLDER PACKAGE...                    .deb files of this image's release
# locked.sh unpack SUITE ARCHITECTURE FOLDER PACKAGE...   with all that they need: nothing is configured and no script runs
# locked.sh record                                        packages of this image that nothing above took; their sha256 is -
# A version that the archive lacks is taken from SNAPSHOT, an archive of that time, if it is set; else the newest is taken.
# @SNAPSHOTID@ in SNAPSHOT becomes the lock's time, and @ARCHIVE@ the last part of the archive's path.
# shellcheck disable=SC2086 # options are words
set -eu
export LC_ALL=C DEBIAN_FRONTEND=noninteractive
here=/opt/pibuild/packages
archive=$(cat "$here/archive" 2> /dev/null || echo debian)
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
architecture=$(dpkg --print-architecture)
options="-qq -o APT::Sandbox::User=root -o APT::Install-Recommends=0"
sources=/etc/apt/sources.list
more_sources=/etc/apt/sources.list.d/pibuild-snapshot.list
pins=/etc/apt/preferences.d/pibuild-lock
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say() { echo "locked.sh: $*"; }
apt_get() { apt-get $options "$@"; }

# The next two print lines of PACKAGE VERSION SHA256.
locked() {
  [ ! -f "$here/lock" ] || awk -v group="$archive $suite $architecture" '$1 " " $2 " " $3 == group { print $4, $5, $6 }' "$here/lock" | sort
}
listed() { # of lines that begin with PACKAGE VERSION: what the archive's signed index says of them
  awk '{ print $1 "=" $2 }' | xargs -r apt-cache $options show 2> /dev/null \
    | awk '/^Package: / { package = $2 } /^Version: / { version = $2 } /^SHA256: / { print package, version, $2 }' | sort -u
}

update() {
  apt_get update || say "the index of $suite is not complete"
  locked | listed > "$work/listed"
  locked | comm -23 - "$work/listed" > "$work/lacking"
}

prepare() {
  update
  if [ -s "$work/lacking" ] && [ -n "${SNAPSHOT:-}" ]; then
    say "the archive lacks $(wc -l < "$work/lacking") locked version(s) of $suite: asking the snapshot"
    id=$(awk '$1 == "#" && $2 == "snapshot" { print $3 }' "$here/lock")
    awk -v snapshot="$SNAPSHOT" -v id="$id" '$1 == "deb" {
        address = 2
        while ($(address) !~ /:/) address++
        parts = split($(address), path, "/")
        place = snapshot
        gsub(/@SNAPSHOTID@/, id, place)
        gsub(/@ARCHIVE@/, path[parts], place)
        $(address) = place
        if (!sub(/\[/, "[check-valid-until=no ")) sub(/^deb/, "deb [check-valid-until=no]")
        print
      }' "$sources" > "$work/snapshot.list"
    cat "$work/snapshot.list" >> "$more_sources"
    update
  fi
  if [ -s "$work/lacking" ]; then
    say "no archive has these locked versions of $suite, so others are taken:"
    cat "$work/lacking"
  fi
  awk '{ print "Package: " $1 "\nPin: version " $2 "\nPin-Priority: 1001\n" }' "$work/listed" > "$pins"
}

take() { # what apt-get does, with what is locked if that goes together
  if apt_get "$@"; then return; fi
  say "the locked versions do not go together with the others: taking the newest"
  : > "$pins"
  if apt_get "$@"; then return; fi
  say "neither the archive nor a snapshot has these packages of $suite: see docs/images.md of pibuild"
  exit 1
}

write_down() { # lines of PACKAGE VERSION SHA256
  sed "s/^/$archive $suite $architecture /" | sort > "$work/taken"
  mkdir -p "$here/installed"
  cp "$work/taken" "$here/installed/$(sha256sum "$work/taken" | cut -c -16)"
}

write_down_files() { # .deb files in a folder
  for package in "$1"/*.deb; do
    dpkg-deb --show --showformat '${Package} ${Version} ' "$package"
    sha256sum < "$package" | cut -c -64
  done | write_down
}

system() { dpkg-query --show --showformat '${Package} ${Version}\n' | sort; }

command=$1
shift
case $command in
  install)
    system > "$work/before"
    prepare
    take install --yes "$@"
    system | comm -13 "$work/before" - > "$work/added"
    listed < "$work/added" | write_down
    rm -rf "$pins" "$more_sources" /var/lib/apt/lists/* /var/cache/apt/* /var/log/* /usr/share/doc/*
    ;;
  download)
    mkdir -p "$1"
    cd "$1"
    shift
    prepare
    take download "$@"
    write_down_files .
    rm -rf "$pins" "$more_sources" /var/lib/apt/lists/*
    ;;
  unpack)
    suite=$1 architecture=$2 folder=$3
    shift 3
    # With an empty status file apt resolves for any architecture, as if for a new system.
    state=$work/state
    mkdir -p "$state/lists/partial" "$state/cache/archives/partial" "$state/preferences.d" "$folder"
    touch "$state/status"
    mirror=$(awk '$1 == "deb" { print $2; exit }' "$sources")
    sources=$state/sources.list more_sources=$state/sources.list pins=$state/preferences.d/lock
    echo "deb [arch=$architecture] $mirror $suite main" > "$sources"
    options="$options -o APT::Architecture=$architecture -o APT::Architectures::=$architecture -o Dir::State=$state
      -o Dir::State::status=$state/status -o Dir::Cache=$state/cache -o Dir::Etc::sourcelist=$sources
      -o Dir::Etc::sourceparts=/dev/null -o Dir::Etc::preferencesparts=$state/preferences.d"
    prepare
    take install --yes --download-only "$@"
    write_down_files "$state/cache/archives"
    for package in "$state"/cache/archives/*.deb; do
      dpkg-deb --extract "$package" "$folder"
    done
    ;;
  record)
    mkdir -p "$here/installed"
    cat "$here"/installed/* 2> /dev/null | awk '{ print $4, $5 }' | sort > "$work/taken-before"
    system | comm -23 - "$work/taken-before" | sed 's/$/ -/' > "$work/other"
    [ ! -s "$work/other" ] || write_down < "$work/other"
    ;;
  *)
    say "unknown command $command" >&2
    exit 2
    ;;
esac
