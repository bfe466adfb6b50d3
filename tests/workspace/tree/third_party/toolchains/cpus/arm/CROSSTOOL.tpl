major_version: "local"
minor_version: ""
default_target_cpu: "same_as_host"

default_toolchain {
  cpu: "armeabi"
  toolchain_identifier: "arm-linux-gnueabihf"
}
default_toolchain {
  cpu: "k8"
  toolchain_identifier: "local_linux"
}

# The Pi. What its CPU is, the compiler's wrappers know.
toolchain {
  toolchain_identifier: "arm-linux-gnueabihf"
  abi_version: "armeabi"
  abi_libc_version: "armeabi"
  builtin_sysroot: ""
  compiler: "compiler"
  host_system_name: "armeabi"
  needsPic: true
  target_libc: "armeabi"
  target_cpu: "armeabi"
  target_system_name: "armeabi"

  tool_path { name: "ar" path: "/opt/pibuild/toolchain/bin/arm-linux-gnueabihf-ar" }
  tool_path { name: "compat-ld" path: "/bin/false" }
  tool_path { name: "cpp" path: "/opt/pibuild/toolchain/bin/arm-linux-gnueabihf-cpp" }
  tool_path { name: "dwp" path: "/bin/false" }
  tool_path { name: "gcc" path: "/opt/pibuild/toolchain/bin/arm-linux-gnueabihf-gcc" }
  tool_path { name: "gcov" path: "/bin/false" }
  tool_path { name: "ld" path: "/opt/pibuild/toolchain/bin/arm-linux-gnueabihf-ld" }
  tool_path { name: "nm" path: "/opt/pibuild/toolchain/bin/arm-linux-gnueabihf-nm" }
  tool_path { name: "objcopy" path: "/opt/pibuild/toolchain/bin/arm-linux-gnueabihf-objcopy" }
  tool_path { name: "objdump" path: "/opt/pibuild/toolchain/bin/arm-linux-gnueabihf-objdump" }
  tool_path { name: "strip" path: "/opt/pibuild/toolchain/bin/arm-linux-gnueabihf-strip" }

  cxx_builtin_include_directory: "/usr/lib/gcc-cross/arm-linux-gnueabihf/10/include"
  cxx_builtin_include_directory: "/usr/arm-linux-gnueabihf/include"
  # Where OpenBLAS is, for a target without NEON.
  cxx_builtin_include_directory: "/work/in/openblas/include"
  cxx_flag: "-std=c++11"
  unfiltered_cxx_flag: "-no-canonical-prefixes"
  unfiltered_cxx_flag: "-fno-canonical-system-headers"
  # Bazel links with gcc, where -static-libstdc++ says nothing.
  linker_flag: "-l:libstdc++.a"
  linker_flag: "-lm"

  compilation_mode_flags {
    mode: OPT
    compiler_flag: "-DNDEBUG"
    compiler_flag: "-ffunction-sections"
    compiler_flag: "-fdata-sections"
    linker_flag: "-Wl,--gc-sections"
  }
  linking_mode_flags { mode: DYNAMIC }
}

# The machine, for tools that run while the build does.
toolchain {
  toolchain_identifier: "local_linux"
  abi_version: "local"
  abi_libc_version: "local"
  builtin_sysroot: ""
  compiler: "compiler"
  host_system_name: "local"
  needsPic: true
  target_libc: "local"
  target_cpu: "local"
  target_system_name: "local"

  tool_path { name: "ar" path: "/usr/bin/ar" }
  tool_path { name: "compat-ld" path: "/usr/bin/ld" }
  tool_path { name: "cpp" path: "/usr/bin/cpp" }
  tool_path { name: "dwp" path: "/bin/false" }
  tool_path { name: "gcc" path: "/usr/bin/gcc" }
  tool_path { name: "gcov" path: "/bin/false" }
  tool_path { name: "ld" path: "/usr/bin/ld" }
  tool_path { name: "nm" path: "/usr/bin/nm" }
  tool_path { name: "objcopy" path: "/usr/bin/objcopy" }
  tool_path { name: "objdump" path: "/usr/bin/objdump" }
  tool_path { name: "strip" path: "/usr/bin/strip" }

  cxx_builtin_include_directory: "/usr/lib/gcc/"
  cxx_builtin_include_directory: "/usr/include"
  cxx_flag: "-std=c++11"
  unfiltered_cxx_flag: "-no-canonical-prefixes"
  unfiltered_cxx_flag: "-fno-canonical-system-headers"
  linker_flag: "-lstdc++"
  linker_flag: "-lm"
  linking_mode_flags { mode: DYNAMIC }
}
