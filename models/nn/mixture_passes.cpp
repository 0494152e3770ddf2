#include "models/nn/mixture_passes.h"

#include "models/nn/passes.h"

namespace fedclock::nn {

namespace {

const MixturePassTable& passes() {
  return wide_lanes() ? avx512::kMixturePasses : avx2::kMixturePasses;
}

}  // namespace

void routing_scores(const Matrix& low, int64_t rank, const Matrix& scores) {
  passes().routing_scores(low, rank, scores);
}

void routing_scores_backward(const Matrix& d_scores, int64_t rank, const Matrix& low) {
  passes().routing_scores_backward(d_scores, rank, low);
}

void choose_experts(int64_t chosen, const Matrix& scores, const Matrix& weights, int32_t* choices) {
  passes().choose_experts(chosen, scores, weights, choices);
}

void choose_experts_backward(const Matrix& p, const Matrix& weights, const float* slopes,
                             const Matrix& d_weights) {
  passes().choose_experts_backward(p, weights, slopes, d_weights);
}

void weigh(TokenList tokens, float scale, const Matrix& e, const Matrix& w, const Matrix& mixed) {
  passes().weigh(tokens, scale, e, w, mixed);
}

void weigh_backward_weights(TokenList tokens, float scale, const Matrix& e, const Matrix& d_mixed,
                            const Matrix& d_w) {
  passes().weigh_backward_weights(tokens, scale, e, d_mixed, d_w);
}

void weigh_backward_embeddings(TokenList tokens, float scale, const Matrix& w,
                               const Matrix& d_mixed, const Matrix& d_e) {
  passes().weigh_backward_embeddings(tokens, scale, w, d_mixed, d_e);
}

void add_expert(TokenList tokens, const Matrix& mixed, const Matrix& turned_b, const Matrix& y) {
  passes().add_expert(tokens, mixed, turned_b, y);
}

void expert_gradient(TokenList tokens, const Matrix& mixed, const Matrix& d_y,
                     const Matrix& turned_d_b) {
  passes().expert_gradient(tokens, mixed, d_y, turned_d_b);
}

void expert_input_gradient(TokenList tokens, const Matrix& d_y, const Matrix& b,
                           const Matrix& d_mixed) {
  passes().expert_input_gradient(tokens, d_y, b, d_mixed);
}

}  // namespace fedclock::nn
