#!/bin/sh
# trust.sh ARCHIVE SUITE KEY
# Makes ARCHIVE the only one that packages come from, and KEY, a fingerprint, the only key that its index may be signed with.
# The key is in a package of the archive's own, which is taken unsigned: only what has this fingerprint is used of it.
set -eu
archive=$1 suite=$2 key=$3

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir -p lists/partial
echo "deb [arch=armhf trusted=yes] $archive $suite main" > sources.list
apt_here() {
  apt-get -qq -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists="$work/lists" \
    -o APT::Architecture=armhf -o APT::Architectures::=armhf -o APT::Sandbox::User=root "$@"
}
apt_here update 2> warnings || { cat warnings >&2; exit 1; } # it warns of the key that is not known yet
apt_here download raspbian-archive-keyring
dpkg-deb --extract raspbian-archive-keyring_*.deb keyring
rm /etc/apt/trusted.gpg.d/*
for keyring in "$work"/keyring/usr/share/keyrings/*.gpg; do
  gpg --batch --quiet --no-autostart --homedir "$work" --no-default-keyring --keyring "$keyring" --export "$key"
done > /etc/apt/trusted.gpg.d/raspbian.gpg
if [ ! -s /etc/apt/trusted.gpg.d/raspbian.gpg ]; then
  echo "trust.sh: the keyring of $archive has no key $key" >&2
  exit 1
fi
echo "deb $archive $suite main" > /etc/apt/sources.list
echo raspbian > /opt/pibuild/packages/archive
