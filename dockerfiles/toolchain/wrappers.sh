#!/bin/bash
# Writes bin/: the compiler drivers under the names that build systems call, and links to the binutils.
# The folder's place is written into them, so a link to a wrapper works as well as the wrapper (Bazel makes such links).
set -euo pipefail
bin=$PREFIX/bin
mkdir -p "$bin" "$PREFIX/sysroot"

# Debian's static C library, which -static would find next, is not for every target.
echo 'ASSERT(0, "no static C library here: a program takes the one of its Pi")' > "$PREFIX/lib/libc.a"

# An empty sysroot keeps the machine's /usr/include and /usr/lib out. -rpath-link names the stubs for what shared
# libraries need in turn: without it ld takes the newer libraries beside Debian's compiler.
wrapper() { # TOOL EXTRA_FLAGS
    cat > "$bin/$TRIPLE-$1" <<SCRIPT
#!/bin/sh
exec /usr/bin/$TRIPLE-$1-10 --sysroot=$PREFIX/sysroot -B$PREFIX/lib/ $ARCH_FLAGS$2 "\$@"
SCRIPT
    chmod 755 "$bin/$TRIPLE-$1"
}
link=" -static-libgcc -static-libstdc++ -Wl,-rpath-link,$PREFIX/lib"
wrapper cpp ''
wrapper gcc "$link"
wrapper g++ "$link"
ln -s "$TRIPLE-gcc" "$bin/$TRIPLE-cc"
ln -s "$TRIPLE-g++" "$bin/$TRIPLE-c++"
for tool in addr2line ar as c++filt elfedit gprof ld ld.bfd ld.gold nm objcopy objdump ranlib readelf size strings strip; do
    [ -x "/usr/bin/$TRIPLE-$tool" ] && ln -s "/usr/bin/$TRIPLE-$tool" "$bin/$TRIPLE-$tool"
done
