#include "models/nn/group_mixtures.h"

#include <algorithm>
#include <numeric>

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

// weights [n, experts] <- the sums of each expert's own of `taken` [n, scores].
void sum_scores(const Matrix& taken, const Matrix& weights) {
  copy(taken.column_range(0, weights.columns), weights);
  for (int64_t r = 0; r < taken.rows; ++r) {
    const float* from = taken.row_range(r, 1).data;
    float* to = weights.row_range(r, 1).data;
    for (int64_t score = weights.columns; score < taken.columns; ++score) {
      to[expert_of_score(score, weights.columns)] += from[score];
    }
  }
}

// Of each token's `chosen` scores the experts that they are of, and -1 in the place of one that the
// token has already.
void to_experts(int64_t chosen, int64_t experts, std::vector<int32_t>& choices) {
  for (auto token = choices.begin(); token != choices.end(); token += chosen) {
    for (auto choice = token; choice != token + chosen; ++choice) {
      *choice = static_cast<int32_t>(expert_of_score(*choice, experts));
      if (std::find(token, choice, *choice) != choice) *choice = -1;
    }
  }
}

}  // namespace

TokenList MixtureTape::Routing::tokens_of(int64_t expert) const {
  const auto i = static_cast<size_t>(expert);
  return {tokens.data() + begins[i], begins[i + 1] - begins[i]};
}

Matrix MixtureTape::Routing::of_tokens(const Matrix& rows, int64_t expert) const {
  const auto i = static_cast<size_t>(expert);
  return rows.row_range(begins[i], begins[i + 1] - begins[i]);
}

GroupMixtures::GroupMixtures(const MapGroup& group, const AdapterSpec& spec,
                             const TensorMap& tensors)
    : scale_(static_cast<float>(spec.alpha / static_cast<double>(spec.rank))),
      top_experts_(spec.top_experts),
      router_(spec.router),
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
    ensure(mixture.router.rows == router_rows(router_, mixture.rank(), mixture.size()),
           "a router for other experts");
    for (const Expert& expert : mixture.experts) {
      ensure(expert.a.rows == mixture.rank() && expert.b.columns == mixture.rank(),
             "experts of different ranks");
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
    copy(mixture.router, all.row_range(at, mixture.router.rows));
  }
  return all;
}

// Scores, choices and what of `low` [n, columns], the mixture's own, goes to B.
MixtureTape::Routing GroupMixtures::route(const Mixture& mixture, const Matrix& low,
                                          Arena& arena) const {
  const int64_t n = low.rows, experts = mixture.size(), rank = mixture.rank();
  const int64_t scores = router_scores(router_, experts);
  const int64_t chosen = taken_scores(router_, experts, top_experts_);
  MixtureTape::Routing routing{.p = arena.matrix(n, scores),
                               .taken = arena.matrix(n, scores),
                               .weights = {},
                               .tokens = {},
                               .begins = std::vector<int64_t>(static_cast<size_t>(experts + 1), 0),
                               .mixed = {}};
  std::vector<int32_t> choices(static_cast<size_t>(n * chosen));
  if (router_ == Router::kTokenProjection) {
    routing_scores(low, rank, routing.p);
  } else {
    copy(low.column_range(experts * rank, scores), routing.p);
  }
  choose_experts(chosen, routing.p, routing.taken, choices.data());
  routing.weights = routing.taken;
  if (scores > experts) {
    routing.weights = arena.matrix(n, experts);
    sum_scores(routing.taken, routing.weights);
    to_experts(chosen, experts, choices);
  }
  for (const int32_t expert : choices) {
    if (expert >= 0) ++routing.begins[static_cast<size_t>(expert) + 1];
  }
  std::partial_sum(routing.begins.begin(), routing.begins.end(), routing.begins.begin());
  routing.tokens.resize(static_cast<size_t>(routing.begins.back()));
  routing.mixed = arena.matrix(routing.begins.back(), rank);
  std::vector<int64_t> next = routing.begins;
  for (size_t choice = 0; choice < choices.size(); ++choice) {
    if (choices[choice] < 0) continue;
    const auto place = next[static_cast<size_t>(choices[choice])]++;
    routing.tokens[static_cast<size_t>(place)] =
        static_cast<int32_t>(static_cast<int64_t>(choice) / chosen);
  }
  for (int64_t i = 0; i < experts; ++i) {
    weigh(routing.tokens_of(i), scale_, low.column_range(i * rank, rank),
          routing.weights.column_range(i, 1), routing.of_tokens(routing.mixed, i));
  }
  return routing;
}

