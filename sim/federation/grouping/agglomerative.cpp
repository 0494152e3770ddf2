#include "sim/federation/grouping/agglomerative.h"

#include <algorithm>
#include <limits>

#include "models/common/error.h"

namespace fedclock::federation {

namespace {

using Members = std::vector<Eigen::Index>;

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

// Clusters that are joined one by one. Their mean distances follow from those of the two that were
// joined (Lance and Williams 1967).
class Joining {
 public:
  explicit Joining(const Eigen::MatrixXd& distances) : between_(distances) {
    for (Eigen::Index i = 0; i < distances.rows(); ++i) members_.push_back({i});
  }

  int64_t size() const { return std::ssize(members_); }

  // The two nearest, of equals the first.
  void join() {
    Eigen::Index first = 0, second = 1;
    for (Eigen::Index i = 0; i < size(); ++i) {
      for (Eigen::Index j = i + 1; j < size(); ++j) {
        if (between_(i, j) < between_(first, second)) first = i, second = j;
      }
    }
    Members& into = members_[static_cast<size_t>(first)];
    const Members from = members_[static_cast<size_t>(second)];
    const auto n = static_cast<double>(into.size()), m = static_cast<double>(from.size());
    const Eigen::VectorXd mean = (n * between_.col(first) + m * between_.col(second)) / (n + m);
    between_.col(first) = mean;
    between_.row(first) = mean.transpose();
    into.insert(into.end(), from.begin(), from.end());
    members_.erase(members_.begin() + second);
    drop(second);
  }

  std::vector<int32_t> clusters() const {
    size_t n = 0;
    for (const Members& members : members_) n += members.size();
    std::vector<int32_t> of(n);
    for (size_t cluster = 0; cluster < members_.size(); ++cluster) {
      for (const Eigen::Index i : members_[cluster]) {
        of[static_cast<size_t>(i)] = static_cast<int32_t>(cluster);
      }
    }
    return of;
  }

 private:
  void drop(Eigen::Index cluster) {
    const Eigen::Index after = between_.rows() - cluster - 1;
    between_.middleRows(cluster, after) = between_.bottomRows(after).eval();
    between_.middleCols(cluster, after) = between_.rightCols(after).eval();
    between_.conservativeResize(between_.rows() - 1, between_.cols() - 1);
  }

  Eigen::MatrixXd between_;
  std::vector<Members> members_;  // by their first ones
};

}  // namespace

std::vector<int32_t> average_linkage(const Eigen::MatrixXd& distances, int64_t clusters) {
  ensure(clusters >= 1 && clusters <= distances.rows(), "a number of clusters that cannot be");
  Joining joining(distances);
  while (joining.size() > clusters) joining.join();
  return joining.clusters();
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
  if (n < 3 || most < 2) return average_linkage(distances, std::clamp<int64_t>(n, 1, most));
  std::vector<int32_t> best;
  double highest = -std::numeric_limits<double>::infinity();
  for (Joining joining(distances); joining.size() > 2;) {
    joining.join();
    if (joining.size() > most) continue;
    std::vector<int32_t> clusters = joining.clusters();
    const double score = mean_silhouette(distances, clusters);
    if (score < highest) continue;  // of equals the fewest
    highest = score;
    best = std::move(clusters);
  }
  return best;
}

}  // namespace fedclock::federation
