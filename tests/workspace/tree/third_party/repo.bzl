"""An archive from outside, with BUILD files of our own."""

def _tf_http_archive(ctx):
    ctx.download_and_extract(ctx.attr.urls, "", ctx.attr.sha256, "", ctx.attr.strip_prefix)
    ctx.symlink(ctx.attr.build_file, "BUILD.bazel")

tf_http_archive = repository_rule(
    implementation = _tf_http_archive,
    attrs = {
        "build_file": attr.label(mandatory = True),
        "sha256": attr.string(mandatory = True),
        "strip_prefix": attr.string(),
        "urls": attr.string_list(mandatory = True),
    },
)
