#include "tensorflow/core/kernels/kernels.h"

namespace {

void Average(const float* a, const float* b, int count, float* result) {
  for (int i = 0; i < count; ++i) {
    result[i] = (a[i] + b[i]) / 2;
  }
}

const tensorflow::Registered registered("average", Average);

}  // namespace
