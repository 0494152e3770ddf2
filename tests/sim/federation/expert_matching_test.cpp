// RSEA's program against brute force, and its scores against hand arithmetic.
#include "sim/federation/assignment/expert_matching.h"

#include <rapidcheck.h>
#include <catch2/catch.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "models/common/random.h"

namespace fedclock::federation {
namespace {

Eigen::MatrixXd random_scores(int64_t experts, int64_t clients, Random& random) {
  Eigen::MatrixXd affinity(experts, clients);
  for (int64_t i = 0; i < experts; ++i) {
    for (int64_t j = 0; j < clients; ++j) affinity(i, j) = random.normal();
  }
  return softmax_over_clients(affinity);
}

double sum_of(const Eigen::MatrixXd& scores, const std::vector<std::vector<int32_t>>& matched) {
  double sum = 0;
  for (size_t j = 0; j < matched.size(); ++j) {
    for (const int32_t i : matched[j]) sum += scores(i, static_cast<Eigen::Index>(j));
  }
  return sum;
}

bool fits(const std::vector<std::vector<int32_t>>& matched, int64_t experts,
          const ExpertBounds& bounds) {
  std::vector<int64_t> chosen(static_cast<size_t>(experts), 0);
  for (const std::vector<int32_t>& own : matched) {
    const auto count = std::ssize(own);
    if (count < bounds.least || count > bounds.most) return false;
    if (!std::is_sorted(own.begin(), own.end())) return false;
    if (std::adjacent_find(own.begin(), own.end()) != own.end()) return false;
    for (const int32_t i : own) ++chosen[static_cast<size_t>(i)];
  }
  return std::ranges::all_of(chosen, [&](int64_t c) { return c == bounds.choices; });
}

// The best sum over all 0/1 matrices, expert by expert.
double best_sum(const Eigen::MatrixXd& scores, const ExpertBounds& bounds, int64_t expert,
                std::vector<int64_t>& load) {
  if (expert == scores.rows()) {
    const bool enough = std::ranges::all_of(load, [&](int64_t l) { return l >= bounds.least; });
    return enough ? 0 : -1e9;
  }
  double best = -1e9;
  for (uint32_t set = 0; set < (1U << load.size()); ++set) {
    if (__builtin_popcount(set) != bounds.choices) continue;
    double sum = 0;
    bool possible = true;
    for (size_t j = 0; j < load.size(); ++j) {
      if ((set >> j & 1U) == 0) continue;
      sum += scores(expert, static_cast<Eigen::Index>(j));
      possible = ++load[j] <= bounds.most && possible;
    }
    if (possible) best = std::max(best, sum + best_sum(scores, bounds, expert + 1, load));
    for (size_t j = 0; j < load.size(); ++j) load[j] -= set >> j & 1U;
  }
  return best;
}

TEST_CASE("experts choose clients: as good as the best of all choices") {
  int64_t compared = 0;
  CHECK(rc::check("small programs, with bounds that bind", [&](uint64_t seed) {
    Random random(seed, "test: matching");
    const auto experts = 1 + static_cast<int64_t>(random.below(5));
    const auto clients = 1 + static_cast<int64_t>(random.below(4));
    const ExpertBounds bounds{.choices = 1 + static_cast<int64_t>(random.below(3)),
                              .least = static_cast<int64_t>(random.below(4)),
                              .most = 1 + static_cast<int64_t>(random.below(5))};
    const Eigen::MatrixXd scores = random_scores(experts, clients, random);
    std::vector<int64_t> load(static_cast<size_t>(clients), 0);
    const double best = best_sum(scores, bounds, 0, load);
    RC_ASSERT(can_match(experts, clients, bounds) == (best > -1e8));
    if (best < -1e8) return;
    const auto matched = match_experts(scores, bounds);
    RC_ASSERT(fits(matched, experts, bounds));
    RC_ASSERT(std::abs(sum_of(scores, matched) - best) < 1e-10);
    RC_ASSERT(matched == match_experts(scores, bounds));
    ++compared;
  }));
  CHECK(compared > 20);
}

TEST_CASE("experts choose clients: of equal scores always the same") {
  const Eigen::MatrixXd flat = Eigen::MatrixXd::Constant(6, 4, 0.25);
  const ExpertBounds bounds{.choices = 2, .least = 2, .most = 4};
  const auto matched = match_experts(flat, bounds);
  // What the solver gives: a change of it changes runs.
  const std::vector<std::vector<int32_t>> kept = {{0, 3}, {1, 2, 4, 5}, {3, 4}, {0, 1, 2, 5}};
  CHECK(matched == kept);
  CHECK(fits(matched, 6, bounds));
  for (int repeat = 0; repeat < 5; ++repeat) CHECK(match_experts(flat, bounds) == matched);
}

TEST_CASE("experts choose clients: a score that is no number stops nothing") {
  Eigen::MatrixXd scores = Eigen::MatrixXd::Constant(3, 3, std::nan(""));
  const ExpertBounds bounds{.choices = 2, .least = 2, .most = 2};
  CHECK(fits(match_experts(scores, bounds), 3, bounds));
  // One client's training ran away: it scores nothing, the others as if it were not there.
  Eigen::MatrixXd affinity(1, 3);
  affinity << std::log(3.0), std::nan(""), 0;
  const Eigen::MatrixXd without = softmax_over_clients(affinity);
  CHECK(without(0, 0) == Approx(0.75));
  CHECK(without(0, 1) == 0);
  CHECK(without(0, 2) == Approx(0.25));
}

// FedAMoLE's size and more: how long a module takes is printed, and judged by whoever reads it.
TEST_CASE("experts choose clients: thirty experts of fifty clients") {
  Random random(1, "test: matching");
  const Eigen::MatrixXd scores = random_scores(30, 50, random);
  const ExpertBounds bounds{.choices = 4, .least = 2, .most = 8};
  const auto start = std::chrono::steady_clock::now();
  for (int repeat = 0; repeat < 20; ++repeat)
    CHECK(fits(match_experts(scores, bounds), 30, bounds));
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
  WARN("30 experts x 50 clients: " << took.count() / 20 << " ms a module");
}

// Two experts, two clients, rank 4: a = e t^T / 2.
TEST_CASE("experts' scores by hand") {
  Eigen::MatrixXd e(2, 4), t(2, 4);
  e << 2, 0, 0, 0, 0, 1, 0, 0;
  t << std::log(3.0), 0, 0, 0, 0, 2 * std::log(4.0), 0, 0;
  // Expert 0: a = (ln 3, 0); expert 1: a = (0, ln 4).
  const Eigen::MatrixXd scores = expert_scores(e, t);
  CHECK(scores(0, 0) == Approx(3.0 / 4));
  CHECK(scores(0, 1) == Approx(1.0 / 4));
  CHECK(scores(1, 0) == Approx(1.0 / 5));
  CHECK(scores(1, 1) == Approx(4.0 / 5));
  // One choice each, one or two experts a client: 3/4 + 4/5.
  const auto matched = match_experts(scores, {.choices = 1, .least = 1, .most = 2});
  CHECK(matched == std::vector<std::vector<int32_t>>{{0}, {1}});
  // Both choose both.
  const auto both = match_experts(scores, {.choices = 2, .least = 2, .most = 2});
  CHECK(both == std::vector<std::vector<int32_t>>{{0, 1}, {0, 1}});
}

}  // namespace
}  // namespace fedclock::federation
