// flatc with the languages that LiteRT's build writes: C++ and Python.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "flatbuffers/code_generator.h"
#include "flatbuffers/flatc.h"
#include "idl_gen_cpp.h"
#include "idl_gen_python.h"

namespace flatbuffers {
void LogCompilerWarn(const std::string& text) { std::fprintf(stderr, "warning: %s\n", text.c_str()); }
void LogCompilerError(const std::string& text) {
  std::fprintf(stderr, "error: %s\n", text.c_str());
  std::exit(1);
}
// No schema here has services.
bool GenerateCppGRPC(const Parser&, const std::string&, const std::string&) { return false; }
bool GeneratePythonGRPC(const Parser&, const std::string&, const std::string&) { return false; }
}  // namespace flatbuffers

int main(int argc, const char** argv) {
  flatbuffers::FlatCompiler::InitParams params;
  params.warn_fn = [](const flatbuffers::FlatCompiler*, const std::string& text, bool) {
    flatbuffers::LogCompilerWarn(text);
  };
  params.error_fn = [](const flatbuffers::FlatCompiler*, const std::string& text, bool, bool) {
    flatbuffers::LogCompilerError(text);
  };
  flatbuffers::FlatCompiler compiler(params);
  compiler.RegisterCodeGenerator(flatbuffers::FlatCOption{"c", "cpp", "", "write C++"}, flatbuffers::NewCppCodeGenerator());
  compiler.RegisterCodeGenerator(flatbuffers::FlatCOption{"p", "python", "", "write Python"}, flatbuffers::NewPythonCodeGenerator());
  return compiler.Compile(compiler.ParseFromCommandLineArguments(argc, argv));
}
