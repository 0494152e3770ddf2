#include "models/data/partition.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/random/gamma_distribution.hpp>
#include <cmath>
#include <numeric>
#include <set>

#include "models/common/error.h"
#include "models/common/random.h"

namespace fedclock::data {

namespace {

constexpr int kMostAttempts = 1000;
// Bounds the attempts of large partitions, by their sizes alone so that the result stays the same
// on every machine: about two seconds of drawing.
constexpr int64_t kMostDraws = 20'000'000;

// [class] -> rows. Throws where a row has no label.
std::vector<std::vector<int32_t>> rows_by_class(const Dataset& dataset) {
  std::vector<std::vector<int32_t>> rows(dataset.classes.size());
  for (int32_t i = 0; i < std::ssize(dataset.rows); ++i) {
    const int label = dataset.rows[i].label;
    if (label < 0) {
      throw InputError(
          fmt::format("task.partition: row {} has no label: this partition needs "
                      "classes; choose iid or domain, or rows with labels",
                      i));
    }
    ensure(label < std::ssize(dataset.classes), "a label outside of the classes");
    rows[label].push_back(i);
  }
  return rows;
}

Partition partition_iid(const Dataset& dataset, int clients, const PartitionSpec& spec) {
  std::vector<int32_t> rows(dataset.rows.size());
  std::iota(rows.begin(), rows.end(), 0);
  Random random(spec.seed, "partition");
  random.shuffle(rows);
  Partition result(clients);
  for (size_t i = 0; i < rows.size(); ++i) result[i % clients].push_back(rows[i]);
  return result;
}

// ------------------------------------------------------------------------------------ Dirichlet

// Logarithms of `count` Gamma(alpha, 1) draws. A draw of Gamma(alpha) is one of Gamma(alpha + 1)
// times U^(1 / alpha) (Marsaglia and Tsang 2000, section 6), whose logarithm does not underflow
// where alpha is small.
std::vector<double> log_gamma_draws(Random& random, double alpha, int count) {
  boost::random::gamma_distribution<double> gamma(alpha + 1.0, 1.0);
  std::vector<double> draws(count);
  for (double& draw : draws) {
    const double value = gamma(random);
    draw = std::log(value) + std::log(1.0 - random.uniform()) / alpha;
  }
  return draws;
}

// [class][client] -> rows, for one drawing of all shares.
std::vector<std::vector<int64_t>> draw_counts(const std::vector<int64_t>& class_rows, int clients,
                                              double alpha, Random& random) {
  const int64_t rows = std::accumulate(class_rows.begin(), class_rows.end(), int64_t{0});
  std::vector<int64_t> held(clients, 0);
  std::vector<std::vector<int64_t>> counts;
  for (const int64_t class_size : class_rows) {
    std::vector<double> shares = log_gamma_draws(random, alpha, clients);
    double largest = -INFINITY;
    for (int i = 0; i < clients; ++i) {
      if (held[i] * clients >= rows) shares[i] = -INFINITY;
      largest = std::max(largest, shares[i]);
    }
    // Some client is below the mean as long as rows are left, so `largest` is finite.
    double sum = 0;
    for (double& share : shares) sum += share = std::exp(share - largest);
    std::vector<int64_t> taken(clients, 0);
    double until = 0;
    int64_t dealt = 0;
    int last = 0;
    for (int i = 0; i < clients; ++i) {
      if (shares[i] > 0) last = i;
      until += shares[i];
      const auto end = static_cast<int64_t>(until / sum * static_cast<double>(class_size));
      taken[i] = std::clamp(end, dealt, class_size) - dealt;
      dealt += taken[i];
    }
    taken[last] += class_size - dealt;  // what rounding left over
    for (int i = 0; i < clients; ++i) held[i] += taken[i];
    counts.push_back(std::move(taken));
  }
  return counts;
}

int64_t smallest_client(const std::vector<std::vector<int64_t>>& counts, int clients) {
  std::vector<int64_t> held(clients, 0);
  for (const auto& taken : counts) {
    for (int i = 0; i < clients; ++i) held[i] += taken[i];
  }
  return *std::min_element(held.begin(), held.end());
}

// Gives clients below min_rows rows of the client that is largest at the time.
void repair(Partition& result, const PartitionSpec& spec) {
  Random random(spec.seed, "partition repair");
  std::set<std::pair<int64_t, int>> by_size;  // (-rows, client): the largest first
  for (int i = 0; i < std::ssize(result); ++i) by_size.insert({-std::ssize(result[i]), i});
  for (int i = 0; i < std::ssize(result); ++i) {
    while (std::ssize(result[i]) < spec.min_rows) {
      const auto [minus_rows, donor] = *by_size.begin();
      by_size.erase(by_size.begin());
      by_size.erase({-std::ssize(result[i]), i});
      std::vector<int32_t>& rows = result[donor];
      std::swap(rows[random.below(rows.size())], rows.back());
      result[i].push_back(rows.back());
      rows.pop_back();
      by_size.insert({minus_rows + 1, donor});
      by_size.insert({-std::ssize(result[i]), i});
    }
  }
}

Partition partition_dirichlet(const Dataset& dataset, int clients, const PartitionSpec& spec) {
  if (!std::isfinite(spec.alpha) || spec.alpha <= 0) {
    throw InputError(
        fmt::format("task.partition.dirichlet.alpha: {}: write a number above 0", spec.alpha));
  }
  std::vector<std::vector<int32_t>> rows = rows_by_class(dataset);
  std::vector<int64_t> class_rows;
  for (const auto& of_class : rows) class_rows.push_back(std::ssize(of_class));

  const int64_t draws = std::max<int64_t>(1, int64_t{clients} * std::ssize(rows));
  const int64_t attempts = std::clamp<int64_t>(kMostDraws / draws, 1, kMostAttempts);
  std::vector<std::vector<int64_t>> counts;
  for (int64_t attempt = 0; attempt < attempts; ++attempt) {
    Random random(spec.seed, "partition", static_cast<uint64_t>(attempt));
    counts = draw_counts(class_rows, clients, spec.alpha, random);
    if (smallest_client(counts, clients) >= spec.min_rows) break;
  }

  Partition result(clients);
  Random random(spec.seed, "partition rows");
  for (size_t c = 0; c < rows.size(); ++c) {
    random.shuffle(rows[c]);
    auto from = rows[c].begin();
    for (int i = 0; i < clients; ++i) {
      result[i].insert(result[i].end(), from, from + counts[c][i]);
      from += counts[c][i];
    }
  }
  repair(result, spec);
  return result;
}

// --------------------------------------------------------------------------------- pathological

// [class] -> clients that share it: `wanted` in all, near to in proportion to the class's rows
// (each next one goes to the class with most rows a share), at least one for a class with rows, at
// most one a client and one a row.
std::vector<int> shares_of_classes(const std::vector<std::vector<int32_t>>& rows, int clients,
                                   int wanted) {
  std::vector<int> shares(rows.size(), 0);
  for (size_t c = 0; c < rows.size(); ++c) {
    if (!rows[c].empty()) {
      shares[c] = 1;
      --wanted;
    }
  }
  for (; wanted > 0; --wanted) {
    int best = -1;
    for (int c = 0; c < std::ssize(rows); ++c) {
      if (shares[c] >= std::min<int64_t>(clients, std::ssize(rows[c]))) continue;
      if (best < 0 || std::ssize(rows[c]) * shares[best] > std::ssize(rows[best]) * shares[c]) {
        best = c;
      }
    }
    if (best < 0) break;
    ++shares[best];
  }
  return shares;
}

// [class] -> clients. Each client takes the classes with most shares left, equal ones at random;
// so nothing is left over in the end (Ryser's construction of a matrix of zeros and ones with
// given sums).
std::vector<std::vector<int>> deal_classes(std::vector<int> shares, int clients, Random& random) {
  const int total = std::accumulate(shares.begin(), shares.end(), 0);
  std::vector<int> order(clients);
  std::iota(order.begin(), order.end(), 0);
  random.shuffle(order);
  std::vector<std::vector<int>> clients_of(shares.size());
  for (int i = 0; i < clients; ++i) {
    const int takes = total / clients + (i < total % clients ? 1 : 0);
    std::vector<int> classes(shares.size());
    std::iota(classes.begin(), classes.end(), 0);
    random.shuffle(classes);
    std::stable_sort(classes.begin(), classes.end(),
                     [&](int a, int b) { return shares[a] > shares[b]; });
    for (int j = 0; j < takes; ++j) {
      ensure(shares[classes[j]] > 0, "a client without class");
      --shares[classes[j]];
      clients_of[classes[j]].push_back(order[i]);
    }
  }
  return clients_of;
}

// Moves one row of a class that the client holds to it, from the largest other holder of one of
// its classes; false where all of them have min_rows only.
bool take_row_of_own_class(const Dataset& dataset, Partition& result, int client,
                           const std::vector<std::vector<int>>& clients_of, int min_rows) {
  int donor = -1, donor_class = -1;
  for (int c = 0; c < std::ssize(clients_of); ++c) {
    const auto& holders = clients_of[c];
    if (std::find(holders.begin(), holders.end(), client) == holders.end()) continue;
    for (const int other : holders) {
      const int64_t most = donor < 0 ? min_rows : std::ssize(result[donor]);
      if (other == client || std::ssize(result[other]) <= most) continue;
      const bool has_one = std::any_of(result[other].begin(), result[other].end(),
                                       [&](int32_t row) { return dataset.rows[row].label == c; });
      if (!has_one) continue;
      donor = other;
      donor_class = c;
    }
  }
  if (donor < 0) return false;
  auto& rows = result[donor];
  const auto row = std::find_if(rows.begin(), rows.end(),
                                [&](int32_t i) { return dataset.rows[i].label == donor_class; });
  result[client].push_back(*row);
  rows.erase(row);
  return true;
}

Partition partition_pathological(const Dataset& dataset, int clients, const PartitionSpec& spec) {
  std::vector<std::vector<int32_t>> rows = rows_by_class(dataset);
  const int64_t most = std::ssize(dataset.classes);
  if (spec.classes_per_client < 1 || spec.classes_per_client > most) {
    throw InputError(
        fmt::format("task.partition.pathological.classes_per_client: {}: write 1 to "
                    "{}, the number of classes",
                    spec.classes_per_client, most));
  }
  const auto present =
      std::count_if(rows.begin(), rows.end(), [](const auto& r) { return !r.empty(); });
  if (int64_t{clients} * spec.classes_per_client < present) {
    throw InputError(
        fmt::format("task.partition.pathological.classes_per_client: {}: {} clients "
                    "then hold {} of {} classes and rows are left out: write at least "
                    "{}, or use more clients",
                    spec.classes_per_client, clients, clients * spec.classes_per_client, present,
                    (present + clients - 1) / clients));
  }
  Random random(spec.seed, "partition");
  const std::vector<std::vector<int>> clients_of = deal_classes(
      shares_of_classes(rows, clients, clients * spec.classes_per_client), clients, random);
  Partition result(clients);
  for (size_t c = 0; c < rows.size(); ++c) {
    random.shuffle(rows[c]);
    for (size_t i = 0; i < rows[c].size(); ++i) {
      result[clients_of[c][i % clients_of[c].size()]].push_back(rows[c][i]);
    }
  }
  for (int i = 0; i < clients; ++i) {
    while (std::ssize(result[i]) < spec.min_rows &&
           take_row_of_own_class(dataset, result, i, clients_of, spec.min_rows)) {
    }
  }
  return result;
}

// --------------------------------------------------------------------------------------- domain

Partition partition_domain(const Dataset& dataset, int clients, const PartitionSpec& spec) {
  std::set<std::string> names;
  for (size_t i = 0; i < dataset.rows.size(); ++i) {
    if (dataset.rows[i].domain.empty()) {
      throw InputError(
          fmt::format("task.partition.domain: row {} has no domain: choose the field "
                      "that has it by task.files.domain_field, or another partition",
                      i));
    }
    names.insert(dataset.rows[i].domain);
  }
  const std::vector<std::string> domains(names.begin(), names.end());
  const int count = static_cast<int>(domains.size());
  std::vector<std::vector<int>> clients_of(count);  // [domain] -> clients
  for (int i = 0; i < std::max(clients, count); ++i) clients_of[i % count].push_back(i % clients);

  std::vector<int32_t> rows(dataset.rows.size());
  std::iota(rows.begin(), rows.end(), 0);
  Random random(spec.seed, "partition");
  random.shuffle(rows);
  Partition result(clients);
  std::vector<size_t> dealt(count, 0);
  for (const int32_t row : rows) {
    const auto found = std::lower_bound(domains.begin(), domains.end(), dataset.rows[row].domain);
    const auto domain = static_cast<size_t>(found - domains.begin());
    const std::vector<int>& holders = clients_of[domain];
    result[holders[dealt[domain]++ % holders.size()]].push_back(row);
  }
  return result;
}

Partition partition_by_kind(const Dataset& dataset, int clients, const PartitionSpec& spec) {
  switch (spec.kind) {
    case PartitionSpec::kIid: return partition_iid(dataset, clients, spec);
    case PartitionSpec::kDirichlet: return partition_dirichlet(dataset, clients, spec);
    case PartitionSpec::kPathological: return partition_pathological(dataset, clients, spec);
    case PartitionSpec::kDomain: return partition_domain(dataset, clients, spec);
  }
  throw ProgrammerError("unknown kind of partition");
}

}  // namespace

Partition partition(const Dataset& dataset, int clients, const PartitionSpec& spec) {
  ensure(clients >= 1, "a partition needs a client");
  ensure(std::ssize(dataset.rows) <= INT32_MAX, "too many rows");
  const int64_t needed = int64_t{clients} * spec.min_rows;
  if (spec.min_rows < 0 || needed > std::ssize(dataset.rows)) {
    throw InputError(
        fmt::format("task.partition.min_rows: {}: {} clients need {} rows, but there "
                    "are {}: use fewer clients{} or more rows",
                    spec.min_rows, clients, needed, dataset.rows.size(),
                    spec.min_rows > 1 ? ", a smaller min_rows (at least 1)" : ""));
  }
  Partition result = partition_by_kind(dataset, clients, spec);
  for (int i = 0; i < clients; ++i) {
    if (std::ssize(result[i]) < spec.min_rows) {
      throw InputError(
          fmt::format("task.partition.min_rows: {}: client {} can have {} rows only of "
                      "its classes or domain: use fewer clients, a smaller min_rows "
                      "(at least 1), or more classes a client",
                      spec.min_rows, i, result[i].size()));
    }
    std::sort(result[i].begin(), result[i].end());
  }
  return result;
}

RowSplit split_rows(const std::vector<int32_t>& rows_of_client, double fraction, uint64_t seed,
                    int client, const std::string& purpose, int64_t at_least) {
  ensure(fraction >= 0 && fraction < 1, "a held-out fraction outside of [0, 1)");
  RowSplit split{rows_of_client, {}};
  const int64_t rows = std::ssize(rows_of_client);
  const int64_t wanted =
      std::max<int64_t>(at_least, std::llround(fraction * static_cast<double>(rows)));
  const int64_t held_out = std::min(wanted, std::max<int64_t>(rows - 1, 0));
  Random random(seed, purpose, 0, static_cast<uint64_t>(client));
  random.shuffle(split.train);
  split.test.assign(split.train.end() - held_out, split.train.end());
  split.train.resize(static_cast<size_t>(rows - held_out));
  std::sort(split.train.begin(), split.train.end());
  std::sort(split.test.begin(), split.test.end());
  return split;
}

}  // namespace fedclock::data
