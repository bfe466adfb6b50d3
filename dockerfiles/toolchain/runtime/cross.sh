# What every part of the runtime is configured with. Sourced; wants TRIPLE.
# shellcheck shell=bash disable=SC2034  # the arrays are for the scripts that source this
tools=()
for tool in ar as ld nm objcopy objdump ranlib readelf strip; do
    tools+=("${tool^^}=$TRIPLE-$tool")
done
# As the parts' configure scripts are called inside a build of the whole of GCC.
gcc_configure=(--build=x86_64-pc-linux-gnu --host="$TRIPLE" --target="$TRIPLE" --prefix=/usr --disable-multilib
               --with-target-subdir="$TRIPLE" --with-cross-host=x86_64-pc-linux-gnu)
