#include "models/nn/torch.h"  // before Catch2: both name a macro CHECK, the later one counts

#include "models/learning/graph.h"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <fstream>
#include <future>
#include <map>
#include <thread>

#include "models/common/error.h"
#include "tests/models/nn/folder.h"

namespace fedclock::learning {
namespace {

nn::TensorMap scalar(double value) { return {{"x", at::tensor({value}, at::kFloat)}}; }
double scalar_of(const nn::TensorMap& tensors) { return tensors.at("x").item<float>(); }

// Sums of what came before, so that every value is known by hand.
class Sums {
 public:
  Sums(const std::filesystem::path& folder, int64_t limit_bytes, int workers = 2)
      : store(folder.empty() ? nullptr
                             : std::shared_ptr<Store>(Store::open(folder / "store.sqlite",
                                                                  {.limit_bytes = limit_bytes}))),
        graph({.workers = workers, .store = store}) {}

  // The sum of the inputs and `plus`, as tensor and as number.
  Graph::Handle add(const std::vector<Graph::Handle>& inputs, double plus, bool wanted = true) {
    DigestBuilder name;
    name.add("sum").add(plus);
    for (const Graph::Handle& input : inputs) name.add(Graph::name(input));
    return graph.add({JobKind::kTraining, name.finish(), "the sum", inputs,
                      [this, plus](const std::vector<const nn::TensorMap*>& values) {
                        double sum = plus;
                        for (const nn::TensorMap* value : values) sum += scalar_of(*value);
                        ++computed;
                        return Outcome{scalar(sum), {sum}};
                      }},
                     wanted);
  }
  double number(const Graph::Handle& value) { return graph.numbers(value).at(0); }

