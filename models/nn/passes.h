// The elementwise passes of a transformer's layers over float32 rows, forward and backward, each
// reading and writing memory once. All matrices are row-major.
//
// Written in vectors, of AVX-512 where oneDNN may use it too, of AVX2 otherwise: what pins oneDNN's
// instruction set (ONEDNN_MAX_CPU_ISA, before it loads) pins these.
#pragma once

#include <cstdint>

#include "models/nn/architecture.h"

namespace fedclock::nn {

// Of a norm's rows: what its backward pass needs beside its input.
struct NormRows {
  float* mean = nullptr;     // [n]; left alone by RMS norms
  float* inverse = nullptr;  // [n]: 1 / standard deviation, or 1 / root mean square
};

struct NormParameters {
  Norm kind = Norm::kLayerNorm;
  float epsilon = 0;
  const float* weight = nullptr;  // [width]
  const float* bias = nullptr;    // [width] or none
};

// sum <- residual + branch + bias, normed <- norm(sum); [n, width] each. `branch` and `bias`
// [width] may be absent; `sum` may be `residual` or `branch`, or absent; without it `normed` may be
// `residual`.
void residual_norm(const NormParameters& norm, int64_t n, int64_t width, const float* residual,
                   const float* branch, const float* bias, float* sum, float* normed,
                   NormRows rows);

// d_input <- gradient of the norm's input, + `addend` where there is one; [n, width] each. d_input
// may be `d_normed` or `addend`.
void norm_backward(const NormParameters& norm, int64_t n, int64_t width, const float* input,
                   NormRows rows, const float* d_normed, const float* addend, float* d_input);

// x [n, width] += bias [width].
void add_bias(int64_t n, int64_t width, const float* bias, float* x);

// Of the feed-forward block: inner [n, ffn] <- act(up + bias), and up <- act'(up + bias). SwiGLU:
// `up` is [n, 2 ffn], the up map's output, then the gate's; inner <- silu(gate) up, and both halves
// become the product's derivatives. `bias` [columns of up] may be absent. With `keep_slopes` false
// `up` is left as it is.
void activation(Activation activation, int64_t n, int64_t ffn_width, const float* bias, float* up,
                float* inner, bool keep_slopes);

// slopes [n, parts * ffn] *= d_inner [n, ffn], in each part.
void activation_backward(int64_t n, int64_t ffn_width, int64_t parts, const float* d_inner,
                         float* slopes);

// Each row of scores [n, columns] <- softmax(scale * row); where `causal`, over the elements up to
// that of its own token, the rows being the last n of `columns` tokens: the others become 0.
void softmax(int64_t n, int64_t columns, bool causal, float scale, float* scores);
// d_scores <- scale * p * (d_scores - sum(p * d_scores)), row by row.
void softmax_backward(int64_t tokens, bool causal, float scale, const float* p, float* d_scores);

// Rotary positions (2104.09864): rotates the two halves of each of the first `heads` heads of rows
// x [tokens, stride] by the angles of cos and sin [tokens, head_width / 2]; backwards where
// `inverse`.
void rotate_heads(int64_t tokens, int64_t heads, int64_t head_width, int64_t stride,
                  const float* cos, const float* sin, bool inverse, float* x);

// Rounds to bfloat16, to nearest, ties to even. Quiet NaNs stay NaN.
void to_bf16(int64_t size, const float* from, uint16_t* to);

// Cross entropy of rows of scores [n, classes]: losses[i] <- -log p of the row's target; scores <-
// weight * (softmax - one-hot), the gradient of `weight` times the losses' sum. Returns how many
// targets score highest (the first of equals). Without `gradient` the scores stay as they are.
int64_t cross_entropy(int64_t n, int64_t classes, const int32_t* targets, float weight,
                      bool gradient, float* scores, double* losses);

// Whether AVX-512 is what they run in here.
bool wide_lanes();

// All of them, of one vector width.
struct PassTable {
  decltype(nn::residual_norm)* residual_norm;
  decltype(nn::norm_backward)* norm_backward;
  decltype(nn::add_bias)* add_bias;
  decltype(nn::activation)* activation;
  decltype(nn::activation_backward)* activation_backward;
  decltype(nn::softmax)* softmax;
  decltype(nn::softmax_backward)* softmax_backward;
  decltype(nn::rotate_heads)* rotate_heads;
  decltype(nn::to_bf16)* to_bf16;
  decltype(nn::cross_entropy)* cross_entropy;
};

// Compiled for either; whoever calls one of these himself makes sure that the processor has it.
namespace avx2 {
extern const PassTable kPasses;
}
namespace avx512 {
extern const PassTable kPasses;
}

}  // namespace fedclock::nn
