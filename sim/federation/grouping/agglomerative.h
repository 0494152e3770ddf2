// Clusters of clients that are close to each other by a matrix of distances: average linkage, and
// as many clusters as the mean silhouette likes best (Rousseeuw 1987).
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <vector>

namespace fedclock::federation {

// distances [n, n], symmetric, 0 on the diagonal -> the cluster of each of the n, numbered by their
// first members. Begins with each alone; the two clusters whose members are on average nearest to
// each other are joined (of equals the first pair), until so many are left, from 1 to n.
std::vector<int32_t> average_linkage(const Eigen::MatrixXd& distances, int64_t clusters);

// The mean over all members of (b - a) / max(a, b), a being a member's mean distance to the others
// of its cluster, b the least mean distance to those of another; 0 for one that is alone, or whose
// a and b are 0. -1 to 1; two clusters at least.
double mean_silhouette(const Eigen::MatrixXd& distances, const std::vector<int32_t>& clusters);

// Those clusters from 2 to `most`, and fewer than the n, of largest silhouette, of equals the
// fewest; where that leaves no choice (n < 3 or most < 2), one for each, at most `most`.
std::vector<int32_t> best_clusters(const Eigen::MatrixXd& distances, int64_t most);

}  // namespace fedclock::federation
