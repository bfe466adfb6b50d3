#include "tensorflow/core/kernels/kernels.h"

#include <map>
#include <stdexcept>
#include <thread>

namespace tensorflow {
namespace {

std::map<std::string, Elementwise>& Registry() {
  static std::map<std::string, Elementwise> registry;
  return registry;
}

}  // namespace

Registered::Registered(const char* name, Elementwise kernel) { Registry()[name] = kernel; }

void Run(const std::string& name, const float* a, const float* b, int count, float* result) {
  const auto found = Registry().find(name);
  if (found == Registry().end()) {
    throw std::invalid_argument("there is no operation " + name);
  }
  const int half = count / 2;
  std::thread first(found->second, a, b, half, result);
  found->second(a + half, b + half, count - half, result + half);
  first.join();
}

}  // namespace tensorflow
