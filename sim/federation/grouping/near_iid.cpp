#include "sim/federation/grouping/near_iid.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <numeric>
#include <utility>

#include "models/common/error.h"
#include "models/common/random.h"

namespace fedclock::federation {

namespace {

constexpr double kLeastImprovement = 1e-12;
constexpr int kMostPasses = 200;

// What J needs to know of a set of clients.
struct Mix {
  Eigen::VectorXd class_rows;
  double rows = 0;
  double seconds = 0;  // sum over the members
  double members = 0;

  Mix& operator+=(const Mix& other) {
    class_rows += other.class_rows;
    rows += other.rows;
    seconds += other.seconds;
    members += other.members;
    return *this;
  }
};

// What stays the same for all partitions.
struct World {
  std::vector<Mix> clients;
  Mix all;
  Eigen::VectorXd global;  // shares of the classes
};

World world_of(const std::vector<GroupingClient>& clients) {
  ensure(!clients.empty(), "no clients to group");
  const size_t classes = clients.front().class_rows.size();
  // Classes that nobody has are left out, so that they change no sum.
  std::vector<size_t> held;
  for (size_t c = 0; c < classes; ++c) {
    const bool some =
        std::any_of(clients.begin(), clients.end(), [&](const GroupingClient& client) {
          return client.class_rows.size() == classes && client.class_rows[c] > 0;
        });
    if (some) held.push_back(c);
  }
  World world;
  const auto size = static_cast<Eigen::Index>(held.size());
  world.all.class_rows = Eigen::VectorXd::Zero(size);
  for (const GroupingClient& client : clients) {
    ensure(client.class_rows.size() == classes, "clients with different numbers of classes");
    Mix mix{Eigen::VectorXd(size), static_cast<double>(client.rows), client.round_s, 1};
    for (Eigen::Index c = 0; c < size; ++c) {
      mix.class_rows[c] = client.class_rows[held[static_cast<size_t>(c)]];
    }
    world.all += mix;
    world.clients.push_back(std::move(mix));
  }
  world.global = world.all.class_rows / std::max(world.all.class_rows.sum(), 1.0);
  return world;
}

// From the global mix. A set without rows has nothing of it: the largest divergence there is.
double divergence(const World& world, const Mix& mix) {
  if (world.global.size() == 0) return 0;
  const double rows = mix.class_rows.sum();
  return rows > 0 ? jensen_shannon(mix.class_rows / rows, world.global) : std::log(2.0);
}

double squared_deviation(double value, double mean) {
  return mean > 0 ? std::pow((value - mean) / mean, 2) : 0;
}

// What a group adds to J.
double share_of_objective(const World& world, const Mix& mix, size_t groups,
                          const GroupingSettings& settings) {
  const double group_rows = world.all.rows / static_cast<double>(groups);
  const double group_seconds = mix.seconds / std::max(mix.members, 1.0);
  const double client_seconds = world.all.seconds / world.all.members;
  return (divergence(world, mix) + settings.row_balance * squared_deviation(mix.rows, group_rows) +
          settings.time_balance * squared_deviation(group_seconds, client_seconds)) /
         static_cast<double>(groups);
}

Groups in_order(Groups groups) {
  for (std::vector<int32_t>& group : groups) std::sort(group.begin(), group.end());
  std::sort(groups.begin(), groups.end());
  return groups;
}

// One partition while it is made. A group that is one smaller than the largest has a vacancy, a
// member without rows and seconds: so a move is a swap with a vacancy.
class Partition {
 public:
  Partition(const World& world, const GroupingSettings& settings, size_t groups)
      : world_(world),
        settings_(settings),
        seats_(world.clients),
        members_(groups),
        mixes_(groups, nobody()),
        objective_(groups) {
    seats_.push_back(nobody());
    for (size_t g = 0; g < groups; ++g) objective_[g] = objective_of(mixes_[g]);
  }

