#!/bin/bash
# Unpacks what the runtime is compiled from: the parts of GCC 10.2.1 and glibc 2.31 that end in a linked program, and
# the headers of Debian's compiler that say how its GCC was configured.
# usage: sources.sh DEB_DIR SRC_DIR
set -euo pipefail
deb_dir=$1 src_dir=$2
debian=$src_dir/debian
mkdir -p "$debian"
for package in gcc-10-source gcc-10-plugin-dev-arm-linux-gnueabihf glibc-source; do
    dpkg-deb --fsys-tarfile "$deb_dir/$package"_*.deb | tar -x -C "$debian" --exclude=./usr/share
done

# GCC: Debian's release is 10.2.0 and, as one patch, what the gcc-10 branch gained until its date.
parts=(config include libatomic libgcc libiberty libstdc++-v3 gcc/BASE-VER gcc/DATESTAMP gcc/mkconfig.sh
       compile config-ml.in config.guess config.sub depcomp install-sh ltmain.sh missing mkinstalldirs move-if-change)
tar -C "$src_dir" -xf "$debian/usr/src/gcc-10/gcc-10.2.0-dfsg.tar.xz" --exclude='*/testsuite/*[!n]' "${parts[@]/#/gcc-10.2.0/}"
mv "$src_dir/gcc-10.2.0" "$src_dir/gcc"
wanted='^((config|include|libatomic|libgcc|libiberty|libstdc[+][+]-v3)/|gcc/(BASE-VER|DATESTAMP)$)'
awk -v wanted="$wanted" '
    /^--- (a\/src\/|\/dev\/null)/ { old = $0; next }
    /^[+][+][+] (b\/src\/|\/dev\/null)/ && old != "" {
        file = ($2 == "/dev/null") ? substr(old, 11) : substr($2, 7)
        sub(/[ \t].*/, "", file)
        keep = file ~ wanted && file !~ /testsuite/
        if (keep) print old
        old = ""
    }
    keep' "$debian/usr/src/gcc-10/debian/patches/git-updates.diff" > "$src_dir/branch.diff"
patch --directory="$src_dir/gcc" -p2 --batch --silent --fuzz=0 < "$src_dir/branch.diff"
version=$(cat "$src_dir/gcc/gcc/BASE-VER" "$src_dir/gcc/gcc/DATESTAMP" | tr '\n' ' ')
compiler=$("$TRIPLE-gcc-10" --version | sed -n '1s/.*) //p')
if [ "$version" != "10.2.1 20210110 " ] || [ "$compiler" != "10.2.1 20210110" ]; then
    echo "sources.sh: the runtime must come from the compiler's own release: source $version, compiler $compiler" >&2
    exit 1
fi

# glibc
tar -C "$src_dir" -xf "$debian/usr/src/glibc/glibc-2.31.tar.xz"
mv "$src_dir/glibc-2.31" "$src_dir/glibc"
