// Sums of products: blocks of four without a loop where there are few, as generated kernels are.
#include "tensorflow/core/kernels/kernels.h"

#ifdef __ARM_NEON
#include <arm_neon.h>
#endif

namespace tensorflow {
namespace {

#ifdef __ARM_NEON
struct Four {
  float32x4_t sums = vdupq_n_f32(0);
  void Add(const float* a, const float* b) { sums = vmlaq_f32(sums, vld1q_f32(a), vld1q_f32(b)); }
  float Sum() const {
    const float32x2_t halves = vadd_f32(vget_low_f32(sums), vget_high_f32(sums));
    return vget_lane_f32(vpadd_f32(halves, halves), 0);
  }
};
#else
struct Four {
  float sum = 0;
  void Add(const float* a, const float* b) { sum += a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3]; }
  float Sum() const { return sum; }
};
#endif

constexpr int kMostBlocks = 32;

template <int kBlocks>
struct Blocks {
  static inline __attribute__((always_inline)) void Add(const float* a, const float* b, Four* four) {
    four->Add(a, b);
    Blocks<kBlocks - 1>::Add(a + 4, b + 4, four);
  }
  static float Dot(const float* a, const float* b, int blocks) {
    if (blocks < kBlocks) {
      return Blocks<kBlocks - 1>::Dot(a, b, blocks);
    }
    Four four;
    Add(a, b, &four);
    return four.Sum();
  }
};

template <>
struct Blocks<0> {
  static void Add(const float*, const float*, Four*) {}
  static float Dot(const float*, const float*, int) { return 0; }
};

}  // namespace

float Dot(const float* a, const float* b, int count) {
  float sum = 0;
  int i = 0;
  while (i + 4 <= count) {
    const int left = (count - i) / 4, blocks = left < kMostBlocks ? left : kMostBlocks;
    sum += Blocks<kMostBlocks>::Dot(a + i, b + i, blocks);
    i += 4 * blocks;
  }
  for (; i < count; ++i) {
    sum += a[i] * b[i];
  }
  return sum;
}

}  // namespace tensorflow
