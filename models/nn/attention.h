// Scaled dot-product attention (1706.03762, equation 1) over rows of unequal lengths that lie one
// after another without padding, forward and backward. Heads are read where they are: nothing is
// transposed or copied. Grouped key and value heads (2305.13245) serve several query heads each.
#pragma once

#include <span>

#include "models/nn/architecture.h"
#include "models/nn/arena.h"
#include "models/nn/sequences.h"

namespace fedclock::nn {

// Sequence s holds tokens offsets[s] to offsets[s + 1] - 1.
using Offsets = std::span<const int64_t>;

// Floats that attention() keeps: for each head and sequence its tokens squared.
int64_t attention_weights_size(const Architecture& architecture, Offsets offsets);

// qkv [tokens, (heads + 2 kv_heads) * head_width] -> mixed [tokens, heads * head_width], and the
// softmax's outputs in `weights`, which hold attention_weights_size() floats; without `weights`
// nothing is kept.
void attention(const Architecture& architecture, Offsets offsets, const Matrix& qkv, Matrix mixed,
               float* weights, Arena& arena);

// The same for tokens that follow those of `past`, sequence by sequence; their keys and values are
// added there, in this layer. A decoder's: each token sees itself and all before it.
void attention_onward(const Architecture& architecture, Offsets offsets, int64_t layer,
                      const Matrix& qkv, Matrix mixed, Sequences& past, Arena& arena);

// d_mixed -> d_qkv, with what attention() read and kept.
void attention_backward(const Architecture& architecture, Offsets offsets, const Matrix& qkv,
                        const float* weights, const Matrix& d_mixed, Matrix d_qkv, Arena& arena);

}  // namespace fedclock::nn
