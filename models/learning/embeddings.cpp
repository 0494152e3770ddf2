// Mean embeddings of experts and tokens, for the assignment of experts.
#include <algorithm>
#include <cmath>

#include "models/common/error.h"
#include "models/common/random.h"
#include "models/learning/state_function.h"
#include "models/nn/torch.h"

namespace fedclock::learning {

namespace {

// Of `size` values from `first` on.
double norm_of(const std::vector<double>& values, size_t first, size_t size) {
  double sum = 0;
  for (size_t i = first; i < first + size; ++i) sum += values[i] * values[i];
  return std::sqrt(sum);
}

class MeanEmbeddings : public StateFunction {
 public:
  MeanEmbeddings(Rows rows, const EmbeddingNoise& noise) : rows_(std::move(rows)), noise_(noise) {
    ensure(rows_ && !rows_->empty(), "mean_embeddings() needs rows");
  }
  const char* what() const override { return "mean embeddings"; }
  bool is_measure() const override { return true; }
  void add_to(DigestBuilder& name) const override {
    name.add(std::as_bytes(std::span(*rows_)));
    if (noise_.eta == 0) return;
    name.add(noise_.eta).add(noise_.seed).add(noise_.round).add(noise_.client);
  }

  Outcome operator()(const Inputs& inputs, const Task& task) const override {
    ensure(inputs.size() == 1, "mean_embeddings() is of a state");
    const LearningTask& on = task();
    const auto trunk = trunk_of(on);
    nn::TrunkPass pass(*trunk, on.adapter, *inputs.front());
    const auto rows = learning::rows_of(*on.train, *rows_);
    nn::EmbeddingSums sums;
    std::map<nn::Module, std::vector<double>> longest;  // of a row's means
    double tokens = 0;
    for (const EncodedRow* row : rows) {
      nn::PackedRows one;
      one.add(row->ids, row->types);
      pass.layers_above(one, 0, pass.layers_below(one, 0), /*record=*/true);
      nn::EmbeddingSums of_row;
      pass.add_embedding_sums(of_row);
      add(of_row, static_cast<double>(one.tokens()), on.adapter.rank, sums, longest);
      tokens += static_cast<double>(one.tokens());
    }
    Outcome outcome;
    Random random(noise_.seed, "embedding noise", static_cast<uint64_t>(noise_.round),
                  static_cast<uint64_t>(noise_.client));
    for (auto& [module, sum] : sums) {
      for (double& value : sum) value /= tokens;
      if (noise_.eta > 0) add_noise(longest.at(module), on.adapter.rank, random, sum);
      outcome.numbers.insert(outcome.numbers.end(), sum.begin(), sum.end());
    }
    return outcome;
  }

 private:
  static void add(const nn::EmbeddingSums& of_row, double tokens, int64_t rank,
                  nn::EmbeddingSums& sums, std::map<nn::Module, std::vector<double>>& longest) {
    const auto size = static_cast<size_t>(rank);
    for (const auto& [module, values] : of_row) {
      std::vector<double>& sum = sums[module];
      std::vector<double>& norms = longest[module];
      sum.resize(values.size(), 0);
      norms.resize(values.size() / size, 0);
      for (size_t i = 0; i < values.size(); ++i) sum[i] += values[i];
      for (size_t e = 0; e < norms.size(); ++e) {
        norms[e] = std::max(norms[e], norm_of(values, e * size, size) / tokens);
      }
    }
  }

  void add_noise(const std::vector<double>& longest, int64_t rank, Random& random,
                 std::vector<double>& means) const {
    const auto size = static_cast<size_t>(rank);
    for (size_t e = 0; e < longest.size(); ++e) {
      for (size_t k = 0; k < size; ++k) {
        double gamma = 0;  // of a whole shape: a sum of exponentials
        for (size_t i = 0; i < size; ++i) gamma -= std::log(1 - random.uniform()) / noise_.eta;
        means[e * size + k] += gamma * (2 * random.uniform() - 1);
      }
      const double norm = norm_of(means, e * size, size);
      if (norm <= longest[e]) continue;
      for (size_t k = 0; k < size; ++k) means[e * size + k] *= longest[e] / norm;
    }
  }

  const Rows rows_;
  const EmbeddingNoise noise_;
};

}  // namespace

Function mean_embeddings(const Rows& rows, const EmbeddingNoise& noise) {
  return std::make_shared<const MeanEmbeddings>(rows, noise);
}

}  // namespace fedclock::learning
