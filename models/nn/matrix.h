// Products of float32 matrices, row-major, with strides: oneDNN's sgemm. It is faster than OpenBLAS
// on the shapes of small transformers (by 15 % on 1024 x 128 x 128 to 512, more where one side is
// an adapter's rank), and its blocking depends on the instruction set alone, not on cache sizes, so
// that equal instruction sets give equal bits.
#pragma once

#include <cstdint>

namespace fedclock::nn {

// A view of values that are read. `transposed` swaps rows and columns: the stored matrix is
// [columns, rows].
struct ConstMatrix {
  const float* data = nullptr;
  int64_t rows = 0, columns = 0;
  int64_t stride = 0;  // from a stored row to the next
  bool transposed = false;

  ConstMatrix t() const { return {data, columns, rows, stride, !transposed}; }
};

// A view of values that are written.
struct Matrix {
  float* data = nullptr;
  int64_t rows = 0, columns = 0;
  int64_t stride = 0;

  Matrix() = default;
  Matrix(float* values, int64_t n, int64_t width) : Matrix(values, n, width, width) {}
  Matrix(float* values, int64_t n, int64_t width, int64_t row_stride)
      : data(values), rows(n), columns(width), stride(row_stride) {}

  operator ConstMatrix() const { return {data, rows, columns, stride, false}; }
  ConstMatrix t() const { return ConstMatrix(*this).t(); }
  // `count` columns from `first` on; rows alike.
  Matrix column_range(int64_t first, int64_t count) const {
    return {data + first, rows, count, stride};
  }
  Matrix row_range(int64_t first, int64_t count) const {
    return {data + first * stride, count, columns, stride};
  }
};

enum class Onto { kNothing, kItself };  // c = a b, or c = c + a b

// c <- scale * a b (+ c). ProgrammerError where the shapes do not fit.
void multiply(ConstMatrix a, ConstMatrix b, Matrix c, float scale = 1, Onto onto = Onto::kNothing);

// to [n, m] <- from [m, n] turned over (+ to).
void transpose(const Matrix& from, Matrix to, Onto onto);

}  // namespace fedclock::nn
