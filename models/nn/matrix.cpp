#include "models/nn/matrix.h"

#include <dnnl.h>
#include <xmmintrin.h>

#include "models/common/error.h"

namespace fedclock::nn {

void multiply(ConstMatrix a, ConstMatrix b, Matrix c, float scale, Onto onto) {
  ensure(a.columns == b.rows && a.rows == c.rows && b.columns == c.columns,
         "a product of matrices whose shapes do not fit");
  const dnnl_status_t status = dnnl_sgemm(
      a.transposed ? 'T' : 'N', b.transposed ? 'T' : 'N', c.rows, c.columns, a.columns, scale,
      a.data, a.stride, b.data, b.stride, onto == Onto::kItself ? 1.0F : 0.0F, c.data, c.stride);
  ensure(status == dnnl_success, "oneDNN refuses a matrix product");
}

void transpose(const Matrix& from, Matrix to, Onto onto) {
  const bool add = onto == Onto::kItself;
  const auto one = [&](int64_t r, int64_t c) {
    float& value = to.data[r * to.stride + c];
    const float turned = from.data[c * from.stride + r];
    value = add ? value + turned : turned;
  };
  // Blocks of four by four in registers, then what is left of rows and columns.
  const int64_t rows = to.rows / 4 * 4, columns = to.columns / 4 * 4;
  for (int64_t r = 0; r < rows; r += 4) {
    for (int64_t c = 0; c < columns; c += 4) {
      __m128 block[4];
      for (int64_t k = 0; k < 4; ++k)
        block[k] = _mm_loadu_ps(from.data + (c + k) * from.stride + r);
      _MM_TRANSPOSE4_PS(block[0], block[1], block[2], block[3]);
      for (int64_t k = 0; k < 4; ++k) {
        float* row = to.data + (r + k) * to.stride + c;
        _mm_storeu_ps(row, add ? _mm_add_ps(_mm_loadu_ps(row), block[k]) : block[k]);
      }
    }
    for (int64_t c = columns; c < to.columns; ++c) {
      for (int64_t k = 0; k < 4; ++k) one(r + k, c);
    }
  }
  for (int64_t r = rows; r < to.rows; ++r) {
    for (int64_t c = 0; c < to.columns; ++c) one(r, c);
  }
}

}  // namespace fedclock::nn
