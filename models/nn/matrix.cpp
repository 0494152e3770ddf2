#include "models/nn/matrix.h"

#include <dnnl.h>

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
  for (int64_t r = 0; r < to.rows; ++r) {
    float* row = to.row_range(r, 1).data;
    for (int64_t c = 0; c < to.columns; ++c) {
      const float value = from.data[c * from.stride + r];
      row[c] = onto == Onto::kItself ? row[c] + value : value;
    }
  }
}

}  // namespace fedclock::nn
