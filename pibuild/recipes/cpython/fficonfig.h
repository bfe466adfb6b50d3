/* What libffi's configure would find for any ARM Linux with GNU tools; hand-made because running it costs as much as
   compiling libffi four times. No FFI_EXEC_STATIC_TRAMP: it looks for its own code in /proc/self/maps, and an emulator
   or a static library is no place for that; closures get anonymous executable memory instead. */
#define FFI_MMAP_EXEC_WRIT 1
#define HAVE_ALLOCA_H 1
#define HAVE_AS_CFI_PSEUDO_OP 1
#define HAVE_MEMCPY 1
#define HAVE_MKSTEMP 1
#define HAVE_MMAP 1
#define HAVE_MMAP_ANON 1
#define HAVE_MMAP_FILE 1
#define SIZEOF_DOUBLE 8
#define SIZEOF_LONG_DOUBLE 8
#define SIZEOF_SIZE_T 4
#define STDC_HEADERS 1

#ifdef LIBFFI_ASM
#define FFI_HIDDEN(name) .hidden name
#else
#define FFI_HIDDEN __attribute__((visibility("hidden")))
#endif
