#include "sim/federation/assignment/expert_matching.h"

#include <lemon/network_simplex.h>
#include <lemon/smart_graph.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "models/common/error.h"

namespace fedclock::federation {

namespace {

using Graph = lemon::SmartDigraph;

int64_t cost_of(double score) {
  // NaN counts as no score at all.
  return std::isfinite(score) ? -std::llround(std::ldexp(std::clamp(score, 0.0, 1.0), 40)) : 0;
}

}  // namespace

std::vector<std::vector<int32_t>> match_experts(const Eigen::MatrixXd& scores,
                                                const ExpertBounds& bounds) {
  const int64_t experts = scores.rows(), clients = scores.cols();
  ensure(can_match(experts, clients, bounds), "experts that cannot be matched");
  // expert --0..1--> client --least..most--> sink
  Graph graph;
  std::vector<Graph::Node> of_expert, of_client;
  for (int64_t i = 0; i < experts; ++i) of_expert.push_back(graph.addNode());
  for (int64_t j = 0; j < clients; ++j) of_client.push_back(graph.addNode());
  const Graph::Node sink = graph.addNode();
  std::vector<Graph::Arc> choices, loads;  // expert by expert; of each client
  for (int64_t i = 0; i < experts; ++i) {
    for (int64_t j = 0; j < clients; ++j) {
      choices.push_back(graph.addArc(of_expert[i], of_client[j]));
    }
  }
  for (int64_t j = 0; j < clients; ++j) loads.push_back(graph.addArc(of_client[j], sink));
  // Made when all arcs are there: their values are for these.
  Graph::ArcMap<int64_t> lower(graph, 0), upper(graph, 1), cost(graph, 0);
  Graph::NodeMap<int64_t> supply(graph, 0);
  for (int64_t i = 0; i < experts; ++i) {
    supply[of_expert[i]] = bounds.choices;
    for (int64_t j = 0; j < clients; ++j) {
      cost[choices[static_cast<size_t>(i * clients + j)]] = cost_of(scores(i, j));
    }
  }
  for (const Graph::Arc load : loads) {
    lower[load] = bounds.least;
    upper[load] = bounds.most;
  }
  supply[sink] = -experts * bounds.choices;
  lemon::NetworkSimplex<Graph, int64_t, int64_t> simplex(graph);
  simplex.lowerMap(lower).upperMap(upper).costMap(cost).supplyMap(supply);
  ensure(simplex.run() == decltype(simplex)::OPTIMAL, "no assignment of experts was found");
  std::vector<std::vector<int32_t>> result(static_cast<size_t>(clients));
  for (int64_t i = 0; i < experts; ++i) {
    for (int64_t j = 0; j < clients; ++j) {
      if (simplex.flow(choices[static_cast<size_t>(i * clients + j)]) == 0) continue;
      result[static_cast<size_t>(j)].push_back(static_cast<int32_t>(i));
    }
  }
  return result;
}

Eigen::MatrixXd expert_scores(const Eigen::MatrixXd& e, const Eigen::MatrixXd& t) {
  return softmax_over_clients(e * t.transpose() / std::sqrt(static_cast<double>(e.cols())));
}

Eigen::MatrixXd softmax_over_clients(const Eigen::MatrixXd& affinity) {
  Eigen::MatrixXd scores = affinity;
  for (Eigen::Index i = 0; i < scores.rows(); ++i) {
    double largest = -std::numeric_limits<double>::infinity(), sum = 0;
    for (Eigen::Index j = 0; j < scores.cols(); ++j) {
      if (std::isfinite(affinity(i, j))) largest = std::max(largest, affinity(i, j));
    }
    for (Eigen::Index j = 0; j < scores.cols(); ++j) {
      const bool known = std::isfinite(affinity(i, j));
      scores(i, j) = known ? std::exp(affinity(i, j) - largest) : 0;
      sum += scores(i, j);
    }
    if (sum > 0) scores.row(i) /= sum;
  }
  return scores;
}

}  // namespace fedclock::federation