void GroupMixtures::forward(const Matrix& x, Matrix y, Arena& arena, MixtureTape* tape) const {
  if (empty()) return;
  const Matrix low = arena.matrix(x.rows, columns_);
  const Arena::Mark before_weights = arena.mark();
  multiply(x, all_low_weights(arena).t(), low);
  arena.rewind(before_weights);
  std::vector<MixtureTape::Routing> routings;
  for (const Mixture& mixture : mixtures_) {
    routings.push_back(route(mixture, low.column_range(mixture.first, mixture.columns()), arena));
    const MixtureTape::Routing& routing = routings.back();
    const Arena::Mark mark = arena.mark();
    const Matrix turned_b = arena.matrix(mixture.rank(), mixture.map.out);
    for (int64_t i = 0; i < mixture.size(); ++i) {
      transpose(mixture.experts[static_cast<size_t>(i)].b, turned_b, Onto::kNothing);
      add_expert(routing.tokens_of(i), routing.of_tokens(routing.mixed, i), turned_b,
                 y.column_range(mixture.map.first, mixture.map.out));
    }
    arena.rewind(mark);
  }
  if (tape != nullptr) *tape = {low, std::move(routings)};
}

void GroupMixtures::add_embedding_sums(const MixtureTape& tape, EmbeddingSums& sums) const {
  ensure(empty() || router_ == Router::kTokenProjection, "embeddings without a token projection");
  for (const Mixture& mixture : mixtures_) {
    std::vector<double>& sum = sums[mixture.module];
    sum.resize(static_cast<size_t>(mixture.columns()), 0);
    for (int64_t r = 0; r < tape.low.rows; ++r) {
      const float* row = tape.low.row_range(r, 1).data + mixture.first;
      for (int64_t i = 0; i < mixture.columns(); ++i) sum[static_cast<size_t>(i)] += row[i];
    }
  }
}

void GroupMixtures::b_gradients(const Mixture& mixture, const MixtureTape::Routing& routing,
                                const Matrix& d_y, TensorMap& gradients, Onto onto,
                                Arena& arena) const {
  const Arena::Mark mark = arena.mark();
  const Matrix turned = arena.matrix(mixture.rank(), mixture.map.out);
  for (int64_t i = 0; i < mixture.size(); ++i) {
    const auto found = gradients.find(mixture.experts[static_cast<size_t>(i)].name_b);
    if (found == gradients.end()) continue;
    expert_gradient(routing.tokens_of(i), routing.of_tokens(routing.mixed, i),
                    d_y.column_range(mixture.map.first, mixture.map.out), turned);
    transpose(turned, matrix_of(found->second), onto);
  }
  arena.rewind(mark);
}

