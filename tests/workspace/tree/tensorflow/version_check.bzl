"""The oldest Bazel that will do."""

def _numbers(version):
    return tuple([int(part) for part in version.split(" ")[0].split(".")])

def check_bazel_version_at_least(minimum):
    """Ends the build where Bazel is older."""
    if _numbers(native.bazel_version) < _numbers(minimum):
        fail("\nCurrent Bazel version is {}, expected at least {}\n".format(native.bazel_version, minimum))
