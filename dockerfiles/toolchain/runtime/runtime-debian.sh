#!/bin/bash
# Takes the target's runtime from Debian's cross packages as it is.
# usage: runtime-debian.sh DEB_DIR LIB_DIR (DEB_DIR is not needed here)
set -euo pipefail
lib_dir=$2
c_dir=/usr/$TRIPLE/lib gcc_dir=/usr/lib/gcc-cross/$TRIPLE/10

mkdir -p "$lib_dir"
cp "$c_dir"/{crt1.o,Scrt1.o,crti.o,crtn.o,libc_nonshared.a} "$lib_dir"
cp "$gcc_dir"/crt{begin,beginS,beginT,end,endS,fastmath}.o "$lib_dir"
cp "$gcc_dir"/lib{gcc,gcc_eh,stdc++,supc++,stdc++fs,atomic}.a "$lib_dir"
