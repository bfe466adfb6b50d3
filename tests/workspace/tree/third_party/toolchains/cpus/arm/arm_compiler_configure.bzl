"""The cross compiler's description."""

def _arm_compiler_configure(repository_ctx):
    repository_ctx.template("CROSSTOOL", Label("//third_party/toolchains/cpus/arm:CROSSTOOL.tpl"))
    repository_ctx.symlink(repository_ctx.attr.build_file, "BUILD")

arm_compiler_configure = repository_rule(
    implementation = _arm_compiler_configure,
    attrs = {"build_file": attr.label()},
)
