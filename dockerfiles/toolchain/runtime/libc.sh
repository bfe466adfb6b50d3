#!/bin/bash
# Compiles the parts of glibc that are linked into every program: the start files and libc_nonshared.a.
# usage: libc.sh SRC_DIR BUILD_DIR LIB_DIR
set -euo pipefail
. "$(dirname "$0")/cross.sh"
src_dir=$1 build_dir=$2/glibc lib_dir=$3

mkdir -p "$build_dir" "$lib_dir"
cd "$build_dir"
env "${tools[@]}" BUILD_CC=gcc CC="$TRIPLE-gcc-10 $ARCH_FLAGS" CXX='' CFLAGS="-O2 -g0" \
    libc_cv_forced_unwind=yes libc_cv_c_cleanup=yes libc_cv_slibdir=/lib \
    "$src_dir/glibc/configure" --build=x86_64-linux-gnu --host="$TRIPLE" --prefix=/usr \
    --with-headers="/usr/$TRIPLE/include" --enable-kernel=3.2 --disable-werror --disable-profile --disable-nscd \
    --disable-build-nscd --disable-timezone-tools --without-selinux --disable-nss-crypt
make csu/subdir_lib
nonshared=(csu/{elf-init,aeabi_lcsts,aeabi_math,aeabi_sighandlers,aeabi_read_tp}.oS)
apart=(stdlib/{atexit,at_quick_exit}.oS io/{stat,fstat,lstat,stat64,fstat64,lstat64,fstatat,fstatat64,mknod,mknodat}.oS
       debug/stack_chk_fail_local.oS nptl/pthread_atfork.oS)
for object in "${apart[@]}"; do
    make -C "$src_dir/glibc/${object%/*}" objdir="$build_dir" "$build_dir/$object"
done
cp csu/{crt1,Scrt1,crti,crtn}.o "$lib_dir"
"$TRIPLE-ar" rcsD "$lib_dir/libc_nonshared.a" "${nonshared[@]}" "${apart[@]}"
