// What Python can call.
#ifndef TENSORFLOW_CORE_KERNELS_KERNELS_H_
#define TENSORFLOW_CORE_KERNELS_KERNELS_H_

#include <string>

namespace tensorflow {

// The sum of products, by NEON where the compiler has it.
float Dot(const float* a, const float* b, int count);

// The product of two square matrices, row by row.
void Product(const float* a, const float* b, int size, float* result);

using Elementwise = void (*)(const float* a, const float* b, int count, float* result);

// Registers an operation when the library is loaded.
struct Registered {
  Registered(const char* name, Elementwise kernel);
};

// Runs a registered operation in two threads; std::invalid_argument where there is none of that name.
void Run(const std::string& name, const float* a, const float* b, int count, float* result);

// The names that a program of the machine wrote, with a comma between them.
extern const char* const kNames;

// One of the 64 values of a sine wave that another one wrote.
extern const float kSines[64];

}  // namespace tensorflow

#endif  // TENSORFLOW_CORE_KERNELS_KERNELS_H_
