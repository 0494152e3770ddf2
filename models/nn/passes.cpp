#include "models/nn/passes.h"

#include <dnnl.h>

namespace fedclock::nn {

bool wide_lanes() {
  static const bool wide =
      (dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core) == dnnl_cpu_isa_avx512_core;
  return wide;
}

namespace {

const PassTable& passes() { return wide_lanes() ? avx512::kPasses : avx2::kPasses; }

}  // namespace

void residual_norm(const NormParameters& norm, int64_t n, int64_t width, const float* residual,
                   const float* branch, const float* bias, float* sum, float* normed,
                   NormRows rows) {
  passes().residual_norm(norm, n, width, residual, branch, bias, sum, normed, rows);
}

void norm_backward(const NormParameters& norm, int64_t n, int64_t width, const float* input,
                   NormRows rows, const float* d_normed, const float* addend, float* d_input) {
  passes().norm_backward(norm, n, width, input, rows, d_normed, addend, d_input);
}

void add_bias(int64_t n, int64_t width, const float* bias, float* x) {
  passes().add_bias(n, width, bias, x);
}

void activation(Activation activation, int64_t n, int64_t ffn_width, const float* bias, float* up,
                float* inner, bool keep_slopes) {
  passes().activation(activation, n, ffn_width, bias, up, inner, keep_slopes);
}

void activation_backward(int64_t n, int64_t ffn_width, int64_t parts, const float* d_inner,
                         float* slopes) {
  passes().activation_backward(n, ffn_width, parts, d_inner, slopes);
}

void softmax(int64_t n, int64_t columns, bool causal, float scale, float* scores) {
  passes().softmax(n, columns, causal, scale, scores);
}

void softmax_backward(int64_t tokens, bool causal, float scale, const float* p, float* d_scores) {
  passes().softmax_backward(tokens, causal, scale, p, d_scores);
}

void rotate_heads(int64_t tokens, int64_t heads, int64_t head_width, int64_t stride,
                  const float* cos, const float* sin, bool inverse, float* x) {
  passes().rotate_heads(tokens, heads, head_width, stride, cos, sin, inverse, x);
}

void to_bf16(int64_t size, const float* from, uint16_t* to) { passes().to_bf16(size, from, to); }

int64_t cross_entropy(int64_t n, int64_t classes, const int32_t* targets, float weight,
                      bool gradient, float* scores, double* losses) {
  return passes().cross_entropy(n, classes, targets, weight, gradient, scores, losses);
}

}  // namespace fedclock::nn