// low [n, columns], of this mixture, becomes its own gradient.
void GroupMixtures::low_gradient(const Mixture& mixture, const MixtureTape::Routing& routing,
                                 const Matrix& d_y, float balance, const Matrix& low,
                                 Arena& arena) const {
  const Arena::Mark mark = arena.mark();
  const int64_t n = d_y.rows, experts = mixture.size(), rank = mixture.rank();
  const Matrix d_mixed = arena.matrix(routing.mixed.rows, rank);
  const int64_t scores = routing.p.columns;
  ensure(balance == 0 || scores == experts, "a load-balance loss of an adaptive router");
  const Matrix d_scores = arena.matrix(n, scores);
  std::fill_n(d_scores.data, n * scores, 0.0F);
  for (int64_t i = 0; i < experts; ++i) {
    expert_input_gradient(routing.tokens_of(i),
                          d_y.column_range(mixture.map.first, mixture.map.out),
                          mixture.experts[static_cast<size_t>(i)].b, routing.of_tokens(d_mixed, i));
    weigh_backward_weights(routing.tokens_of(i), scale_, low.column_range(i * rank, rank),
                           routing.of_tokens(d_mixed, i), d_scores.column_range(i, 1));
  }
  for (int64_t score = experts; score < scores; ++score) {
    copy(d_scores.column_range(expert_of_score(score, experts), 1),
         d_scores.column_range(score, 1));
  }
  // d(n_experts sum_i P_i f_i) / dp_i of one token
  std::vector<float> slopes(static_cast<size_t>(scores), 0.0F);
  for (int64_t i = 0; balance != 0 && i < experts; ++i) {
    const double share = static_cast<double>(routing.tokens_of(i).count) /
                         static_cast<double>(routing.tokens.size());
    slopes[static_cast<size_t>(i)] =
        static_cast<float>(balance * static_cast<double>(experts) * share / static_cast<double>(n));
  }
  choose_experts_backward(routing.p, routing.taken, slopes.data(), d_scores);
  if (router_ == Router::kTokenProjection) {
    routing_scores_backward(d_scores, rank, low);
  } else {
    for (int64_t r = 0; r < n; ++r) std::fill_n(low.row_range(r, 1).data, experts * rank, 0.0F);
    copy(d_scores, low.column_range(experts * rank, scores));
  }
  for (int64_t i = 0; i < experts; ++i) {
    weigh_backward_embeddings(routing.tokens_of(i), scale_, routing.weights.column_range(i, 1),
                              routing.of_tokens(d_mixed, i), low.column_range(i * rank, rank));
  }
  arena.rewind(mark);
}

void GroupMixtures::low_weight_gradients(const Matrix& x, const Matrix& d_low, TensorMap& gradients,
                                         Onto onto, Arena& arena) const {
  const Arena::Mark mark = arena.mark();
  const Matrix all = arena.matrix(columns_, in_);
  multiply(d_low.t(), x, all);
  const auto put = [&](const std::string& name, int64_t first, int64_t rows) {
    const auto found = gradients.find(name);
    if (found == gradients.end()) return;
    const Matrix from = all.row_range(first, rows), to = matrix_of(found->second);
    if (onto == Onto::kNothing) return copy(from, to);
    add_bias(1, rows * in_, from.data, to.data);
  };
  for (const Mixture& mixture : mixtures_) {
    const int64_t rank = mixture.rank();
    for (int64_t i = 0; i < mixture.size(); ++i) {
      put(mixture.experts[i].name_a, mixture.first + i * rank, rank);
    }
    put(mixture.router_name, mixture.first + mixture.size() * rank, mixture.router.rows);
  }
  arena.rewind(mark);
}

void GroupMixtures::backward(const Matrix& x, const Matrix& d_y, float balance,
                             TensorMap& gradients, Onto onto, MixtureTape& tape,
                             Arena& arena) const {
  if (empty()) return;
  for (size_t m = 0; m < mixtures_.size(); ++m) {
    const Mixture& mixture = mixtures_[m];
    b_gradients(mixture, tape.routings[m], d_y, gradients, onto, arena);
    low_gradient(mixture, tape.routings[m], d_y, balance,
                 tape.low.column_range(mixture.first, mixture.columns()), arena);
  }
  if (wants(gradients)) low_weight_gradients(x, tape.low, gradients, onto, arena);
}

void GroupMixtures::add_input_gradient(const MixtureTape& tape, Matrix d_x, Arena& arena) const {
  if (empty()) return;
  const Arena::Mark mark = arena.mark();
  multiply(tape.low, all_low_weights(arena), d_x, 1, Onto::kItself);
  arena.rewind(mark);
}

}  // namespace fedclock::nn
