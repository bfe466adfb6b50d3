# The compiler wrappers carry the target's architecture, so no flag given on CMake's command line can lose NEON.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR $ENV{PIBUILD_CMAKE_PROCESSOR})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
# If the toolchain has Clang, it compiles C, that is, most of XNNPACK: its kernels then need fewer instructions.
find_program(CMAKE_C_COMPILER NAMES $ENV{PIBUILD_TRIPLE}-clang $ENV{PIBUILD_TRIPLE}-gcc REQUIRED)
set(CMAKE_CXX_COMPILER $ENV{PIBUILD_TRIPLE}-g++)
