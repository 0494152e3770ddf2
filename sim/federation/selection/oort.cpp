// Oort (Lai et al., arXiv 2010.06081, algorithm 1). With B_i the rows of client i, L its training
// losses of single rows, t_i its seconds, l_i the round of its last part, in round R:
//   util_i = min(|B_i| sqrt(mean L^2), clip) + sqrt(0.1 ln R / l_i), x (T / t_i)^alpha if t_i > T
// of clients seen before, `clip` the 0.9 quantile of the first terms. (1 - epsilon) of the places
// go to those of highest utility, drawn in proportion to it among all within 0.95 of the cut-off;
// epsilon of them to clients never seen, at random (the paper may favour quick ones, whose speed it
// is told; ours is not told anything). T starts at a quantile of the durations seen; every
// `pacer_rounds` rounds it rises by as much where the utility of those chosen has fallen.
#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "models/common/random.h"
#include "sim/federation/selection/selection.h"

namespace fedclock::federation {

namespace {

constexpr double kCutOff = 0.95;  // of the last place's utility, which still has a chance

// The value below which a share q of them lies, by rank.
double quantile(std::vector<double> values, double q) {
  const auto place = static_cast<size_t>(std::ceil(q * static_cast<double>(values.size()) - 1e-9) -
                                         (q > 0 ? 1 : 0));
  const auto at = values.begin() + static_cast<std::ptrdiff_t>(std::min(place, values.size() - 1));
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

class Oort : public Selection {
 public:
  Oort(const v1::SelectOort& answer, int32_t chosen, uint64_t seed, learning::Learner& learner)
      : answer_(answer), chosen_(chosen), seed_(seed), learner_(learner) {}

  int32_t usual(int32_t clients) const override { return std::min(chosen_, clients); }

  void observe(const Seen& seen) override { seen_[seen.client] = {seen, {}}; }

  std::vector<int32_t> choose(const Occasion& occasion, const std::vector<int32_t>& candidates,
                              int32_t count) override {
    Random random(seed_, "selection", static_cast<uint64_t>(occasion.round), occasion.key());
    std::vector<int32_t> known, unknown;
    for (const int32_t client : candidates) {
      (seen_.contains(client) ? known : unknown).push_back(client);
    }
    const auto places = std::min<int32_t>(count, static_cast<int32_t>(candidates.size()));
    const double epsilon =
        std::max(answer_.least_exploration(),
                 answer_.exploration() * std::pow(answer_.exploration_decay(),
                                                  static_cast<double>(occasion.round - 1)));
    auto exploring = static_cast<int32_t>(std::lround(epsilon * places));
    exploring = std::min<int32_t>(exploring, static_cast<int32_t>(unknown.size()));
    exploring = std::max<int32_t>(exploring, places - static_cast<int32_t>(known.size()));
    std::vector<int32_t> chosen = sample(random, unknown, exploring);
    const std::vector<int32_t> exploited =
        exploit(occasion.round, random, known, places - exploring);
    chosen.insert(chosen.end(), exploited.begin(), exploited.end());
    std::sort(chosen.begin(), chosen.end());
    return chosen;
  }

 private:
  struct Known {
    Seen seen;
    std::optional<double> statistical;  // |B_i| sqrt(mean L^2), once it was asked for
  };

  double statistical(Known& known) {
    if (!known.statistical) {
      const double squares = learner_.training_numbers(known.seen.update).mean_square_loss;
      // A training that diverged says nothing of what its rows are worth.
      known.statistical =
          std::isfinite(squares) ? static_cast<double>(known.seen.rows) * std::sqrt(squares) : 0;
    }
    return *known.statistical;
  }

  std::vector<int32_t> exploit(int64_t round, Random& random, const std::vector<int32_t>& clients,
                               int32_t count) {
    if (count <= 0) return {};
    std::vector<double> losses, durations;
    for (auto& [client, known] : seen_) {
      losses.push_back(statistical(known));
      durations.push_back(known.seen.seconds);
    }
    pace(round, durations);
    const double clip = quantile(losses, answer_.clip_quantile());
    struct Candidate {
      int32_t client;
      double utility;
    };
    std::vector<Candidate> ranked;
    for (const int32_t client : clients) {
      Known& known = seen_.at(client);
      double utility = std::min(statistical(known), clip) +
                       std::sqrt(0.1 * std::log(static_cast<double>(round)) /
                                 static_cast<double>(known.seen.round));
      if (known.seen.seconds > preferred_s_) {
        utility *= std::pow(preferred_s_ / known.seen.seconds, answer_.penalty());
      }
      ranked.push_back({client, utility});
    }
    std::stable_sort(ranked.begin(), ranked.end(),
                     [](const Candidate& a, const Candidate& b) { return a.utility > b.utility; });
    const double cut_off = kCutOff * ranked[static_cast<size_t>(count) - 1].utility;
    while (ranked.size() > static_cast<size_t>(count) && ranked.back().utility < cut_off) {
      ranked.pop_back();
    }
    std::vector<int32_t> chosen;
    for (int32_t place = 0; place < count; ++place) {
      double sum = 0;
      for (const Candidate& candidate : ranked) sum += candidate.utility;
      double drawn = random.uniform() * sum;
      size_t at = 0;
      while (at + 1 < ranked.size() && drawn >= ranked[at].utility) drawn -= ranked[at++].utility;
      chosen.push_back(ranked[at].client);
      exploited_ += std::min(statistical(seen_.at(ranked[at].client)), clip);
      ranked.erase(ranked.begin() + static_cast<std::ptrdiff_t>(at));
    }
    return chosen;
  }

  // The pacer: T rises where the last window of rounds brought less than the one before.
  void pace(int64_t round, const std::vector<double>& durations) {
    if (preferred_s_ == 0) {
      preferred_s_ = step_s_ = quantile(durations, answer_.round_threshold());
      window_start_ = round;
    }
    if (round - window_start_ < answer_.pacer_rounds()) return;
    if (last_window_ && *last_window_ > exploited_) preferred_s_ += step_s_;
    last_window_ = exploited_;
    exploited_ = 0;
    window_start_ = round;
  }

  v1::SelectOort answer_;
  int32_t chosen_;
  uint64_t seed_;
  learning::Learner& learner_;
  std::map<int32_t, Known> seen_;
  double preferred_s_ = 0, step_s_ = 0;  // T
  double exploited_ = 0;                 // utility of those chosen in this window of rounds
  std::optional<double> last_window_;
  int64_t window_start_ = 0;
};

}  // namespace

std::unique_ptr<Selection> select_oort(const v1::SelectOort& answer, int32_t chosen, uint64_t seed,
                                       learning::Learner& learner) {
  return std::make_unique<Oort>(answer, chosen, seed, learner);
}

}  // namespace fedclock::federation