  void fill() {
    const size_t least = clients() / members_.size();
    size_t larger = clients() % members_.size();  // groups that still may have one more
    for (const int32_t client : by_weight()) {
      size_t best = members_.size();
      double least_change = 0;
      for (size_t g = 0; g < members_.size(); ++g) {
        if (members_[g].size() >= least + (larger > 0 ? 1 : 0)) continue;
        Mix mix = mixes_[g];
        const double change = objective_of(mix += seat(client)) - objective_[g];
        if (best == members_.size() || change < least_change) {
          best = g;
          least_change = change;
        }
      }
      members_[best].push_back(client);
      if (members_[best].size() > least) --larger;
      update(best);
    }
    if (clients() % members_.size() == 0) return;
    for (std::vector<int32_t>& group : members_) {
      if (group.size() == least) group.push_back(vacancy());
    }
  }

  // Pairs of groups neither of which has changed since they were last looked at are skipped.
  void improve() {
    const size_t groups = members_.size();
    std::vector<int64_t> changed(groups, 0);
    std::vector<int64_t> checked(groups * groups, -1);
    int64_t now = 0;
    for (int pass = 0; pass < kMostPasses; ++pass) {
      const int64_t before = now;
      for (size_t g = 0; g < groups; ++g) {
        for (size_t h = g + 1; h < groups; ++h) {
          if (checked[g * groups + h] >= std::max(changed[g], changed[h])) continue;
          while (swap_best(g, h)) changed[g] = changed[h] = ++now;
          checked[g * groups + h] = now;
        }
      }
      if (now == before) return;
    }
  }

  Groups groups() const {
    Groups groups = members_;
    for (std::vector<int32_t>& group : groups) std::erase(group, vacancy());
    return in_order(std::move(groups));
  }

 private:
  size_t clients() const { return world_.clients.size(); }
  int32_t vacancy() const { return static_cast<int32_t>(clients()); }
  const Mix& seat(int32_t client) const { return seats_[static_cast<size_t>(client)]; }
  Mix nobody() const { return {Eigen::VectorXd::Zero(world_.global.size())}; }

  double objective_of(const Mix& mix) const {
    return share_of_objective(world_, mix, members_.size(), settings_);
  }

  // All clients, those first that pull a group's mix furthest.
  std::vector<int32_t> by_weight() const {
    std::vector<double> weight;
    for (const Mix& client : world_.clients) {
      weight.push_back(client.rows * divergence(world_, client));
    }
    std::vector<int32_t> order(clients());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
      return weight[static_cast<size_t>(a)] > weight[static_cast<size_t>(b)];
    });
    return order;
  }

  // From the members: sums that only ever were added to and subtracted from would drift.
  void update(size_t group) {
    mixes_[group] = nobody();
    for (const int32_t member : members_[group]) mixes_[group] += seat(member);
    objective_[group] = objective_of(mixes_[group]);
  }

  bool has_vacancy(size_t group) const {
    return std::count(members_[group].begin(), members_[group].end(), vacancy()) > 0;
  }

  // The group's share of J with `in` instead of `out`.
  double objective_with(size_t group, int32_t out, int32_t in) {
    const Mix& leaves = seat(out);
    const Mix& enters = seat(in);
    trial_.class_rows = mixes_[group].class_rows - leaves.class_rows + enters.class_rows;
    trial_.rows = mixes_[group].rows - leaves.rows + enters.rows;
    trial_.seconds = mixes_[group].seconds - leaves.seconds + enters.seconds;
    trial_.members = mixes_[group].members - leaves.members + enters.members;
    return objective_of(trial_);
  }

