// RSEA's program (FedAMoLE, arXiv 2411.19128): experts choose clients by their scores S_ij,
//   max sum_ij S_ij x_ij,  x_ij in {0, 1},
//   sum_j x_ij = choices for each expert i,  least <= sum_i x_ij <= most for each client j.
// Its constraints are those of a transportation problem, whose vertices are whole, so that a
// min-cost flow solves it exactly: LEMON's network simplex, on scores rounded to 2^-40. Of equal
// sums the one that it finds first, walking arcs expert by expert, client by client: the same
// everywhere.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <vector>

#include "sim/scenario/expert_bounds.h"

namespace fedclock::federation {

using scenario::can_match;
using scenario::ExpertBounds;

// scores [experts, clients], each in 0 to 1 -> the experts of each client, ascending.
// ProgrammerError unless can_match().
std::vector<std::vector<int32_t>> match_experts(const Eigen::MatrixXd& scores,
                                                const ExpertBounds& bounds);

// S_ij = exp(a_ij) / sum_k exp(a_ik), a = e t^T / sqrt(rank): experts' embeddings e [experts,
// rank], clients' token embeddings t [clients, rank] -> [experts, clients].
Eigen::MatrixXd expert_scores(const Eigen::MatrixXd& e, const Eigen::MatrixXd& t);

// Rows of `affinity` [experts, clients] to S. What is not finite, after a training that ran away,
// scores 0 and does not count for the others.
Eigen::MatrixXd softmax_over_clients(const Eigen::MatrixXd& affinity);

}  // namespace fedclock::federation
