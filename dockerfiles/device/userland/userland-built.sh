#!/bin/bash
# Compiles the device's C library with the target's toolchain: Debian's is for a later ARM.
# usage: userland-built.sh DEB_DIR OUT_DIR
set -euo pipefail
deb_dir=$1 out_dir=$2
lib_dir=$out_dir/device/lib
work=$(dirname "$(readlink -f "$0")")/work
trap 'rm -rf "$work"' EXIT

mkdir -p "$work/build" "$lib_dir" "$out_dir/device-extra/lib"
dpkg-deb --fsys-tarfile "$deb_dir"/glibc-source_*.deb | tar -xO ./usr/src/glibc/glibc-2.31.tar.xz | tar -xJ -C "$work"
source=$work/glibc-2.31
cd "$work/build"

run() { # STEP COMMAND...
    if ! "${@:2}" > "$work/$1.log" 2>&1; then
        echo "userland-built.sh: $1 failed; the end of its output:" >&2
        tail -n 40 "$work/$1.log" >&2
        exit 1
    fi
}
# libpthread starts by a crti.o of its own, which glibc names by -B. The wrapper's -B would come before that, and threads
# would have no stack: so here the toolchain's start files come last.
cat > "$work/cc" << CC
#!/bin/sh
exec /usr/bin/$TRIPLE-gcc-10 $ARCH_FLAGS "\$@" -B/opt/pibuild/toolchain/lib/
CC
chmod +x "$work/cc"
run configure env BUILD_CC=gcc CXX='' CC="$work/cc" CFLAGS="-O2 -g0" \
    libc_cv_forced_unwind=yes libc_cv_c_cleanup=yes libc_cv_slibdir=/lib libc_cv_rtlddir=/lib \
    "$source/configure" --build=x86_64-linux-gnu --host="$TRIPLE" --prefix=/usr \
    --with-headers="/usr/$TRIPLE/include" --enable-kernel=3.2 --disable-werror --disable-profile --disable-nscd \
    --disable-build-nscd --disable-timezone-tools --without-selinux --disable-nss-crypt
# Objects for shared libraries alone: nothing here is linked statically.
shared=(object-suffixes=.os object-suffixes-for-libc='.os .oS')
run libc make -j"${JOBS:-$(nproc)}" "${shared[@]}" lib
cp libc.so "$lib_dir/libc.so.6"
cp elf/ld.so "$lib_dir/ld-linux-armhf.so.3"
for library in crypt/libcrypt.so.1 dlfcn/libdl.so.2 login/libutil.so.1 math/libm.so.6 nptl/libpthread.so.0 \
               nss/libnss_files.so.2 resolv/libanl.so.1 resolv/libnss_dns.so.2 resolv/libresolv.so.2 rt/librt.so.1; do
    name=$(basename "$library") folder=$(dirname "$library")
    run "$folder" make -j"${JOBS:-$(nproc)}" -C "$source/$folder" objdir="$PWD" "${shared[@]}" "$PWD/${library%.*}"
    cp "${library%.*}" "$lib_dir/$name"
done
# libgcc_s is not for wheels: glibc itself opens it when a thread ends early, and wants these functions of its unwinder.
# In the static library they are hidden, so each gets a name of its own, and a way in that can be seen.
exported=(_Unwind_Resume _Unwind_ForcedUnwind _Unwind_GetCFA _Unwind_Backtrace _Unwind_VRS_Get __gcc_personality_v0)
for name in "${exported[@]}"; do
    echo "$name own$name" >&3
    printf '.globl %s\n.type %s,%%function\n%s: b own%s\n.size %s,.-%s\n' "$name" "$name" "$name" "$name" "$name" "$name"
done 3> "$work/names" > "$work/ways-in.S"
echo '.section .note.GNU-stack,"",%progbits' >> "$work/ways-in.S"
"$TRIPLE-objcopy" --redefine-syms="$work/names" /opt/pibuild/toolchain/lib/libgcc_eh.a "$work/unwinder.a"
"$TRIPLE-gcc" -c "$work/ways-in.S" -o "$work/ways-in.o"
"$TRIPLE-gcc" -shared -nostdlib -Wl,-soname,libgcc_s.so.1 -Wl,-z,noexecstack -o "$lib_dir/libgcc_s.so.1" \
    "$work/ways-in.o" -Wl,--whole-archive "$work/unwinder.a" -Wl,--no-whole-archive -lgcc "$lib_dir/libc.so.6"
"$TRIPLE-strip" --strip-unneeded "$lib_dir"/*
