#ifndef MOMENTS_H_
#define MOMENTS_H_

#include <vector>

namespace moments {

float Mean(const std::vector<float>& values);
float Variance(const std::vector<float>& values);

}  // namespace moments

#endif  // MOMENTS_H_