  std::atomic<int> computed = 0;
  std::shared_ptr<Store> store;
  Graph graph;
};

constexpr int64_t kRoom = 1 << 20;

TEST_CASE("graph: values follow from their inputs, at any number of workers") {
  Sums sums({}, 0, GENERATE(1, 2, 4));
  // Pascal's triangle: entry (n, k) is the sum of two entries of the row before.
  std::vector<Graph::Handle> row = {sums.add({}, 1)};
  for (int n = 1; n < 24; ++n) {
    std::vector<Graph::Handle> next;
    for (int k = 0; k <= n; ++k) {
      std::vector<Graph::Handle> inputs;
      if (k > 0) inputs.push_back(row[k - 1]);
      if (k < n) inputs.push_back(row[k]);
      next.push_back(sums.add(inputs, 0));
    }
    row = next;
  }
  CHECK(sums.number(row[11]) == 1352078);  // 23! / (11! 12!)
  CHECK(scalar_of(*sums.graph.tensors(row[5])) == 33649);
}

TEST_CASE("graph: what nobody asks for is not computed; equal names are one value") {
  Sums sums({}, 0);
  const Graph::Handle idle = sums.add({}, 1, false);
  const Graph::Handle idler = sums.add({idle}, 1, false);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  CHECK(sums.computed == 0);
  const Graph::Handle a = sums.add({idle}, 2);
  const Graph::Handle b = sums.add({idle}, 2);
  CHECK(sums.number(a) == 3);
  CHECK(sums.number(b) == 3);
  CHECK(sums.computed == 2);  // idle and a
  const JobCount count = sums.graph.counts().of(JobKind::kTraining);
  CHECK(count.known == 0);
  CHECK(count.shared == 1);
  CHECK(count.computed == 2);
}

TEST_CASE("graph: tensors leave memory with the last handle and the last user") {
  Sums sums({}, 0);
  std::weak_ptr<const nn::TensorMap> watch;
  {
    const Graph::Handle a = sums.add({}, 1);
    sums.number(a);
    watch = sums.graph.tensors(a);
    CHECK_FALSE(watch.expired());
    const Graph::Handle b = sums.add({a}, 1);
    CHECK(sums.number(b) == 2);
  }
  CHECK(watch.expired());
}

TEST_CASE(
    "graph: what may still be asked for keeps its inputs, so that nothing is computed twice") {
  Sums sums({}, 0);
  std::weak_ptr<const nn::TensorMap> watch;
  Graph::Handle merged;
  {
    const Graph::Handle update = sums.add({}, 1);
    merged = sums.add({update}, 1, false);  // as a merge is, whose update's loss is asked for first
    CHECK(sums.number(update) == 1);
    watch = sums.graph.tensors(update);
  }
  CHECK_FALSE(watch.expired());
  CHECK(sums.number(merged) == 2);
  CHECK(sums.computed == 2);
  CHECK(watch.expired());
  // Of a chain of which nobody can ask for the end any more, nothing stays.
  {
    const Graph::Handle update = sums.add({}, 10);
    const Graph::Handle part = sums.add({update}, 10, false);
    const Graph::Handle whole = sums.add({part}, 10, false);
    CHECK(sums.number(update) == 10);
    watch = sums.graph.tensors(update);
  }
  CHECK(watch.expired());
}

TEST_CASE("graph: a second run computes nothing, and knows tensors too") {
  const nn::Folder folder;
  for (const int expected : {3, 0}) {
    Sums sums(folder.path(), kRoom);
    const Graph::Handle a = sums.add({}, 1, false);
    const Graph::Handle b = sums.add({a}, 2);
    const Graph::Handle c = sums.add({a, b}, 4);
    CHECK(sums.number(c) == 8);
    CHECK(sums.number(b) == 3);
    CHECK(scalar_of(*sums.graph.tensors(c)) == 8);
    CHECK(sums.computed == expected);
    CHECK(sums.graph.counts().total().known == 3 - expected);
  }
}

TEST_CASE("graph: tensors that the store let go of are computed again from the graph") {
  const nn::Folder folder;
  const int64_t limit = GENERATE(int64_t{0}, kRoom);
  for (const double last : {1.0, 2.0}) {
    Sums sums(folder.path(), limit);
    Graph::Handle value = sums.add({}, 0, false);
    for (int i = 1; i <= 10; ++i) value = sums.add({value}, i);
    const Graph::Handle end = sums.add({value}, last);  // new in the second round
    CHECK(sums.number(end) == 55 + last);
    const int again = limit == 0 ? 12 : 1;
    CHECK(sums.computed == (last == 1.0 ? 12 : again));
  }
}

TEST_CASE("graph: an error carries the label and reaches all that depend on it") {
  Sums sums({}, 0);
  const Graph::Handle bad =
      sums.graph.add({JobKind::kTraining,
                      DigestBuilder().add("bad").finish(),
                      "round 3, client 5: local training",
                      {},
                      [](const auto&) -> Outcome { throw InputError("no rows"); }},
                     true);
  const Graph::Handle child = sums.add({bad}, 1);
  const Graph::Handle grandchild = sums.add({child, sums.add({}, 1)}, 1, false);
  for (const auto& value : {bad, child, grandchild}) {
    CHECK_THROWS_AS(sums.graph.numbers(value), InputError);
    CHECK_THROWS_WITH(sums.graph.numbers(value), "round 3, client 5: local training: no rows");
  }
  CHECK(sums.number(sums.add({}, 7)) == 7);  // the workers live on
}

TEST_CASE("graph: the adding thread waits while too much is unfinished") {
  std::promise<void> open;
  auto opened = open.get_future().share();
  Graph graph({.workers = 1, .store = nullptr, .most_unfinished_jobs = 2});
  std::atomic<int> added = 0;
  std::vector<Graph::Handle> values;
  std::thread adder([&] {
    for (int i = 0; i < 5; ++i) {
      values.push_back(graph.add({JobKind::kTraining,
                                  DigestBuilder().add(i).finish(),
                                  "job",
                                  {},
                                  [opened](const auto&) {
                                    opened.wait();
                                    return Outcome{{}, {1}};
                                  }},
                                 true));
      ++added;
    }
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  CHECK(added == 2);
  open.set_value();
  adder.join();
  CHECK(added == 5);
}

TEST_CASE("graph: the end does not wait for what nobody asked for") {
  std::atomic<int> ran = 0;
  {
    Graph graph({.workers = 1, .store = nullptr});
    Graph::Handle last;
    for (int i = 0; i < 200; ++i) {
      last = graph.add({JobKind::kTraining, DigestBuilder().add(i).finish(), "job",
                        last ? std::vector{last} : std::vector<Graph::Handle>{},
                        [&ran](const auto&) {
                          std::this_thread::sleep_for(std::chrono::milliseconds(20));
                          ++ran;
                          return Outcome{{}, {}};
                        }},
                       true);
    }
  }
  CHECK(ran < 50);
}

// Runs in a child process: 40 values, each of which takes a while; a line a computation.
void compute_slowly(const std::filesystem::path& folder, int child) {
  const auto store = std::shared_ptr<Store>(Store::open(folder / "store.sqlite", {}));
  std::ofstream lines(folder / ("computed" + std::to_string(child)));
  Graph graph({.workers = 2, .store = store});
  std::mutex mutex;
  std::vector<Graph::Handle> values;
  for (int i = 0; i < 40; ++i) {
    values.push_back(graph.add({JobKind::kTraining,
                                DigestBuilder().add(i).finish(),
                                "job",
                                {},
                                [&, i](const auto&) {
                                  std::this_thread::sleep_for(std::chrono::milliseconds(10));
                                  const std::lock_guard lock(mutex);
                                  lines << i << std::endl;
                                  return Outcome{scalar(i), {i * 2.0}};
                                }},
                               true));
  }
  for (int i = 0; i < 40; ++i) {
    if (graph.numbers(values[i]).at(0) != i * 2.0) _exit(1);
  }
  lines.close();
  _exit(0);
}

TEST_CASE("graph: processes that share a store share the work") {
  const nn::Folder folder;
  Store::open(folder / "store.sqlite", {});
  std::vector<pid_t> children;
  for (int child = 0; child < 3; ++child) {
    children.push_back(fork());
    if (children.back() == 0) compute_slowly(folder.path(), child);
  }
  for (const pid_t child : children) {
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
  }
  std::map<int, int> times;
  for (int child = 0; child < 3; ++child) {
    std::ifstream lines(folder / ("computed" + std::to_string(child)));
    for (int i = 0; lines >> i;) ++times[i];
  }
  CHECK(times.size() == 40);
  for (const auto& [i, count] : times) CHECK(count == 1);
}

}  // namespace
}  // namespace fedclock::learning
