licenses(["notice"])

package(default_visibility = ["//visibility:public"])

cc_library(
    name = "python_headers",
    hdrs = [":python_include_files"],
    includes = ["python_include"],
)

cc_library(
    name = "numpy_headers",
    hdrs = [":numpy_include_files"],
    includes = ["numpy_include"],
)

%{PYTHON_INCLUDE}
%{NUMPY_INCLUDE}
