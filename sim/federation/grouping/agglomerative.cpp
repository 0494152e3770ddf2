#include "sim/federation/grouping/agglomerative.h"

#include <algorithm>
#include <limits>

#include "models/common/error.h"

namespace fedclock::federation {

namespace {

using Members = std::vector<Eigen::Index>;

double mean_distance(const Eigen::MatrixXd& distances, const Members& a, const Members& b) {
  return distances(a, b).mean();
}

// Ordered by their first members.
std::vector<Members> members_of(const std::vector<int32_t>& clusters) {
  std::vector<Members> members(static_cast<size_t>(std::ranges::max(clusters)) + 1);
  for (size_t i = 0; i < clusters.size(); ++i) {
    members[static_cast<size_t>(clusters[i])].push_back(static_cast<Eigen::Index>(i));
  }
  return members;
}

double silhouette(const Eigen::MatrixXd& distances, const std::vector<Members>& clusters,
                  size_t own, Eigen::Index member) {
  const Members& others = clusters[own];
  if (others.size() == 1) return 0;
  // The distance to itself is 0.
  const double a = distances(member, others).sum() / static_cast<double>(others.size() - 1);
  double b = std::numeric_limits<double>::infinity();
  for (size_t cluster = 0; cluster < clusters.size(); ++cluster) {
    if (cluster != own) b = std::min(b, distances(member, clusters[cluster]).mean());
  }
  return std::max(a, b) > 0 ? (b - a) / std::max(a, b) : 0;
}

}  // namespace

std::vector<int32_t> average_linkage(const Eigen::MatrixXd& distances, int64_t clusters) {
  const Eigen::Index n = distances.rows();
  ensure(clusters >= 1 && clusters <= n, "a number of clusters that cannot be");
  std::vector<Members> left;
  for (Eigen::Index i = 0; i < n; ++i) left.push_back({i});
  while (std::ssize(left) > clusters) {
    size_t first = 0, second = 1;
    double least = std::numeric_limits<double>::infinity();
    for (size_t i = 0; i < left.size(); ++i) {
      for (size_t j = i + 1; j < left.size(); ++j) {
        const double between = mean_distance(distances, left[i], left[j]);
        if (between < least) {
          least = between;
          first = i;
          second = j;
        }
      }
    }
    left[first].insert(left[first].end(), left[second].begin(), left[second].end());
    std::ranges::sort(left[first]);
    left.erase(left.begin() + static_cast<std::ptrdiff_t>(second));
  }
  std::vector<int32_t> of(static_cast<size_t>(n));
  for (size_t cluster = 0; cluster < left.size(); ++cluster) {
    for (const Eigen::Index i : left[cluster]) {
      of[static_cast<size_t>(i)] = static_cast<int32_t>(cluster);
    }
  }
  return of;
}

double mean_silhouette(const Eigen::MatrixXd& distances, const std::vector<int32_t>& clusters) {
  const std::vector<Members> members = members_of(clusters);
  ensure(members.size() >= 2, "the silhouette of a single cluster");
  double sum = 0;
  for (size_t i = 0; i < clusters.size(); ++i) {
    sum += silhouette(distances, members, static_cast<size_t>(clusters[i]),
                      static_cast<Eigen::Index>(i));
  }
  return sum / static_cast<double>(clusters.size());
}

std::vector<int32_t> best_clusters(const Eigen::MatrixXd& distances, int64_t most) {
  const int64_t n = distances.rows();
  std::vector<int32_t> best = average_linkage(distances, std::clamp<int64_t>(n, 1, most));
  if (n < 3 || most < 2) return best;
  double highest = -std::numeric_limits<double>::infinity();
  for (int64_t count = 2; count <= std::min(most, n - 1); ++count) {
    std::vector<int32_t> clusters = average_linkage(distances, count);
    const double score = mean_silhouette(distances, clusters);
    if (score > highest) {
      highest = score;
      best = std::move(clusters);
    }
  }
  return best;
}

}  // namespace fedclock::federation
