#include "moments.h"

namespace moments {

float Variance(const std::vector<float>& values) {
  const float mean = Mean(values);
  double sum = 0;
  for (const float value : values) {
    sum += (value - mean) * (value - mean);
  }
  return sum / values.size();
}

}  // namespace moments
