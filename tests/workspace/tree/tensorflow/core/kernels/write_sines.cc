// Writes a table of sines as C++, after a look at its mean: a library can be the machine's and the Pi's in one build.
#include <cmath>
#include <cstdio>
#include <vector>

#include "moments.h"

int main() {
  std::vector<float> sines;
  for (int i = 0; i < 64; ++i) {
    sines.push_back(std::sin(2 * M_PI * i / 64));
  }
  if (std::fabs(moments::Mean(sines)) > 1e-6) {
    std::fprintf(stderr, "a whole wave has a mean of %g\n", moments::Mean(sines));
    return 1;
  }
  std::printf("#include \"tensorflow/core/kernels/kernels.h\"\nnamespace tensorflow {\nconst float kSines[64] = {\n");
  for (const float sine : sines) {
    std::printf("  %.9e,\n", sine);
  }
  std::printf("};\n}\n");
}
