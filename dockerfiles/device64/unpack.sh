#!/bin/sh
# unpack.sh SUITE ARCHITECTURE FOLDER PACKAGE...
# Unpacks packages of a Debian release, with all that they need, into a folder: nothing is configured and no script runs.
# With an empty status file apt resolves for any architecture, as if for a new system.
set -eu
suite=$1 architecture=$2 folder=$3
shift 3
state=$(mktemp -d)
mkdir -p "$state/lists/partial" "$state/cache/archives/partial" "$state/preferences.d" "$folder"
touch "$state/status"
mirror=$(awk '$1 == "deb" { print $2; exit }' /etc/apt/sources.list)
echo "deb [arch=$architecture] $mirror $suite main" > "$state/sources.list"
apt() {
  apt-get -qq -o APT::Architecture="$architecture" -o APT::Architectures::="$architecture" \
    -o APT::Install-Recommends=0 -o APT::Sandbox::User=root -o Dir::State="$state" -o Dir::State::status="$state/status" \
    -o Dir::Cache="$state/cache" -o Dir::Etc::sourcelist="$state/sources.list" -o Dir::Etc::sourceparts=/dev/null \
    -o Dir::Etc::preferencesparts="$state/preferences.d" "$@"
}
apt update
apt install --yes --download-only "$@"
for package in "$state"/cache/archives/*.deb; do
  dpkg-deb --extract "$package" "$folder"
done
rm -rf "$state"
