#!/bin/bash
# Writes bin/TRIPLE-clang: Debian's Clang, which compiles C for the same C library and with the same runtime as TRIPLE-gcc.
# Recipes compile kernels of NEON intrinsics with it. Of XNNPACK's, it makes code with up to a quarter fewer instructions
# than GCC 10 does.
set -euo pipefail
compiler=$PREFIX/bin/$TRIPLE-clang

# As in wrappers.sh, an empty sysroot keeps the machine's own headers and libraries out.
cat > "$compiler" <<SCRIPT
#!/bin/sh
exec /usr/bin/clang-19 --target=$TRIPLE --sysroot=$PREFIX/sysroot --gcc-install-dir=/usr/lib/gcc-cross/$TRIPLE/10 \\
  -idirafter /usr/$TRIPLE/include -B$PREFIX/lib/ -L$PREFIX/lib $ARCH_FLAGS -Wno-unused-command-line-argument \\
  -static-libgcc -Wl,-rpath-link,$PREFIX/lib "\$@"
SCRIPT
chmod 755 "$compiler"
