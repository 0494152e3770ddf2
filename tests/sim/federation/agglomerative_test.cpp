#include "sim/federation/grouping/agglomerative.h"

#include <catch2/catch.hpp>
#include <cmath>


namespace fedclock::federation {
namespace {

Eigen::MatrixXd on_a_line(const std::vector<double>& places) {
  const auto n = static_cast<Eigen::Index>(places.size());
  Eigen::MatrixXd distances(n, n);
  for (Eigen::Index i = 0; i < n; ++i) {
    for (Eigen::Index j = 0; j < n; ++j) {
      distances(i, j) = std::abs(places[static_cast<size_t>(i)] - places[static_cast<size_t>(j)]);
    }
  }
  return distances;
}

TEST_CASE("average linkage by hand", "[unit]") {
  // 0, 10, 1, 4: first 0 and 1 (1 apart), then 4 joins them (mean of 4 and 3), then all.
  const Eigen::MatrixXd distances = on_a_line({0, 10, 1, 4});
  CHECK(average_linkage(distances, 4) == std::vector<int32_t>{0, 1, 2, 3});
  CHECK(average_linkage(distances, 3) == std::vector<int32_t>{0, 1, 0, 2});
  CHECK(average_linkage(distances, 2) == std::vector<int32_t>{0, 1, 0, 0});
  CHECK(average_linkage(distances, 1) == std::vector<int32_t>{0, 0, 0, 0});
  // The mean over pairs, and not the nearest pair: 6 is 3 from the end of {1, 3} and 4 from it on
  // average; 9.1 is 3.1 away.
  CHECK(average_linkage(on_a_line({1, 3, 6, 9.1}), 2) == std::vector<int32_t>{0, 0, 1, 1});
  // Of equals the first.
  CHECK(average_linkage(on_a_line({0, 1, 2}), 2) == std::vector<int32_t>{0, 0, 1});
}

TEST_CASE("the silhouette by hand", "[unit]") {
  // {0, 1}, {4}: of 0 a = 1, b = 4; of 1 a = 1, b = 3; 4 is alone.
  const Eigen::MatrixXd distances = on_a_line({0, 1, 4});
  CHECK(mean_silhouette(distances, {0, 0, 1}) == Approx((3.0 / 4 + 2.0 / 3 + 0) / 3));
  // {0, 4}, {1}: of 0 a = 4, b = 1; of 4 a = 4, b = 3.
  CHECK(mean_silhouette(distances, {0, 1, 0}) == Approx((-3.0 / 4 + 0 - 1.0 / 4) / 3));
  CHECK(mean_silhouette(on_a_line({2, 2, 2}), {0, 0, 1}) == 0);
}

TEST_CASE("as many clusters as there are heaps", "[unit]") {
  for (int heaps = 2; heaps <= 5; ++heaps) {
    std::vector<double> places;
    std::vector<int32_t> expected;
    for (int32_t i = 0; i < 20; ++i) {
      places.push_back(10 * (i % heaps) + 0.1 * (i / heaps));
      expected.push_back(i % heaps);
    }
    CHECK(best_clusters(on_a_line(places), 8) == expected);
    if (heaps > 2) {  // fewer are allowed: neighbours are joined
      const auto fewer = best_clusters(on_a_line(places), heaps - 1);
      CHECK(std::ranges::max(fewer) + 1 <= heaps - 1);
    }
  }
  CHECK(best_clusters(on_a_line({0, 5}), 8) == std::vector<int32_t>{0, 1});
  CHECK(best_clusters(on_a_line({3}), 8) == std::vector<int32_t>{0});
  CHECK(best_clusters(on_a_line({0, 5, 9}), 1) == std::vector<int32_t>{0, 0, 0});
}

}  // namespace
}  // namespace fedclock::federation
