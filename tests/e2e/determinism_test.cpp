// The two rules of the house, on the program itself: results are a function of the scenario alone,
// and neither the clock nor the learning reaches the other.
#include <catch2/catch.hpp>

#include <fstream>

#include "sim/results/files.h"
#include "tests/e2e/program.h"

namespace fedclock::test {
namespace {

using Catch::Contains;

// The store would know the second run's results.
const std::string kRun = "run " + tiny_scenario() + " --no-store";

std::string adapter_bytes(const std::filesystem::path& folder) {
  return read_file(folder / "final_adapter" / "adapter_model.safetensors");
}

TEST_CASE("the same bytes with any number of workers and whatever the environment asks for") {
  const Workplace here;
  const Ran first = here.run(kRun + " --workers 1 --out a");
  INFO(first.err);
  REQUIRE(first.code == 0);
  const std::string result = read_file(here / "a/result.pb");
  const std::string adapter = adapter_bytes(here / "a");
  REQUIRE_FALSE(result.empty());
  REQUIRE_FALSE(adapter.empty());
  const struct {
    const char* workers;
    const char* environment;
  } others[] = {{"1", "OMP_NUM_THREADS=1"},
                {"2", "OMP_NUM_THREADS=2 OPENBLAS_NUM_THREADS=4"},
                {"8", "OMP_NUM_THREADS=4 OPENBLAS_CORETYPE=Prescott"},
                {"3",
                 "OMP_NUM_THREADS=3 ATEN_CPU_CAPABILITY=default OMP_DYNAMIC=TRUE "
                 "ONEDNN_MAX_CPU_ISA=SSE41 DNNL_MAX_CPU_ISA=SSE41"}};
  for (const auto& other : others) {
    CAPTURE(other.workers, other.environment);
    std::filesystem::remove_all(here / "b");
    const Ran again = here.run(kRun + " --out b --workers " + other.workers, other.environment);
    REQUIRE(again.code == 0);
    CHECK(read_file(here / "b/result.pb") == result);
    CHECK(adapter_bytes(here / "b") == adapter);
    CHECK(read_file(here / "b/rounds.csv") == read_file(here / "a/rounds.csv"));
    CHECK(read_file(here / "b/clients.csv") == read_file(here / "a/clients.csv"));
  }
}

// Availability from a table, with everything else that a world can be.
TEST_CASE("the same availability trace and seed: the same event log with any number of workers") {
  const Workplace here;
  std::ofstream(here / "days.csv") << "client_id,start_s,end_s\n"
                                      "10,0,0.15\n10,0.2,3\n9,0,0.03\n9,0.06,2.5\n11,0.1,2\n";
  const std::string run =
      "run " + tiny_scenario() +
      " --no-store --data ."
      " --set 'federation.schedule={synchronous:{on_failure:RESELECT}}'" +
      " --set 'federation.selection={random:{count:4}}'" +
      " --set 'platform.devices[0].availability={trace:{file:\"days.csv\" period_s:3}}'" +
      " --set 'platform.devices[1].availability={churn:{mean_on_s:0.2 mean_off_s:0.05}}'" +
      " --set 'platform.devices[0].network={latency_s:0.01 " +
      "drawn:{every_s:0.02 down_mbit_s:{uniform:{low:4 high:20}}}}' --set stop.rounds=8";
  const Ran first = here.run(run + " --workers 1 --out a");
  INFO(first.err);
  REQUIRE(first.code == 0);
  const std::string events = read_file(here / "a/events.csv");
  CHECK_THAT(events, Contains(",broken\n") && Contains(",done\n"));
  CHECK_THAT(first.out, Contains("parts dropped"));
  for (const char* workers : {"2", "5"}) {
    CAPTURE(workers);
    REQUIRE(here.run(run + " --overwrite --out b --workers " + workers).code == 0);
    CHECK(read_file(here / "b/events.csv") == events);
    CHECK(read_file(here / "b/result.pb") == read_file(here / "a/result.pb"));
  }
  // Clients that took another's place have their accuracies too.
  REQUIRE(here.run(run + " --overwrite --out c --set evaluation.clients_every_rounds=1").code == 0);
  const v1::Result replaced = results::read_result(here / "c");
  for (const v1::Round& round : replaced.rounds()) {
    for (const v1::ClientRound& client : round.clients()) CHECK(client.has_accuracy());
  }
  // And without the learning; another trace is another world.
  REQUIRE(here.run(run + " --overwrite --out b --timing-only").code == 0);
  CHECK(read_file(here / "b/events.csv") == events);
  std::ofstream(here / "days.csv", std::ios::app) << "12,0,1\n";
  REQUIRE(here.run(run + " --overwrite --out b --timing-only").code == 0);
  // The folder has no say, its contents have.
  CHECK(results::read_result(here / "b").scenario_digest() ==
        results::read_result(here / "a").scenario_digest());
  CHECK(results::read_result(here / "b").world_digest() !=
        results::read_result(here / "a").world_digest());
}

// Dropout is learnt by stock operators (models/learning/reference.h).
TEST_CASE("the same bytes with dropout, with any number of workers") {
  const Workplace here;
  const std::string run = kRun + " --set model.adapter.dropout=0.1 --out ";
  REQUIRE(here.run(run + "a --workers 1").code == 0);
  REQUIRE(here.run(run + "b --workers 8").code == 0);
  CHECK(read_file(here / "b/result.pb") == read_file(here / "a/result.pb"));
  CHECK(adapter_bytes(here / "b") == adapter_bytes(here / "a"));
}

TEST_CASE("a base pretrained anew, by another number of workers, gives the same bytes") {
  const Workplace here;
  REQUIRE(here.run(kRun + " --workers 1 --out a").code == 0);
  std::filesystem::remove_all(Workplace::cache());
  const Ran again = here.run(kRun + " --workers 3 --out b");
  REQUIRE(again.code == 0);
  CHECK(again.err.find("pretraining the base") != std::string::npos);
  CHECK(read_file(here / "b/result.pb") == read_file(here / "a/result.pb"));
}

TEST_CASE("stock operators learn the same, up to rounding, and never share a store with the CPU") {
  const Workplace here;
  REQUIRE(here.run("run " + tiny_scenario() + " --out a").code == 0);
  const Ran stock = here.run("run " + tiny_scenario() + " --device reference --out b");
  INFO(stock.err);
  REQUIRE(stock.code == 0);
  CHECK_THAT(stock.out, Contains("stock operators"));
  const v1::Result fast = results::read_result(here / "a");
  const v1::Result slow = results::read_result(here / "b");
  REQUIRE(slow.rounds_size() == fast.rounds_size());
  for (int i = 0; i < slow.rounds_size(); ++i) {
    CHECK(slow.rounds(i).end_s() == fast.rounds(i).end_s());
    CHECK(slow.rounds(i).loss() == Approx(fast.rounds(i).loss()).epsilon(1e-4));
  }
  CHECK(slow.adapter_digest() != fast.adapter_digest());
  CHECK_THAT(here.run("compare a b").out,
             Contains("b learnt on other kernels or libraries than a"));
}

TEST_CASE("what this machine cannot learn with is refused") {
  const Workplace here;
  // Debian's libtorch has no CUDA; with another one this test has nothing to refuse.
  const Ran cuda = here.run("run " + tiny_scenario() + " --device cuda --out a");
  if (cuda.code != 0) {
    CHECK(cuda.code == 2);
    CHECK_THAT(cuda.err, Contains("--device cuda: ") && Contains("leave the option out"));
    CHECK_FALSE(std::filesystem::exists(here / "a"));
  }
  const Ran stock = here.run("run " + tiny_scenario() +
                             " --set numerics=NATIVE --set precision=BF16 --device reference");
  CHECK(stock.code == 2);
  CHECK_THAT(stock.err, Contains("precision: BF16 is for --device cpu alone"));
  const Ran bf16 =
      here.run("run " + tiny_scenario() + " --set numerics=NATIVE --set precision=BF16 --out c");
  INFO(bf16.err);
  if (bf16.code == 0) {
    CHECK_THAT(bf16.out, Contains("; BF16"));
  } else {
    CHECK(bf16.code == 2);
    CHECK_THAT(bf16.err, Contains("precision: BF16: this processor has no AMX"));
  }
}

TEST_CASE("another seed gives another result") {
  const Workplace here;
  REQUIRE(here.run(kRun + " --out a").code == 0);
  REQUIRE(here.run(kRun + " --set seed=4 --out b").code == 0);
  CHECK(adapter_bytes(here / "a") != adapter_bytes(here / "b"));
}

TEST_CASE("a bandwidth changes the clock and not one bit of the learning") {
  const Workplace here;
  const std::string everyone = " --set federation.selection={all:{}}";
  REQUIRE(here.run(kRun + everyone + " --out a").code == 0);
  REQUIRE(
      here.run(kRun + everyone + " --set platform.devices[0].network.up_mbit_s=1 --out b").code ==
      0);
  const v1::Result a = results::read_result(here / "a");
  const v1::Result b = results::read_result(here / "b");
  REQUIRE(a.rounds_size() == b.rounds_size());
  CHECK(b.rounds(3).end_s() > a.rounds(3).end_s() + 0.2);
  for (int i = 0; i < a.rounds_size(); ++i) {
    CHECK(a.rounds(i).accuracy() == b.rounds(i).accuracy());
    CHECK(a.rounds(i).loss() == b.rounds(i).loss());
    CHECK(a.rounds(i).train_loss() == b.rounds(i).train_loss());
    CHECK(a.rounds(i).client_accuracy() == b.rounds(i).client_accuracy());
  }
  CHECK(a.adapter_digest() == b.adapter_digest());
  CHECK(adapter_bytes(here / "a") == adapter_bytes(here / "b"));
}

TEST_CASE("timing only gives the same clock to the last bit") {
  const Workplace here;
  REQUIRE(here.run(kRun + " --out a").code == 0);
  const Ran timed = here.run(kRun + " --timing-only --out b");
  INFO(timed.err);
  REQUIRE(timed.code == 0);
  const v1::Result a = results::read_result(here / "a");
  const v1::Result b = results::read_result(here / "b");
  REQUIRE(a.rounds_size() == b.rounds_size());
  for (int i = 0; i < a.rounds_size(); ++i) {
    CHECK(a.rounds(i).start_s() == b.rounds(i).start_s());
    CHECK(a.rounds(i).end_s() == b.rounds(i).end_s());
    CHECK_FALSE(b.rounds(i).has_accuracy());
    REQUIRE(a.rounds(i).clients_size() == b.rounds(i).clients_size());
    for (int c = 0; c < a.rounds(i).clients_size(); ++c) {
      CHECK(a.rounds(i).clients(c).client() == b.rounds(i).clients(c).client());
      CHECK(a.rounds(i).clients(c).upload_s() == b.rounds(i).clients(c).upload_s());
      CHECK(a.rounds(i).clients(c).train_s() == b.rounds(i).clients(c).train_s());
    }
  }
  CHECK_FALSE(b.learned());
  // A stop at an accuracy needs the numbers.
  const Ran refused = here.run(kRun + " --timing-only --set stop.accuracy=0.9 --out c");
  CHECK(refused.code == 2);
  CHECK(refused.err.find("stop.accuracy: 0.9: ") != std::string::npos);
}

}  // namespace
}  // namespace fedclock::test
