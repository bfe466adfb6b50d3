#!/bin/bash
# Takes the device's C library from Debian's cross packages.
# usage: userland-debian.sh DEB_DIR OUT_DIR (DEB_DIR is not needed here)
set -euo pipefail
out_dir=$2
lib_dir=/usr/$TRIPLE/lib

mkdir -p "$out_dir"/device/lib "$out_dir"/device-extra/lib
# libgcc_s is not for wheels: glibc itself opens it when a thread ends early.
cp -L "$lib_dir"/{ld-linux-armhf.so.3,lib{anl,c,m,nss_files,nss_dns,resolv}.so.?,lib{dl,util}.so.?,librt.so.1} \
    "$lib_dir"/lib{pthread.so.0,gcc_s.so.1} "$out_dir/device/lib"
# Outside of the device's root, for wheels of others that want the Pi's libstdc++.
cp -L "$lib_dir"/libstdc++.so.6 "$out_dir/device-extra/lib"
