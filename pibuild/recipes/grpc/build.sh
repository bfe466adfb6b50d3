#!/usr/bin/env bash
# Compiles gRPC's C core and all that it links, out of the source archive of its Python package, which says what belongs
# to it: out/lib/libgrpc.a, out/licenses. BoringSSL is its portable C, for the archive has no assembler.
# Without upstream's GPR_BACKWARDS_COMPATIBILITY_MODE, which asks at run time how old glibc is: the floor is known here.
set -euo pipefail

source_dir=$PWD/src/grpcio
third_party=$source_dir/third_party
mapfile -t sources < <(sed -n "s/^    '\(.*\)',$/\1/p" "$source_dir/src/python/grpcio/grpc_core_dependencies.py")

# Ciphers and compression take a Pi's time; all else is there to be small.
mkdir -p build
cat > build/build.ninja << NINJA
cflags = $PIBUILD_CFLAGS -fPIC -fvisibility=hidden -ffunction-sections -fdata-sections -w $
  -ffile-prefix-map=$source_dir/= -DNDEBUG -DHAVE_CONFIG_H=1 -DOPENSSL_NO_ASM=1 $
  -DGRPC_ENABLE_FORK_SUPPORT=1 -DGRPC_POSIX_FORK_ALLOW_PTHREAD_ATFORK=1 $
  -I$source_dir/include -I$source_dir -I$third_party/address_sorting/include -I$third_party/cares $
  -I$third_party/cares/cares -I$third_party/cares/config_linux -I$third_party/boringssl/include -I$third_party/upb $
  -I$source_dir/src/core/ext/upb-generated -I$third_party/zlib
size =
rule c
  description = compiling \$in
  command = $PIBUILD_TRIPLE-gcc \$cflags \$size -c \$in -o \$out
rule cc
  description = compiling \$in
  command = $PIBUILD_TRIPLE-g++ \$cflags -std=c++11 -fno-exceptions -fvisibility-inlines-hidden \$size -c \$in -o \$out
$(for source in "${sources[@]}"; do
    echo "build objects/$source.o: ${source##*.} $source_dir/$source"
    case $source in third_party/boringssl/* | third_party/zlib/*) ;; *) echo '  size = -Os' ;; esac
  done)
NINJA
ninja -C build -j "$PIBUILD_JOBS"

mkdir -p out/lib out/licenses/{grpc,address_sorting,boringssl,boringssl-fiat,c-ares,upb,zlib}
printf 'build/objects/%s.o\n' "${sources[@]}" | LC_ALL=C sort > build/objects.txt
"$PIBUILD_TRIPLE-ar" qcsD out/lib/libgrpc.a @build/objects.txt

texts=src/grpc-licenses
cp "$source_dir/LICENSE" $texts/NOTICE.txt out/licenses/grpc/
cp $texts/third_party/address_sorting/LICENSE out/licenses/address_sorting/
cp $texts/third_party/boringssl/LICENSE out/licenses/boringssl/
cp $texts/third_party/boringssl/third_party/fiat/LICENSE out/licenses/boringssl-fiat/
cp $texts/third_party/cares/cares/LICENSE.md out/licenses/c-ares/
cp $texts/third_party/upb/LICENSE out/licenses/upb/
sed '/^\*\/$/q' "$third_party/zlib/zlib.h" > out/licenses/zlib/LICENSE  # it has no other
