#include "models/nn/group_mixtures.h"

#include <algorithm>

#include "models/common/error.h"
#include "models/nn/adapters.h"
#include "models/nn/passes.h"
#include "models/nn/torch.h"

namespace fedclock::nn {

namespace {

// to [rows, columns] <- from
void copy(const Matrix& from, Matrix to) {
  for (int64_t r = 0; r < from.rows; ++r) {
    std::copy_n(from.row_range(r, 1).data, from.columns, to.row_range(r, 1).data);
  }
}

}  // namespace

GroupMixtures::GroupMixtures(const MapGroup& group, const AdapterSpec& spec,
                             const TensorMap& tensors)
    : scale_(static_cast<float>(spec.alpha / static_cast<double>(spec.rank))),
      top_experts_(spec.top_experts),
      in_(group.in()) {
  for (const MapGroup::Map& map : group.maps()) {
    const std::string name = layer_tensor(group.layer(), target_name(map.target));
    Mixture mixture{.module = {group.layer(), map.target},
                    .map = map,
                    .experts = {},
                    .router_name = router_name(name),
                    .router = {}};
    for (const int32_t number : experts_of(tensors, name)) {
      const std::string expert = expert_name(name, number);
      mixture.experts.push_back({expert + ".lora_a", expert + ".lora_b",
                                 matrix_of(tensors.at(expert + ".lora_a")),
                                 matrix_of(tensors.at(expert + ".lora_b"))});
    }
    if (mixture.experts.empty()) continue;
    mixture.router = matrix_of(tensors.at(mixture.router_name));
    mixture.first = columns_;
    for (const Expert& expert : mixture.experts) {
      ensure(expert.a.rows == mixture.rank() && expert.b.columns == mixture.rank(),
             "experts and router of different ranks");
    }
    columns_ += mixture.columns();
    mixtures_.push_back(std::move(mixture));
  }
}

bool GroupMixtures::wants(const TensorMap& gradients) const {
  return std::ranges::any_of(mixtures_, [&](const Mixture& mixture) {
    return gradients.contains(mixture.router_name) ||
           std::ranges::any_of(mixture.experts, [&](const Expert& expert) {
             return gradients.contains(expert.name_a) || gradients.contains(expert.name_b);
           });
  });
}

Matrix GroupMixtures::all_low_weights(Arena& arena) const {
  const Matrix all = arena.matrix(columns_, in_);
  for (const Mixture& mixture : mixtures_) {
    int64_t at = mixture.first;
    for (const Expert& expert : mixture.experts) {
      copy(expert.a, all.row_range(at, mixture.rank()));
      at += mixture.rank();
    }
    copy(mixture.router, all.row_range(at, mixture.rank()));
  }
  return all;
}

Matrix GroupMixtures::all_b(const Mixture& mixture, Arena& arena) const {
  const int64_t rank = mixture.rank();
  const Matrix all = arena.matrix(mixture.map.out, mixture.size() * rank);
  for (int64_t i = 0; i < mixture.size(); ++i) {
    copy(mixture.experts[i].b, all.column_range(i * rank, rank));
  }
  return all;
}

void GroupMixtures::forward(const Matrix& x, Matrix y, Arena& arena, MixtureTape* tape) const {
  if (empty()) return;
  const int64_t n = x.rows;
  const Matrix low = arena.matrix(n, columns_);
  std::vector<MixtureTape::Routing> routings;
  for (const Mixture& mixture : mixtures_) {
    routings.push_back({arena.matrix(n, mixture.size()), arena.matrix(n, mixture.size()),
                        arena.matrix(n, mixture.size() * mixture.rank()),
                        std::vector<int64_t>(mixture.experts.size(), 0)});
  }
  const Arena::Mark mark = arena.mark();
  multiply(x, all_low_weights(arena).t(), low);
  for (size_t m = 0; m < mixtures_.size(); ++m) {
    const Mixture& mixture = mixtures_[m];
    MixtureTape::Routing& routing = routings[m];
    const int64_t experts = mixture.size(), rank = mixture.rank();
    const float* e = low.data + mixture.first;
    routing_scores(n, experts, rank, low.stride, e, e + experts * rank, routing.p.data);
    choose_experts(n, experts, top_experts_, routing.p.data, routing.weights.data,
                   routing.counts.data());
    weigh_experts(n, experts, rank, low.stride, scale_, e, routing.weights.data,
                  routing.mixed.data);
    multiply(routing.mixed, all_b(mixture, arena).t(),
             y.column_range(mixture.map.first, mixture.map.out), 1, Onto::kItself);
  }
  arena.rewind(mark);
  if (tape != nullptr) *tape = {low, std::move(routings)};
}

void GroupMixtures::add_embedding_sums(const MixtureTape& tape, EmbeddingSums& sums) const {
  for (const Mixture& mixture : mixtures_) {
    std::vector<double>& sum = sums[mixture.module];
    sum.resize(static_cast<size_t>(mixture.columns()), 0);
    for (int64_t r = 0; r < tape.low.rows; ++r) {
      const float* row = tape.low.row_range(r, 1).data + mixture.first;
      for (int64_t i = 0; i < mixture.columns(); ++i) sum[static_cast<size_t>(i)] += row[i];
    }
  }
}

void GroupMixtures::b_gradients(const Mixture& mixture, const Matrix& mixed, const Matrix& d_y,
                                TensorMap& gradients, Onto onto, Arena& arena) const {
  const bool some = std::ranges::any_of(
      mixture.experts, [&](const Expert& expert) { return gradients.contains(expert.name_b); });
  if (!some) return;
  const Arena::Mark mark = arena.mark();
  // Turned over: a product with few rows is fast, one with few columns is not.
  const Matrix turned = arena.matrix(mixed.columns, mixture.map.out);
  multiply(Matrix(mixed).t(), d_y.column_range(mixture.map.first, mixture.map.out), turned);
  for (int64_t i = 0; i < mixture.size(); ++i) {
    const auto found = gradients.find(mixture.experts[i].name_b);
    if (found == gradients.end()) continue;
    transpose(turned.row_range(i * mixture.rank(), mixture.rank()), matrix_of(found->second), onto);
  }
  arena.rewind(mark);
}

// d_low [n, columns]: the columns of this mixture.
void GroupMixtures::low_gradient(const Mixture& mixture, const MixtureTape::Routing& routing,
                                 const Matrix& low, const Matrix& d_y, float balance, Matrix d_low,
                                 Arena& arena) const {
  const Arena::Mark mark = arena.mark();
  const int64_t n = d_y.rows, experts = mixture.size(), rank = mixture.rank();
  const Matrix d_mixed = arena.matrix(n, experts * rank);
  multiply(d_y.column_range(mixture.map.first, mixture.map.out), all_b(mixture, arena), d_mixed);
  const float* e = low.data + mixture.first;
  const float* t = e + experts * rank;
  float* d_e = d_low.data + mixture.first;
  float* d_t = d_e + experts * rank;
  const Matrix d_scores = arena.matrix(n, experts);
  weigh_experts_backward(n, experts, rank, low.stride, scale_, e, routing.weights.data,
                         d_mixed.data, d_e, d_scores.data);
  // d(n_experts sum_i P_i f_i) / dp_i of one token
  int64_t choices = 0;
  for (const int64_t count : routing.counts) choices += count;
  std::vector<float> slopes;
  for (const int64_t count : routing.counts) {
    const double share = static_cast<double>(count) / static_cast<double>(choices);
    slopes.push_back(static_cast<float>(balance * static_cast<double>(experts) * share /
                                        static_cast<double>(n)));
  }
  choose_experts_backward(n, experts, routing.p.data, routing.weights.data, slopes.data(),
                          d_scores.data);
  routing_scores_backward(n, experts, rank, low.stride, e, t, d_scores.data, d_e, d_t);
  arena.rewind(mark);
}

void GroupMixtures::low_weight_gradients(const Matrix& x, const Matrix& d_low, TensorMap& gradients,
                                         Onto onto, Arena& arena) const {
  const Arena::Mark mark = arena.mark();
  const Matrix all = arena.matrix(columns_, in_);
  multiply(d_low.t(), x, all);
  const auto put = [&](const std::string& name, int64_t first, int64_t rank) {
    const auto found = gradients.find(name);
    if (found == gradients.end()) return;
    const Matrix from = all.row_range(first, rank), to = matrix_of(found->second);
    if (onto == Onto::kNothing) return copy(from, to);
    add_bias(1, rank * in_, from.data, to.data);
  };
  for (const Mixture& mixture : mixtures_) {
    const int64_t rank = mixture.rank();
    for (int64_t i = 0; i < mixture.size(); ++i) {
      put(mixture.experts[i].name_a, mixture.first + i * rank, rank);
    }
    put(mixture.router_name, mixture.first + mixture.size() * rank, rank);
  }
  arena.rewind(mark);
}

void GroupMixtures::backward(const Matrix& x, const Matrix& d_y, float balance,
                             TensorMap& gradients, Onto onto, MixtureTape& tape,
                             Arena& arena) const {
  if (empty()) return;
  const Arena::Mark mark = arena.mark();
  const Matrix d_low = arena.matrix(x.rows, columns_);
  for (size_t m = 0; m < mixtures_.size(); ++m) {
    b_gradients(mixtures_[m], tape.routings[m].mixed, d_y, gradients, onto, arena);
    low_gradient(mixtures_[m], tape.routings[m], tape.low, d_y, balance, d_low, arena);
  }
  if (wants(gradients)) low_weight_gradients(x, d_low, gradients, onto, arena);
  copy(d_low, tape.low);
  arena.rewind(mark);
}

void GroupMixtures::add_input_gradient(const MixtureTape& tape, Matrix d_x, Arena& arena) const {
  if (empty()) return;
  const Arena::Mark mark = arena.mark();
  multiply(tape.low, all_low_weights(arena), d_x, 1, Onto::kItself);
  arena.rewind(mark);
}

}  // namespace fedclock::nn
