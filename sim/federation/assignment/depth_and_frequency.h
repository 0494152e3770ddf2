// How deep each group tunes and how often it merges within itself before a global merge.
//
// The paper: HierFedLoRA (arXiv 2503.21213, whose full text was not to be had) chooses both for
// each group, together, because they are coupled, and adjusts them during the run. Our reading: the
// objective, its estimates and the solver. Over the seconds T of a global round, the depths d_g and
// the frequencies t_g (intra-group rounds in a global one) we maximise
//
//   sum_g (n_g / n) v(d_g) phi(t_g) / (T + c)
//
// where c is what a global round takes beyond T: transfers with aggregators, the merge, and how
// much slower the slowest group was than expected (at c = 0 a second intra-group round pays only
// beside a slower group, since phi grows less than t); t_g R_g(d_g) <= T and, if group g has any
// such choice, t_g R_g(d_g) >= (1 - slack) T, so that all groups end at about the same time; d_g <=
// m_g, the depth that the members' memory holds.
//
//   v(d) = (h + u_{L-d+1} + ... + u_L) / (h + u_1 + ... + u_L)
//
// is the share of the loss decrease that an intra-group round at depth d is expected to keep: to
// first order a gradient step lowers the loss in proportion to its squared length, so u_l is the
// mean squared update norm of layer l in an intra-group round, h that of the head (0: there is
// none).
//
//   phi(t) = 1 + rho + ... + rho^(t-1) = (1 - rho^t) / (1 - rho):
//
// each further intra-group round without a global merge is worth rho times the one before. R_g(d)
// is the expected seconds of an intra-group round of group g at depth d.
//
// Exact: an optimal T is one of the values t R_g(d), and for a given T the groups are independent.
// Each group's best choice for all T, ascending, is a sliding-window maximum, so the solver takes
// O(K M (K + log(K M))) for K groups of M = (L + 1) t_max choices: 0.4 ms for 10 groups, 12 layers
// and t_max 10.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace fedclock::federation {

struct PlanningGroup {
  double rows = 0;              // n_g
  int64_t most_depth = 0;       // m_g
  std::vector<double> round_s;  // R_g(d) of d = 0, ..., L
};

struct LayerGains {
  double head = 0;             // h
  std::vector<double> layers;  // u_1, ..., u_L, from the input to the output
};

struct PlanningSettings {
  int32_t most_frequency = 1;  // t_max
  double slack = 0;
  int64_t least_depth = 1;  // 0: the head alone may be tuned
  double rho = 0.9;
  double merge_s = 0;                  // c
  std::optional<int64_t> fixed_depth;  // of every group whose memory holds it; m_g of the others
  std::optional<int32_t> fixed_frequency;
};

struct GroupPlan {
  int64_t depth = 0;
  int32_t frequency = 1;
  auto operator<=>(const GroupPlan&) const = default;
};

// Of choices that are equally good (to 12 digits) the one of the smallest T; then, in each group,
// of the smallest depth and then the smallest frequency.
std::vector<GroupPlan> choose_depth_and_frequency(const std::vector<PlanningGroup>& groups,
                                                  const LayerGains& gains,
                                                  const PlanningSettings& settings);

// The mean of what was observed, where each observation counts (1 - rate)^w times as much once
// observations of weight w have followed it.
class MovingAverage {
 public:
  explicit MovingAverage(double rate) : rate_(rate) {}
  void observe(double value, double weight = 1);
  bool known() const { return weight_ > 0; }
  double value() const { return sum_ / weight_; }

 private:
  double rate_;
  double sum_ = 0;
  double weight_ = 0;
};

// Learns u_l, h and rho from the rounds.
class GainEstimator {
 public:
  // `rate`: the share of a new observation of weight 1, in (0, 1].
  GainEstimator(int64_t layers, bool has_head, double rate);

  // The mean squared update norm of a layer (0 is nearest the input) or of the head in an
  // intra-group round. `weight`: for example the group's share of the rows.
  void observe(int64_t layer, double squared_norm, double weight);
  void observe_head(double squared_norm, double weight);
  // The losses of successive intra-group rounds of one group in one global round. The ratio of
  // successive decreases is that of the sums of all but the first and of all but the last, which
  // noise in a single loss moves less than a mean of ratios.
  void observe_losses(const std::vector<double>& losses);

  // A layer that nobody has tuned yet counts as the mean of those that were, or as the head; a head
  // like the mean of the layers. All 1 before anything was observed.
  LayerGains gains() const;
  double rho() const { return rho_; }

 private:
  double rate_;
  bool has_head_;
  MovingAverage head_;
  std::vector<MovingAverage> layers_;
  double rho_ = 0.9;
};

// Learns the expected seconds of a client's round: compute seconds as a multiple of the nominal
// ones, transfers as seconds for each byte.
class RoundTimeEstimator {
 public:
  // `compute_s`: [client][depth], nominal; bytes: [depth], down to the client and up from it.
  RoundTimeEstimator(std::vector<std::vector<double>> compute_s, std::vector<double> down_bytes,
                     std::vector<double> up_bytes, double rate);

  void observe_compute(int32_t client, int64_t depth, double seconds);
  void observe_download(int32_t client, double bytes, double seconds);
  void observe_upload(int32_t client, double bytes, double seconds);

  // Without an observation the factor is 1, and seconds for each byte are the mean of the other
  // clients', or 0.
  double expected_s(int32_t client, int64_t depth) const;

 private:
  struct Client {
    std::vector<double> compute_s;
    MovingAverage factor;
    MovingAverage down_s_per_byte;
    MovingAverage up_s_per_byte;
  };

  // The client's average, or that of the clients that have one.
  double average(const Client& client, MovingAverage Client::*which) const;

  std::vector<Client> clients_;
  std::vector<double> down_bytes_;
  std::vector<double> up_bytes_;
};

}  // namespace fedclock::federation
