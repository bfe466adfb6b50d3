"""Files of the Python API, copied from what was made before."""

load("//third_party/api_files:api_files.bzl", "API_FILES")

# keep sorted
ESTIMATOR_API_INIT_FILES = [
    # BEGIN GENERATED ESTIMATOR FILES
    "__init__.py",
    # END GENERATED ESTIMATOR FILES
]

def gen_api_init_files(name, output_files, output_dir):
    """Makes the files of one folder."""
    prefix = native.package_name() + "/" + output_dir
    if [one for one in output_files if prefix + one not in API_FILES]:
        fail("There are no API files for " + prefix)
    native.genrule(
        name = name,
        srcs = ["//third_party/api_files:" + prefix + one for one in output_files],
        outs = [output_dir + one for one in output_files],
        cmd = "for f in $(SRCS); do cp $$f $(GENDIR)/$${f#third_party/api_files/}; done",
    )
