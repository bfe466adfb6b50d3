"""Everything from outside: archives by their sha256, the compiler, and the Python that the wheel is for."""

load("//third_party:repo.bzl", "tf_http_archive")
load("//third_party/py:python_configure.bzl", "python_configure")
load("//third_party/toolchains/cpus/arm:arm_compiler_configure.bzl", "arm_compiler_configure")

def tf_workspace():
    """Defines them."""
    native.new_local_repository(
        name = "arm_compiler",
        build_file = "//:arm_compiler.BUILD",
        path = "/opt/pibuild/toolchain",
    )

    arm_compiler_configure(
        name = "local_config_arm_compiler",
        build_file = "//third_party/toolchains/cpus/arm:BUILD",
    )

    python_configure(name = "local_config_python")

    tf_http_archive(
        name = "six_archive",
        build_file = "//third_party:six.BUILD",
        sha256 = "105f8d68616f8248e24bf0e9372ef04d3cc10104f1980f54d57b2ce73a5ad56a",
        strip_prefix = "six-1.10.0",
        urls = [
            "https://mirror.example.org/six/six-1.10.0.tar.gz",
            "https://example.org/six/six-1.10.0.tar.gz",
        ],
    )

    # Its sha256 is that of an archive that nobody has: it is packed from a tree, and pinned again.
    tf_http_archive(
        name = "moments",
        build_file = "//third_party/moments:moments.BUILD",
        sha256 = "1111111111111111111111111111111111111111111111111111111111111111",
        strip_prefix = "moments-1.0",
        urls = [
            "https://mirror.example.org/moments/archive/v1.0.tar.gz",
            "https://example.org/moments/archive/v1.0.tar.gz",
        ],
    )
