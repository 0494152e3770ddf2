#include "models/data/partition.h"

#include <rapidcheck.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "models/common/error.h"
#include "models/data/readers.h"

using namespace fedclock;
using namespace fedclock::data;
using Catch::Matchers::Contains;

namespace {

// Rows with labels i mod classes, in domains "d0", "d1", ... by i mod domains.
Dataset dataset_of(int rows, int classes, int domains = 3) {
  Dataset dataset;
  for (int i = 0; i < rows; ++i) {
    dataset.rows.push_back({"t", "", "", i % classes, "d" + std::to_string(i % domains)});
  }
  for (int c = 0; c < classes; ++c) dataset.classes.push_back("class" + std::to_string(c));
  return dataset;
}

PartitionSpec spec_of(PartitionSpec::Kind kind, int min_rows = 0, uint64_t seed = 1) {
  PartitionSpec spec;
  spec.kind = kind;
  spec.min_rows = min_rows;
  spec.seed = seed;
  return spec;
}

// Every row at exactly one client, each client's rows ascending.
bool covers_exactly(const Dataset& dataset, const Partition& partition) {
  std::vector<int32_t> all;
  for (const auto& rows : partition) {
    if (!std::is_sorted(rows.begin(), rows.end())) return false;
    all.insert(all.end(), rows.begin(), rows.end());
  }
  std::sort(all.begin(), all.end());
  for (int32_t i = 0; i < std::ssize(all); ++i) {
    if (all[i] != i) return false;
  }
  return all.size() == dataset.rows.size();
}

int64_t smallest(const Partition& partition) {
  int64_t least = INT64_MAX;
  for (const auto& rows : partition) least = std::min<int64_t>(least, std::ssize(rows));
  return least;
}

int64_t largest(const Partition& partition) {
  int64_t most = 0;
  for (const auto& rows : partition) most = std::max<int64_t>(most, std::ssize(rows));
  return most;
}

// Mean over clients of the share of their most frequent class: 1 / classes for even ones, 1 where
// each client has one class only.
double skew(const Dataset& dataset, const Partition& partition) {
  double sum = 0;
  for (const auto& counts : class_table(dataset, partition)) {
    int64_t rows = 0;
    for (const int64_t count : counts) rows += count;
    sum += static_cast<double>(*std::max_element(counts.begin(), counts.end())) /
           static_cast<double>(std::max<int64_t>(rows, 1));
  }
  return sum / static_cast<double>(partition.size());
}

std::string error_of(const Dataset& dataset, int clients, const PartitionSpec& spec) {
  try {
    partition(dataset, clients, spec);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("IID deals equal numbers") {
  CHECK(rc::check([] {
    const Dataset dataset = dataset_of(*rc::gen::inRange(1, 200), *rc::gen::inRange(1, 6));
    const int clients = *rc::gen::inRange(1, 30);
    const Partition result = partition(
        dataset, clients, spec_of(PartitionSpec::kIid, 0, *rc::gen::arbitrary<uint64_t>()));
    RC_ASSERT(std::ssize(result) == clients);
    RC_ASSERT(covers_exactly(dataset, result));
    RC_ASSERT(largest(result) - smallest(result) <= 1);
  }));
}

TEST_CASE("Dirichlet uses every row once and keeps the minimum") {
  CHECK(rc::check([] {
    const Dataset dataset = dataset_of(*rc::gen::inRange(50, 400), *rc::gen::inRange(1, 8));
    const int clients = *rc::gen::inRange(1, 12);
    const auto most = static_cast<int>(dataset.rows.size()) / clients;
    PartitionSpec spec = spec_of(PartitionSpec::kDirichlet, *rc::gen::inRange(0, most + 1),
                                 *rc::gen::arbitrary<uint64_t>());
    spec.alpha = *rc::gen::element(0.001, 0.01, 0.1, 1.0, 100.0, 1e6);
    // The minimum can be the mean itself, which only the repair reaches.
    const Partition result = partition(dataset, clients, spec);
    RC_ASSERT(std::ssize(result) == clients);
    RC_ASSERT(covers_exactly(dataset, result));
    RC_ASSERT(smallest(result) >= spec.min_rows);
  }));
}

TEST_CASE("a smaller alpha is more skewed") {
  const Dataset dataset = dataset_of(4000, 4);
  PartitionSpec spec = spec_of(PartitionSpec::kDirichlet, 10);
  std::vector<double> skews;
  for (const double alpha : {0.05, 0.5, 5.0, 1e6}) {
    spec.alpha = alpha;
    double sum = 0;
    for (spec.seed = 1; spec.seed <= 10; ++spec.seed) {
      sum += skew(dataset, partition(dataset, 20, spec));
    }
    skews.push_back(sum / 10);
  }
  CHECK(std::is_sorted(skews.rbegin(), skews.rend()));
  CHECK(skews[0] > 0.8);
  CHECK(skews[3] == Approx(0.25).margin(0.02));
}

TEST_CASE("Dirichlet shares have the distribution's variance") {
  // One class over two clients: the first one's share is Beta(alpha, alpha), with mean 1/2 and
  // variance 1 / (4 (2 alpha + 1)): 1/12 for alpha 1 (uniform), 1/44 for alpha 5.
  const Dataset dataset = dataset_of(1000, 1);
  for (const auto& [alpha, variance] : {std::pair(1.0, 1.0 / 12), std::pair(5.0, 1.0 / 44)}) {
    PartitionSpec spec = spec_of(PartitionSpec::kDirichlet);
    spec.alpha = alpha;
    double sum = 0, squares = 0;
    constexpr int kDraws = 4000;
    for (spec.seed = 0; spec.seed < kDraws; ++spec.seed) {
      const double share = static_cast<double>(partition(dataset, 2, spec)[0].size()) / 1000;
      sum += share;
      squares += share * share;
    }
    const double mean = sum / kDraws;
    CHECK(mean == Approx(0.5).margin(0.02));
    // The standard error of the variance is below 2 % of it.
    CHECK(squares / kDraws - mean * mean == Approx(variance).epsilon(0.08));
  }
}

TEST_CASE("partitions depend on the seed alone") {
  const Dataset dataset = dataset_of(600, 6);
  for (const auto kind : {PartitionSpec::kIid, PartitionSpec::kDirichlet,
                          PartitionSpec::kPathological, PartitionSpec::kDomain}) {
    CHECK(partition(dataset, 9, spec_of(kind, 5, 1)) == partition(dataset, 9, spec_of(kind, 5, 1)));
    CHECK(partition(dataset, 9, spec_of(kind, 5, 1)) != partition(dataset, 9, spec_of(kind, 5, 2)));
  }
}

TEST_CASE("pathological clients hold at most k classes") {
  CHECK(rc::check([] {
    const int classes = *rc::gen::inRange(1, 10);
    // Classes of unequal size, some of them perhaps empty.
    Dataset dataset = dataset_of(0, classes);
    std::set<int> present;
    for (const int label : *rc::gen::container<std::vector<int>>(
             300,
             rc::gen::map(rc::gen::pair(rc::gen::inRange(0, classes), rc::gen::inRange(0, classes)),
                          [](const auto& pair) { return std::min(pair.first, pair.second); }))) {
      dataset.rows.push_back({"t", "", "", label, ""});
      present.insert(label);
    }
    PartitionSpec spec = spec_of(PartitionSpec::kPathological, 0, *rc::gen::arbitrary<uint64_t>());
    spec.classes_per_client = *rc::gen::inRange(1, classes + 1);
    const int least =
        (static_cast<int>(present.size()) + spec.classes_per_client - 1) / spec.classes_per_client;
    const int clients = *rc::gen::inRange(least, 20);
    RC_PRE(clients >= least);
    const Partition result = partition(dataset, clients, spec);
    RC_ASSERT(covers_exactly(dataset, result));
    for (const auto& counts : class_table(dataset, result)) {
      RC_ASSERT(std::count_if(counts.begin(), counts.end(), [](int64_t n) { return n > 0; }) <=
                spec.classes_per_client);
    }
  }));
}

TEST_CASE("balanced classes give pathological clients of equal size") {
  const Dataset dataset = dataset_of(1000, 10);
  PartitionSpec spec = spec_of(PartitionSpec::kPathological, 50);
  // 20 clients x 2 classes = 40 shares, 4 of each class, 25 rows each.
  const Partition result = partition(dataset, 20, spec);
  for (const auto& counts : class_table(dataset, result)) {
    CHECK(std::count(counts.begin(), counts.end(), 25) == 2);
  }
}

TEST_CASE("pathological clients below the minimum get rows of their own classes") {
  // Class 0 has 90 rows, class 1 has 30: of three shares the first class has two, of 45 rows, and
  // the second one of 30. A minimum of 40 cannot be met there; 30 can.
  Dataset dataset = dataset_of(0, 2);
  for (int i = 0; i < 120; ++i) dataset.rows.push_back({"t", "", "", i < 90 ? 0 : 1, ""});
  PartitionSpec spec = spec_of(PartitionSpec::kPathological, 30);
  spec.classes_per_client = 1;
  CHECK(smallest(partition(dataset, 3, spec)) == 30);
  spec.min_rows = 40;
  CHECK_THAT(error_of(dataset, 3, spec),
             Contains("task.partition.min_rows: 40") && Contains("30 rows only"));

  // Three classes of 100, 100 and 16 rows, three clients of two classes. Six shares: class 0 and
  // class 1 get most; whoever holds the small class's rows is filled up to the minimum of 60.
  dataset = dataset_of(0, 3);
  for (int i = 0; i < 216; ++i)
    dataset.rows.push_back({"t", "", "", i < 100 ? 0 : i < 200 ? 1 : 2, ""});
  spec.classes_per_client = 2;
  spec.min_rows = 60;
  const Partition result = partition(dataset, 3, spec);
  CHECK(smallest(result) >= 60);
  CHECK(covers_exactly(dataset, result));
  for (const auto& counts : class_table(dataset, result)) {
    CHECK(std::count(counts.begin(), counts.end(), 0) >= 1);
  }
}

TEST_CASE("domains are dealt out in turn") {
  // 90 rows, 30 of each of d0, d1, d2. Seven clients: d0 to 0, 3, 6; d1 to 1, 4; d2 to 2, 5.
  const Dataset dataset = dataset_of(90, 2, 3);
  const Partition result = partition(dataset, 7, spec_of(PartitionSpec::kDomain, 10));
  CHECK(covers_exactly(dataset, result));
  for (int client = 0; client < 7; ++client) {
    CHECK(result[client].size() == (client % 3 == 0 ? 10 : 15));
    for (const int32_t row : result[client]) {
      CHECK(dataset.rows[row].domain == "d" + std::to_string(client % 3));
    }
  }
  // Fewer clients than domains: client 0 has d0 and d2.
  const Partition two = partition(dataset, 2, spec_of(PartitionSpec::kDomain, 10));
  CHECK(covers_exactly(dataset, two));
  CHECK(two[0].size() == 60);
  for (const int32_t row : two[1]) CHECK(dataset.rows[row].domain == "d1");
}

TEST_CASE("errors of partitions name the numbers") {
  const Dataset dataset = dataset_of(100, 4);
  CHECK_THAT(error_of(dataset, 11, spec_of(PartitionSpec::kIid, 10)),
             Contains("min_rows: 10") && Contains("11 clients need 110 rows") &&
                 Contains("there are 100") && Contains("a smaller min_rows (at least 1)"));
  CHECK_THAT(error_of(dataset, 101, spec_of(PartitionSpec::kIid, 1)),
             Contains("use fewer clients or more rows"));
  PartitionSpec spec = spec_of(PartitionSpec::kDirichlet);
  for (const double alpha : {0.0, -1.0, std::nan(""), HUGE_VAL}) {
    spec.alpha = alpha;
    CHECK_THAT(error_of(dataset, 5, spec), Contains("dirichlet.alpha"));
  }
  spec = spec_of(PartitionSpec::kPathological);
  spec.classes_per_client = 5;
  CHECK_THAT(error_of(dataset, 5, spec), Contains("classes_per_client: 5: write 1 to 4"));
  spec.classes_per_client = 1;
  CHECK_THAT(error_of(dataset, 3, spec), Contains("3 of 4 classes") && Contains("at least 2"));
  // 10 rows of domain d1 for clients 1 and 3.
  Dataset uneven = dataset;
  for (int i = 0; i < 100; ++i) uneven.rows[i].domain = i < 90 ? "d0" : "d1";
  CHECK_THAT(error_of(uneven, 4, spec_of(PartitionSpec::kDomain, 6)),
             Contains("min_rows: 6: client 1 can have 5 rows only"));

  Dataset bare = dataset;
  bare.rows[7].label = -1;
  bare.rows[9].domain = "";
  CHECK_THAT(error_of(bare, 5, spec_of(PartitionSpec::kDirichlet)), Contains("row 7 has no label"));
  CHECK_THAT(error_of(bare, 5, spec_of(PartitionSpec::kDomain)),
             Contains("row 9 has no domain") && Contains("task.files.domain_field"));
  CHECK(covers_exactly(bare, partition(bare, 5, spec_of(PartitionSpec::kIid))));
}

TEST_CASE("the table of clients and classes") {
  Dataset dataset = dataset_of(5, 2);  // labels 0 1 0 1 0
  const Partition partition = {{0, 1, 2}, {3, 4}};
  CHECK(class_table(dataset, partition) == std::vector<std::vector<int64_t>>{{2, 1}, {1, 1}});
  CHECK(format_class_table(dataset, partition) ==
        "client  class0  class1  rows\n"
        "     0       2       1     3\n"
        "     1       1       1     2\n"
        "   all       3       2     5\n");
  dataset = dataset_of(17, 17);
  CHECK_THAT(format_class_table(dataset, {{0, 16}}), Contains("\n16 = class16\n"));
}

TEST_CASE("own test rows are held out") {
  CHECK(rc::check([] {
    std::vector<int32_t> rows(*rc::gen::inRange<size_t>(0, 60));
    for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<int32_t>(3 * i + 1);
    const double fraction = *rc::gen::element(0.0, 0.1, 0.5, 0.9, 0.99);
    const auto seed = *rc::gen::arbitrary<uint64_t>();
    const RowSplit split = split_rows(rows, fraction, seed, 3);
    std::vector<int32_t> both;
    std::merge(split.train.begin(), split.train.end(), split.test.begin(), split.test.end(),
               std::back_inserter(both));
    RC_ASSERT(both == rows);
    RC_ASSERT(rows.empty() || !split.train.empty());
    RC_ASSERT(split.test == split_rows(rows, fraction, seed, 3).test);
  }));
  std::vector<int32_t> rows(100);
  for (int32_t i = 0; i < 100; ++i) rows[i] = i;
  CHECK(split_rows(rows, 0.1, 1, 0).test.size() == 10);
  CHECK(split_rows(rows, 0.1, 1, 0).test != split_rows(rows, 0.1, 1, 1).test);
  CHECK(split_rows({5}, 0.9, 1, 0).train == std::vector<int32_t>{5});
}

TEST_CASE("partitions of AG News") {
  const char* data = std::getenv("FEDCLOCK_DATA");
  const std::filesystem::path folder = data == nullptr ? "" : data;
  if (!std::filesystem::exists(folder / "ag_news_train.jsonl")) {
    WARN("skipped: FEDCLOCK_DATA names no folder with ag_news_train.jsonl");
    return;
  }
  TableSpec table;
  table.file = folder / "ag_news_train.jsonl";
  const Dataset dataset = read_table(table);
  for (const double alpha : {0.01, 0.1, 0.5, 10.0}) {
    PartitionSpec spec = spec_of(PartitionSpec::kDirichlet, 10);
    spec.alpha = alpha;
    const Partition result = partition(dataset, 20, spec);
    CHECK(covers_exactly(dataset, result));
    CHECK(smallest(result) >= 10);
  }
}
