// Products of matrices: OpenBLAS's where it is, for a Pi without NEON.
#include "tensorflow/core/kernels/kernels.h"

#ifdef USE_OPENBLAS
#include "cblas.h"
#endif

namespace tensorflow {

void Product(const float* a, const float* b, int size, float* result) {
#ifdef USE_OPENBLAS
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, size, size, size, 1, a, size, b, size, 0, result, size);
#else
  for (int row = 0; row < size; ++row) {
    for (int column = 0; column < size; ++column) {
      float sum = 0;
      for (int i = 0; i < size; ++i) {
        sum += a[row * size + i] * b[i * size + column];
      }
      result[row * size + column] = sum;
    }
  }
#endif
}

}  // namespace tensorflow