  // Makes the best swap between the two groups, if one improves J.
  bool swap_best(size_t g, size_t h) {
    const bool may_move = has_vacancy(g) != has_vacancy(h);  // no group may get a second vacancy
    double best = objective_[g] + objective_[h] - kLeastImprovement;
    std::pair<int32_t*, int32_t*> swap{};
    for (int32_t& a : members_[g]) {
      for (int32_t& b : members_[h]) {
        if (!may_move && (a == vacancy() || b == vacancy())) continue;
        double objective = objective_with(g, a, b);
        if (objective >= best) continue;
        objective += objective_with(h, b, a);
        if (objective >= best) continue;
        best = objective;
        swap = {&a, &b};
      }
    }
    if (swap.first == nullptr) return false;
    std::swap(*swap.first, *swap.second);
    update(g);
    update(h);
    return true;
  }

  const World& world_;
  const GroupingSettings& settings_;
  std::vector<Mix> seats_;  // the clients, and last a vacancy
  Groups members_;
  std::vector<Mix> mixes_;
  std::vector<double> objective_;  // each group's share of J
  Mix trial_;
};

Mix mix_of(const World& world, const std::vector<int32_t>& group) {
  Mix mix{Eigen::VectorXd::Zero(world.global.size())};
  for (const int32_t member : group) mix += world.clients.at(static_cast<size_t>(member));
  return mix;
}

Groups groups_of(const World& world, const GroupingSettings& settings, int32_t groups) {
  Partition partition(world, settings, static_cast<size_t>(groups));
  partition.fill();
  partition.improve();
  return partition.groups();
}

}  // namespace

double jensen_shannon(const Eigen::VectorXd& p, const Eigen::VectorXd& q) {
  ensure(p.size() == q.size(), "distributions over different classes");
  // 0 ln 0 = 0: the bounds below keep the logarithm finite, and its factor is 0 there.
  const Eigen::ArrayXd middle = (0.5 * (p + q)).array().max(DBL_MIN);
  const double to_p = (p.array() * (p.array() / middle).max(DBL_MIN).log()).sum();
  const double to_q = (q.array() * (q.array() / middle).max(DBL_MIN).log()).sum();
  return std::max(0.0, 0.5 * (to_p + to_q));
}

Groups near_iid_groups(const std::vector<GroupingClient>& clients,
                       const GroupingSettings& settings) {
  const World world = world_of(clients);
  const auto count = static_cast<int32_t>(clients.size());
  if (settings.groups > 0) {
    ensure(settings.groups <= count, "more groups than clients");
    return groups_of(world, settings, settings.groups);
  }
  for (int32_t k = std::min(settings.most_groups, count); k > 1; --k) {
    Groups groups = groups_of(world, settings, k);
    const bool near = std::all_of(groups.begin(), groups.end(), [&](const auto& group) {
      return divergence(world, mix_of(world, group)) <= settings.divergence_limit;
    });
    if (near) return groups;
  }
  return groups_of(world, settings, 1);
}

Groups random_groups(int32_t clients, int32_t groups, uint64_t seed) {
  ensure(groups >= 1 && groups <= clients, "groups: not from 1 to the number of clients");
  std::vector<int32_t> order(static_cast<size_t>(clients));
  std::iota(order.begin(), order.end(), 0);
  Random random(seed, "groups");
  random.shuffle(order);
  Groups result(static_cast<size_t>(groups));
  for (size_t i = 0; i < order.size(); ++i) result[i % result.size()].push_back(order[i]);
  return in_order(std::move(result));
}

double grouping_objective(const std::vector<GroupingClient>& clients, const Groups& groups,
                          const GroupingSettings& settings) {
  const World world = world_of(clients);
  double objective = 0;
  for (const std::vector<int32_t>& group : groups) {
    objective += share_of_objective(world, mix_of(world, group), groups.size(), settings);
  }
  return objective;
}

std::vector<double> group_divergences(const std::vector<GroupingClient>& clients,
                                      const Groups& groups) {
  const World world = world_of(clients);
  std::vector<double> divergences;
  for (const std::vector<int32_t>& group : groups) {
    divergences.push_back(divergence(world, mix_of(world, group)));
  }
  return divergences;
}

}  // namespace fedclock::federation
