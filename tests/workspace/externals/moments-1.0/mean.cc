#include <numeric>

#include "moments.h"

namespace moments {

float Mean(const std::vector<float>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / values.size();
}

}  // namespace moments
