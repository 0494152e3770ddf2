#include "models/nn/attention.h"

#include <algorithm>
#include <cmath>

#include "models/common/error.h"
#include "models/nn/passes.h"

namespace fedclock::nn {

namespace {

// One head of one sequence: its columns of q, k and v [tokens, head_width].
struct Head {
  Matrix q, k, v;
};

Head head_of(const Architecture& a, const Matrix& qkv, int64_t first, int64_t tokens,
             int64_t head) {
  const Matrix rows = qkv.row_range(first, tokens);
  const int64_t kv_head = head / (a.heads / a.kv_heads);
  return {rows.column_range(head * a.head_width, a.head_width),
          rows.column_range((a.heads + kv_head) * a.head_width, a.head_width),
          rows.column_range((a.heads + a.kv_heads + kv_head) * a.head_width, a.head_width)};
}

float score_scale(const Architecture& a) {
  return static_cast<float>(1.0 / std::sqrt(static_cast<double>(a.head_width)));
}

int64_t longest(Offsets offsets) {
  int64_t tokens = 0;
  for (size_t s = 0; s + 1 < offsets.size(); ++s) {
    tokens = std::max(tokens, offsets[s + 1] - offsets[s]);
  }
  return tokens;
}

}  // namespace

int64_t attention_weights_size(const Architecture& a, Offsets offsets) {
  int64_t size = 0;
  for (size_t s = 0; s + 1 < offsets.size(); ++s) {
    const int64_t tokens = offsets[s + 1] - offsets[s];
    size += a.heads * tokens * tokens;
  }
  return size;
}

void attention(const Architecture& a, Offsets offsets, const Matrix& qkv, Matrix mixed,
               float* weights, Arena& arena) {
  const Arena::Mark mark = arena.mark();
  const int64_t most = longest(offsets);
  float* scratch = weights == nullptr ? arena.take(most * most) : nullptr;
  for (size_t s = 0; s + 1 < offsets.size(); ++s) {
    const int64_t first = offsets[s], tokens = offsets[s + 1] - first;
    for (int64_t head = 0; head < a.heads; ++head) {
      const Head h = head_of(a, qkv, first, tokens, head);
      const Matrix p(weights == nullptr ? scratch : weights, tokens, tokens);
      multiply(h.q, h.k.t(), p);
      softmax(tokens, tokens, a.kind == Kind::kDecoder, score_scale(a), p.data);
      multiply(p, h.v,
               mixed.row_range(first, tokens).column_range(head * a.head_width, a.head_width));
      if (weights != nullptr) weights += tokens * tokens;
    }
  }
  arena.rewind(mark);
}

void attention_onward(const Architecture& a, Offsets offsets, int64_t layer, const Matrix& qkv,
                      Matrix mixed, Sequences& past, Arena& arena) {
  ensure(a.kind == Kind::kDecoder, "an encoder's tokens see what follows them");
  const int64_t query_width = a.heads * a.head_width, kv_width = a.kv_heads * a.head_width;
  for (int64_t s = 0; s < past.count(); ++s) {
    const int64_t first = offsets[s], tokens = offsets[s + 1] - first;
    const Matrix own = qkv.row_range(first, tokens);
    past.add(layer, s, own.column_range(query_width, 2 * kv_width));
    const Matrix kept = past.keys_and_values(layer, s);
    const Arena::Mark mark = arena.mark();
    const Matrix p = arena.matrix(tokens, kept.rows);
    for (int64_t head = 0; head < a.heads; ++head) {
      const int64_t kv = head / (a.heads / a.kv_heads) * a.head_width;
      multiply(own.column_range(head * a.head_width, a.head_width),
               kept.column_range(kv, a.head_width).t(), p);
      softmax(tokens, kept.rows, /*causal=*/true, score_scale(a), p.data);
      multiply(p, kept.column_range(kv_width + kv, a.head_width),
               mixed.row_range(first, tokens).column_range(head * a.head_width, a.head_width));
    }
    arena.rewind(mark);
  }
}

// With P = softmax(s Q K^T) and O = P V:
//   dV = P^T dO, dP = dO V^T, dS = s P (dP - rowsum(P dP)), dQ = dS K, dK = dS^T Q.
void attention_backward(const Architecture& a, Offsets offsets, const Matrix& qkv,
                        const float* weights, const Matrix& d_mixed, Matrix d_qkv, Arena& arena) {
  const Arena::Mark mark = arena.mark();
  const int64_t most = longest(offsets);
  float* scratch = arena.take(most * most);
  const int64_t sharers = a.heads / a.kv_heads;
  for (size_t s = 0; s + 1 < offsets.size(); ++s) {
    const int64_t first = offsets[s], tokens = offsets[s + 1] - first;
    for (int64_t head = 0; head < a.heads; ++head) {
      const Head h = head_of(a, qkv, first, tokens, head);
      const Head d = head_of(a, d_qkv, first, tokens, head);
      const Matrix d_out =
          d_mixed.row_range(first, tokens).column_range(head * a.head_width, a.head_width);
      const ConstMatrix p{weights, tokens, tokens, tokens, false};
      const Matrix d_scores(scratch, tokens, tokens);
      // Query heads that share a key head add up in it.
      const Onto onto = head % sharers == 0 ? Onto::kNothing : Onto::kItself;
      multiply(p.t(), d_out, d.v, 1, onto);
      multiply(d_out, h.v.t(), d_scores);
      softmax_backward(tokens, a.kind == Kind::kDecoder, score_scale(a), weights, scratch);
      multiply(d_scores, h.k, d.q);
      multiply(d_scores.t(), h.q, d.k, 1, onto);
      weights += tokens * tokens;
    }
  }
  arena.rewind(mark);
}

}  // namespace fedclock::nn
