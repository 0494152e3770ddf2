// The passes of mixtures of LoRA experts over a batch of n tokens (FedAMoLE, 2411.19128; the
// layer's formulas are in group_mixtures.h), in vectors like those of passes.h. Products with B are
// those of the tokens that chose an expert, by lists of rows; each of their elements is added up in
// one order, whatever the width of the vectors.
#pragma once

#include <cstdint>

#include "models/nn/matrix.h"

namespace fedclock::nn {

// Of `low` [n, (experts + 1) * rank]: the embeddings e_1, e_2, ... of the experts, then the token's
// own t, [rank] each.

// scores [n, experts] <- <e_j, t> / sqrt(rank).
void routing_scores(const Matrix& low, int64_t rank, const Matrix& scores);
// low <- its gradient through the scores: d_e_j = d_scores_j t / sqrt(rank), d_t = sum_j d_scores_j
// e_j / sqrt(rank).
void routing_scores_backward(const Matrix& d_scores, int64_t rank, const Matrix& low);

// scores [n, experts] <- p = softmax(scores); choices [n, chosen] <- the `chosen` experts of
// largest p, the largest first (of equals the first); weights [n, experts] <- p of these,
// renormalised, 0 elsewhere. Stored without gaps.
void choose_experts(int64_t chosen, const Matrix& scores, const Matrix& weights, int32_t* choices);
// d_weights [n, experts] <- the scores' gradients: through the weights, and through p where
// d(loss)/dp_j is slopes_j [experts] for each token. Stored without gaps.
void choose_experts_backward(const Matrix& p, const Matrix& weights, const float* slopes,
                             const Matrix& d_weights);

// The tokens that chose an expert, ascending. A row c of `mixed` is that of token rows[c].
struct TokenList {
  const int32_t* rows = nullptr;
  int64_t count = 0;
};

// mixed [count, rank] <- scale w e, of the expert's columns e [n, rank] and w [n, 1].
void weigh(TokenList tokens, float scale, const Matrix& e, const Matrix& w, const Matrix& mixed);
// d_w of the tokens <- scale <d_mixed, e>.
void weigh_backward_weights(TokenList tokens, float scale, const Matrix& e, const Matrix& d_mixed,
                            const Matrix& d_w);
// d_e of the tokens += scale w d_mixed.
void weigh_backward_embeddings(TokenList tokens, float scale, const Matrix& w,
                               const Matrix& d_mixed, const Matrix& d_e);

// y [n, out] of the tokens += mixed b^T, of b turned over [rank, out].
void add_expert(TokenList tokens, const Matrix& mixed, const Matrix& turned_b, const Matrix& y);
// turned_d_b [rank, out] <- mixed^T d_y of the tokens.
void expert_gradient(TokenList tokens, const Matrix& mixed, const Matrix& d_y,
                     const Matrix& turned_d_b);
// d_mixed [count, rank] <- d_y of the tokens times b [out, rank].
void expert_input_gradient(TokenList tokens, const Matrix& d_y, const Matrix& b,
                           const Matrix& d_mixed);

// All of them, of one vector width.
struct MixturePassTable {
  decltype(nn::routing_scores)* routing_scores;
  decltype(nn::routing_scores_backward)* routing_scores_backward;
  decltype(nn::choose_experts)* choose_experts;
  decltype(nn::choose_experts_backward)* choose_experts_backward;
  decltype(nn::weigh)* weigh;
  decltype(nn::weigh_backward_weights)* weigh_backward_weights;
  decltype(nn::weigh_backward_embeddings)* weigh_backward_embeddings;
  decltype(nn::add_expert)* add_expert;
  decltype(nn::expert_gradient)* expert_gradient;
  decltype(nn::expert_input_gradient)* expert_input_gradient;
};

// Compiled for either; whoever calls one of these himself makes sure that the processor has it.
namespace avx2 {
extern const MixturePassTable kMixturePasses;
}
namespace avx512 {
extern const MixturePassTable kMixturePasses;
}

}  // namespace fedclock::nn
