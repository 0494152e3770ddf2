// Products with a frozen matrix in bfloat16, summed in float32: oneDNN on processors with AMX, at
// several times the speed of float32. The frozen matrix is rounded and packed once; what is
// multiplied with it is rounded as it comes (to nearest, ties to even: relative error 2^-9).
#pragma once

#include <cstdint>
#include <memory>

#include "models/nn/arena.h"
#include "models/nn/matrix.h"

namespace fedclock::nn {

// Whether this processor, as far as oneDNN may use it, multiplies bfloat16 in hardware (AMX).
bool has_fast_bf16();

// For any number of threads.
class Bf16Weights {
 public:
  explicit Bf16Weights(ConstMatrix weights);  // [k, n], not transposed; copied
  ~Bf16Weights();
  Bf16Weights(Bf16Weights&&) noexcept;

  // y [m, n] (+)= x [m, k] times the weights; x without gaps between its rows. Runs on kRowsAtOnce
  // rows and on multiples of kRowBlock, the rest filled up: so few kernels are ever made.
  void multiply(const Matrix& x, Matrix y, Onto onto, Arena& arena) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fedclock::nn
