// Groups whose data together look like all clients' data.
#include "sim/federation/grouping/near_iid.h"

#include <rapidcheck.h>

#include <algorithm>
#include <boost/random/gamma_distribution.hpp>
#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>
#include <set>

#include "models/common/error.h"
#include "models/common/random.h"

namespace fedclock::federation {
namespace {

using Clients = std::vector<GroupingClient>;

GroupingClient client(std::vector<int32_t> class_rows, double round_s = 1) {
  const int64_t rows = std::accumulate(class_rows.begin(), class_rows.end(), int64_t{0});
  return {std::move(class_rows), rows, round_s};
}

GroupingSettings settings_of(int32_t groups, double row_balance = 0, double time_balance = 0) {
  GroupingSettings settings;
  settings.groups = groups;
  settings.row_balance = row_balance;
  settings.time_balance = time_balance;
  return settings;
}

// Dirichlet shares of 20 to 219 rows, and 1 to 10 seconds.
Clients random_clients(int count, int classes, double alpha, uint64_t seed) {
  Random random(seed, "clients");
  boost::random::gamma_distribution<double> gamma(alpha, 1.0);
  Clients clients;
  for (int i = 0; i < count; ++i) {
    const auto rows = static_cast<double>(20 + random.below(200));
    std::vector<double> shares(static_cast<size_t>(classes));
    for (double& share : shares) share = gamma(random) + 1e-12;
    const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
    std::vector<int32_t> class_rows;
    for (const double share : shares) {
      class_rows.push_back(static_cast<int32_t>(std::lround(rows * share / sum)));
    }
    clients.push_back(client(class_rows, 1 + 9 * random.uniform()));
  }
  return clients;
}

Clients any_clients() {
  return random_clients(*rc::gen::inRange(1, 30), *rc::gen::inRange(1, 8), 0.3,
                        *rc::gen::arbitrary<uint64_t>());
}

void check_balanced_partition(const Groups& groups, int32_t clients, int32_t count) {
  RC_ASSERT(std::ssize(groups) == count);
  std::set<int32_t> seen;
  size_t least = groups.front().size();
  size_t most = least;
  for (const std::vector<int32_t>& group : groups) {
    RC_ASSERT(std::is_sorted(group.begin(), group.end()));
    seen.insert(group.begin(), group.end());
    least = std::min(least, group.size());
    most = std::max(most, group.size());
  }
  RC_ASSERT(std::ssize(seen) == clients);
  RC_ASSERT((*seen.begin() == 0 && *seen.rbegin() == clients - 1));
  RC_ASSERT((least >= 1 && most - least <= 1));
  RC_ASSERT(std::is_sorted(groups.begin(), groups.end()));
  const auto members = std::accumulate(
      groups.begin(), groups.end(), size_t{0},
      [](size_t sum, const std::vector<int32_t>& group) { return sum + group.size(); });
  RC_ASSERT(static_cast<int32_t>(members) == clients);
}

Eigen::VectorXd shares(std::vector<double> values) {
  return Eigen::Map<Eigen::VectorXd>(values.data(), std::ssize(values));
}

// J by its definition, in plain loops.
double objective_by_definition(const Clients& clients, const Groups& groups,
                               const GroupingSettings& settings) {
  const size_t classes = clients.front().class_rows.size();
  std::vector<double> all(classes);
  double rows = 0;
  double seconds = 0;
  for (const GroupingClient& one : clients) {
    for (size_t c = 0; c < classes; ++c) all[c] += one.class_rows[c];
    rows += static_cast<double>(one.rows);
    seconds += one.round_s / static_cast<double>(clients.size());
  }
  const auto k = static_cast<double>(groups.size());
  double sum = 0;
  for (const std::vector<int32_t>& group : groups) {
    std::vector<double> mix(classes);
    double group_rows = 0;
    double group_s = 0;
    for (const int32_t member : group) {
      const GroupingClient& one = clients[static_cast<size_t>(member)];
      for (size_t c = 0; c < classes; ++c) mix[c] += one.class_rows[c];
      group_rows += static_cast<double>(one.rows);
      group_s += one.round_s / static_cast<double>(group.size());
    }
    for (size_t c = 0; c < classes; ++c) {
      const double p = mix[c] / group_rows;
      const double q = all[c] / rows;
      if (p > 0) sum += 0.5 * p * std::log(2 * p / (p + q));
      if (q > 0) sum += 0.5 * q * std::log(2 * q / (p + q));
    }
    sum += settings.row_balance * std::pow(group_rows / (rows / k) - 1, 2);
    sum += settings.time_balance * std::pow(group_s / seconds - 1, 2);
  }
  return sum / k;
}

// All partitions into groups whose sizes differ by at most one.
template <typename Visit>
void for_each_partition(int32_t clients, Groups& groups, size_t used, int32_t next, Visit visit) {
  const size_t least = static_cast<size_t>(clients) / groups.size();
  const size_t most = least + (static_cast<size_t>(clients) % groups.size() > 0 ? 1 : 0);
  if (next == clients) {
    for (const auto& group : groups) {
      if (group.size() < least) return;
    }
    visit(groups);
    return;
  }
  for (size_t g = 0; g < std::min(used + 1, groups.size()); ++g) {
    if (groups[g].size() == most) continue;
    groups[g].push_back(next);
    for_each_partition(clients, groups, std::max(used, g + 1), next + 1, visit);
    groups[g].pop_back();
  }
}

TEST_CASE("the Jensen-Shannon divergence of known distributions") {
  const double third = 1.0 / 3;
  CHECK(jensen_shannon(shares({0.2, 0.3, 0.5}), shares({0.2, 0.3, 0.5})) == 0);
  CHECK(jensen_shannon(shares({1, 0}), shares({0, 1})) == Approx(std::log(2.0)));
  // m = (3/4, 1/4): KL(p || m) = ln 4/3, KL(q || m) = (ln 2/3 + ln 2) / 2 = (ln 4/3) / 2.
  CHECK(jensen_shannon(shares({1, 0}), shares({0.5, 0.5})) == Approx(0.75 * std::log(4.0 / 3)));
  CHECK(jensen_shannon(shares({0.5, 0.5}), shares({1, 0})) == Approx(0.75 * std::log(4.0 / 3)));
  // A class that neither has adds nothing.
  CHECK(jensen_shannon(shares({1, 0, 0}), shares({third, 2 * third, 0})) ==
        Approx(jensen_shannon(shares({1, 0}), shares({third, 2 * third}))));
  CHECK_THROWS_AS(jensen_shannon(shares({1}), shares({1, 0})), ProgrammerError);
}

TEST_CASE("four clients of one class each pair up") {
  const Clients clients{client({10, 0}), client({10, 0}), client({0, 10}), client({0, 10})};
  const Groups groups = near_iid_groups(clients, settings_of(2));
  CHECK((groups == Groups{{0, 2}, {1, 3}} || groups == Groups{{0, 3}, {1, 2}}));
  CHECK(group_divergences(clients, groups) == std::vector<double>{0, 0});
  // Apart from their kind, each pair has one class of two: 0.75 ln 4/3.
  CHECK(grouping_objective(clients, {{0, 1}, {2, 3}}, settings_of(2)) ==
        Approx(0.75 * std::log(4.0 / 3)));
}

TEST_CASE("the balances choose between groups of the same mix") {
  SECTION("rows") {
    const Clients clients{client({30, 0}), client({10, 0}), client({0, 30}), client({0, 10})};
    // {0, 2}, {1, 3} would have the global mix exactly, but 60 and 20 rows: deviations of 1/2.
    CHECK(near_iid_groups(clients, settings_of(2)) == Groups{{0, 2}, {1, 3}});
    CHECK(grouping_objective(clients, {{0, 2}, {1, 3}}, settings_of(2, 1)) == Approx(0.25));
    CHECK(near_iid_groups(clients, settings_of(2, 1)) == Groups{{0, 3}, {1, 2}});
  }
  SECTION("seconds") {
    const Clients clients{client({10, 0}, 1), client({10, 0}, 3), client({0, 10}, 1),
                          client({0, 10}, 3)};
    CHECK(near_iid_groups(clients, settings_of(2, 0, 1)) == Groups{{0, 3}, {1, 2}});
    // Means of 1 and 3 seconds about 2.
    CHECK(grouping_objective(clients, {{0, 2}, {1, 3}}, settings_of(2, 0, 1)) == Approx(0.25));
  }
}

TEST_CASE("without labels only the balances count") {
  const Clients clients{{{}, 10, 1}, {{}, 40, 1}, {{}, 10, 1}, {{}, 20, 1}, {{}, 40, 1}};
  const Groups groups = near_iid_groups(clients, settings_of(2, 1));
  CHECK((groups == Groups{{0, 1, 2}, {3, 4}} || groups == Groups{{0, 2, 4}, {1, 3}}));  // 60 rows
  CHECK(group_divergences(clients, groups) == std::vector<double>{0, 0});
  GroupingSettings chosen = settings_of(0);
  chosen.most_groups = 3;
  CHECK(near_iid_groups(clients, chosen).size() == 3);
}

TEST_CASE("the number of groups is the largest that keeps all of them near the mix") {
  // Three clients of one class, three of the other: three pairs match the mix, six clients do not.
  const Clients clients{client({8, 0}), client({8, 0}), client({8, 0}),
                        client({0, 8}), client({0, 8}), client({0, 8})};
  GroupingSettings settings = settings_of(0);
  settings.most_groups = 6;
  settings.divergence_limit = 0.001;
  CHECK(near_iid_groups(clients, settings).size() == 3);
  settings.most_groups = 2;  // of three clients each: (2, 1) from (1/2, 1/2), 0.014 nats
  CHECK(near_iid_groups(clients, settings) == Groups{{0, 1, 2, 3, 4, 5}});
  settings.divergence_limit = 0.015;
  CHECK(near_iid_groups(clients, settings).size() == 2);
  settings.most_groups = 100;
  settings.divergence_limit = 1;
  CHECK(near_iid_groups(clients, settings).size() == 6);
}

TEST_CASE("a client without rows is in a group too") {
  const Clients clients{client({0, 0}), client({5, 0}), client({0, 5}), client({0, 0})};
  const Groups groups = near_iid_groups(clients, settings_of(2));
  CHECK(groups.size() == 2);
  CHECK(group_divergences(clients, {{0, 3}, {1, 2}})[0] == Approx(std::log(2.0)));
  CHECK(near_iid_groups({client({0}), client({0})}, settings_of(2)) == Groups{{0}, {1}});
}

TEST_CASE("groups are a balanced partition, in order") {
  CHECK(rc::check([] {
    const Clients clients = any_clients();
    const auto count = static_cast<int32_t>(clients.size());
    const int32_t groups = *rc::gen::inRange(1, count + 1);
    check_balanced_partition(near_iid_groups(clients, settings_of(groups, 0.1, 0.1)), count,
                             groups);
    check_balanced_partition(random_groups(count, groups, *rc::gen::arbitrary<uint64_t>()), count,
                             groups);
  }));
  CHECK(random_groups(20, 4, 1) == random_groups(20, 4, 1));
  CHECK(random_groups(20, 4, 1) != random_groups(20, 4, 2));
}

TEST_CASE("what does not matter changes nothing") {
  CHECK(rc::check([] {
    const Clients clients = any_clients();
    const int32_t count = *rc::gen::inRange(1, static_cast<int32_t>(clients.size()) + 1);
    const Groups groups = near_iid_groups(clients, settings_of(count, 0.1, 0.1));
    RC_ASSERT(near_iid_groups(clients, settings_of(count, 0.1, 0.1)) == groups);

    GroupingSettings settings = settings_of(count, 0.1, 0.1);
    settings.most_groups = 1;
    settings.divergence_limit = 7;
    RC_ASSERT(near_iid_groups(clients, settings) == groups);

    Clients others = clients;  // another unit of time, and a class that nobody has
    for (GroupingClient& one : others) {
      one.round_s *= 1024;
      one.class_rows.insert(one.class_rows.begin(), 0);
    }
    RC_ASSERT(near_iid_groups(others, settings_of(count, 0.1, 0.1)) == groups);

    for (GroupingClient& one : others) one.round_s = 3;
    RC_ASSERT(near_iid_groups(others, settings_of(count, 0.1)) ==
              near_iid_groups(clients, settings_of(count, 0.1)));
  }));
}

TEST_CASE("no swap and no move improves the groups") {
  CHECK(rc::check([] {
    const Clients clients = any_clients();
    const int32_t count = *rc::gen::inRange(1, static_cast<int32_t>(clients.size()) + 1);
    const GroupingSettings settings = settings_of(count, 0.1, 0.1);
    const Groups groups = near_iid_groups(clients, settings);
    const double objective = grouping_objective(clients, groups, settings);
    Groups others = groups;
    std::vector<int32_t>& from = others[*rc::gen::inRange<size_t>(0, groups.size())];
    std::vector<int32_t>& to = others[*rc::gen::inRange<size_t>(0, groups.size())];
    const auto place = from.begin() + *rc::gen::inRange<int64_t>(0, std::ssize(from));
    if (from.size() > to.size()) {
      to.push_back(*place);
      from.erase(place);
    } else {
      std::swap(*place, to[*rc::gen::inRange<size_t>(0, to.size())]);
    }
    RC_ASSERT(grouping_objective(clients, others, settings) > objective - 1e-11);
  }));
}

TEST_CASE("the groups come close to the best of all partitions") {
  // The bounds are those measured over 3,000 worlds (see the header), with some slack. The excess
  // over the optimum is counted as a share of the excess of random groups: a ratio to the optimum
  // means little where that is near 0.
  const double balance = GENERATE(0.0, 0.1);
  const double alpha = GENERATE(0.1, 1.0);
  constexpr int kWorlds = 100;
  std::vector<double> ratios;
  std::vector<double> excesses;
  for (uint64_t world = 0; world < kWorlds; ++world) {
    Random random(world, "world");
    const auto count = static_cast<int32_t>(6 + random.below(4));
    const auto k = static_cast<int32_t>(2 + random.below(2));
    const Clients clients =
        random_clients(count, 2 + static_cast<int>(random.below(6)), alpha, world);
    const GroupingSettings settings = settings_of(k, balance, balance);

    double least = INFINITY;
    double sum = 0;
    int partitions = 0;
    Groups groups(static_cast<size_t>(k));
    for_each_partition(count, groups, 0, 0, [&](const Groups& partition) {
      const double objective = objective_by_definition(clients, partition, settings);
      least = std::min(least, objective);
      sum += objective;
      ++partitions;
    });
    const Groups found = near_iid_groups(clients, settings);
    const double objective = objective_by_definition(clients, found, settings);
    REQUIRE(grouping_objective(clients, found, settings) == Approx(objective).margin(1e-12));
    REQUIRE(objective >= least - 1e-12);
    ratios.push_back((objective + 1e-12) / (least + 1e-12));
    excesses.push_back((objective - least) / (sum / partitions - least));
  }
  std::sort(ratios.begin(), ratios.end());
  std::sort(excesses.begin(), excesses.end());
  CAPTURE(balance, alpha, ratios[kWorlds * 3 / 4], ratios[kWorlds * 95 / 100], ratios.back(),
          excesses[kWorlds * 95 / 100], excesses.back());
  CHECK(ratios[kWorlds * 3 / 4] < 1.000001);
  CHECK(ratios[kWorlds * 95 / 100] < (balance > 0 ? 1.6 : 3.0));
  CHECK(excesses[kWorlds * 95 / 100] < 0.15);
  CHECK(excesses.back() < 0.6);
}

}  // namespace
}  // namespace fedclock::federation
