"""The headers of the Python, and of its numpy, that the wheel is for."""

def _copied(repository_ctx, name, source, folder):
    """Gives a genrule that copies a folder of headers; its outputs are named, so C++ depends on nothing else."""
    found = repository_ctx.execute(["find", "-L", source, "-type", "f", "-name", "*.h"])
    if found.return_code or not found.stdout:
        fail("There are no headers in %s: %s" % (source, found.stderr))
    names = sorted([path[len(source) + 1:] for path in found.stdout.splitlines()])
    outs = "".join(['        "%s/%s",\n' % (folder, one) for one in names])
    copies = " && ".join(["cp -f %s/%s $(@D)/%s/%s" % (source, one, folder, one) for one in names])
    return 'genrule(\n    name = "%s",\n    outs = [\n%s    ],\n    cmd = """%s""",\n)\n' % (name, outs, copies)

def _python_configure(repository_ctx):
    environ = repository_ctx.os.environ
    repository_ctx.template("BUILD", Label("//third_party/py:BUILD.tpl"), {
        "%{PYTHON_INCLUDE}": _copied(repository_ctx, "python_include_files", environ["TARGET_PYTHON_INCLUDE"], "python_include"),
        "%{NUMPY_INCLUDE}": _copied(repository_ctx, "numpy_include_files", environ["TARGET_NUMPY_INCLUDE"] + "/numpy", "numpy_include/numpy"),
    })

python_configure = repository_rule(
    implementation = _python_configure,
    environ = [
        "TARGET_PYTHON_INCLUDE",
        "TARGET_NUMPY_INCLUDE",
    ],
)
