// The program as a person meets it: files, messages, exit codes.
#include <catch2/catch.hpp>

#include "sim/results/compare.h"
#include "sim/results/files.h"
#include "tests/e2e/program.h"

namespace fedclock::test {
namespace {

using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;

TEST_CASE("run writes all its files, and the resolved scenario runs to the same result") {
  const Workplace here;
  const Ran ran = here.run("run " + tiny_scenario() + " --out a");
  INFO(ran.err);
  REQUIRE(ran.code == 0);
  for (const char* name : {"result.pb", "rounds.csv", "clients.csv", "scenario.textproto",
                           "final_adapter/adapter_config.json",
                           "final_adapter/adapter_model.safetensors"}) {
    CAPTURE(name);
    CHECK(std::filesystem::file_size(here / ("a/" + std::string(name))) > 0);
  }
  const v1::Result result = results::read_result(here / "a");
  CHECK_THAT(ran.out, Contains("run digest"));
  CHECK_THAT(ran.out, Contains(results::run_digest(result).hex()));
  CHECK_THAT(read_file(here / "a/rounds.csv"),
             StartsWith("round,simulated_s,accuracy,loss,train_loss,client_accuracy,bytes_up,"));
  REQUIRE(here.run("run a/scenario.textproto --out b").code == 0);
  CHECK(read_file(here / "a/result.pb") == read_file(here / "b/result.pb"));
}

TEST_CASE("measurements come when the scenario says, and at the end") {
  const Workplace here;
  REQUIRE(here.run("run " + tiny_scenario() + " --out a").code == 0);
  const v1::Result result = results::read_result(here / "a");
  REQUIRE(result.rounds_size() == 4);         // round 0 is the fresh adapter
  CHECK(result.rounds(0).has_accuracy());     // before training
  CHECK_FALSE(result.rounds(1).has_accuracy());
  CHECK(result.rounds(2).has_accuracy());     // every 2 rounds
  CHECK(result.rounds(3).has_accuracy());     // the last
  CHECK_FALSE(result.rounds(2).has_client_accuracy());
  CHECK(result.rounds(3).has_client_accuracy());
  CHECK(result.rounds(1).has_train_loss());
  // A fresh head on 4 classes: the loss is about ln 4 = 1.386.
  CHECK(result.rounds(0).loss() == Approx(1.386).epsilon(0.1));
  CHECK(result.rounds(3).loss() < result.rounds(0).loss());
}

TEST_CASE("bad input ends with 2 and a place, and loses nothing") {
  const Workplace here;
  const Ran unknown = here.run("run " + tiny_scenario() + " --set stop.round=3 --out a");
  CHECK(unknown.code == 2);
  CHECK_THAT(unknown.err, Contains("stop.round") && Contains("rounds"));
  CHECK_FALSE(std::filesystem::exists(here / "a"));

  CHECK(here.run("run no_such_file.textproto").code == 2);
  CHECK(here.run("fly").code == 2);
  CHECK(here.run("").code == 2);

  const Ran memory =
      here.run("validate " + tiny_scenario() + " --set platform.devices[1].device.memory_gb=0.001");
  CHECK(memory.code == 2);
  CHECK_THAT(memory.err, Contains("platform.devices[1].device.memory_gb: 0.001: ") &&
                             Contains("large board"));

  const Ran rows = here.run("validate " + tiny_scenario() + " --set platform.devices[0].count=400");
  CHECK(rows.code == 2);
  CHECK_THAT(rows.err, Contains("240"));

  const Ran files = here.run("validate " + tiny_scenario() +
                                 " --set 'task.files={train:\"a.jsonl\" test:\"b.jsonl\"}'"
                                 " --set 'model.pretrain.files={files:[\"a.jsonl\"]}'",
                             "FEDCLOCK_DATA=");
  CHECK(files.code == 2);
  CHECK_THAT(files.err, Contains("--data DIR") && Contains("FEDCLOCK_DATA"));

  // A folder that holds another scenario's result is left alone.
  REQUIRE(here.run("run " + tiny_scenario() + " --timing-only --out a").code == 0);
  const std::string before = read_file(here / "a/result.pb");
  const Ran other = here.run("run " + tiny_scenario() + " --timing-only --set seed=9 --out a");
  CHECK(other.code == 2);
  CHECK_THAT(other.err, Contains("holds the result of another scenario"));
  CHECK(read_file(here / "a/result.pb") == before);
}

TEST_CASE("help is complete") {
  const Workplace here;
  const Ran all = here.run("help");
  CHECK(all.code == 0);
  for (const char* word : {"run", "validate", "cost", "compare", "version", "--set", "--out",
                           "--workers", "--timing-only", "--show-partition", "--target"}) {
    CHECK_THAT(all.out, Contains(word));
  }
  for (const char* command : {"run", "validate", "cost", "compare", "version"}) {
    const Ran one = here.run(std::string(command) + " --help");
    CHECK(one.code == 0);
    CHECK_THAT(one.out, Contains("Usage"));
  }
  CHECK_THAT(here.run("version").out, StartsWith("fedclock 0.") && Contains("libtorch"));
}

TEST_CASE("validate shows who holds what") {
  const Workplace here;
  const Ran ran = here.run("validate " + tiny_scenario() + " --show-partition");
  REQUIRE(ran.code == 0);
  CHECK_THAT(ran.out, Contains("valid: 6 clients, 240 training rows, 4 classes"));
  CHECK_THAT(ran.out, Contains("240"));
}

TEST_CASE("cost prints every device at every depth, and where memory does not suffice") {
  const Workplace here;
  const Ran ran =
      here.run("cost " + tiny_scenario() + " --set platform.devices[0].device.memory_gb=0.001");
  INFO(ran.err);
  REQUIRE(ran.code == 0);
  CHECK_THAT(ran.out, Contains("board") && Contains("large board") && Contains("step_s"));
  CHECK_THAT(ran.out, Contains("OOM") && Contains("fits"));
}

TEST_CASE("compare prints time and traffic to the target, against the first run") {
  const Workplace here;
  REQUIRE(here.run("run " + tiny_scenario() + " --out slow "
                   "--set platform.devices[0].network.up_mbit_s=1 "
                   "--set federation.selection={all:{}}").code == 0);
  REQUIRE(here.run("run " + tiny_scenario() + " --out fast "
                   "--set federation.selection={all:{}}").code == 0);
  const Ran ran = here.run("compare slow fast");
  INFO(ran.err);
  REQUIRE(ran.code == 0);
  CHECK_THAT(ran.out, Contains("slow") && Contains("fast") && Contains("1.00x"));
  const auto slow = results::read_result(here / "slow"), fast = results::read_result(here / "fast");
  const double target = results::common_target({slow, fast}).value();
  const auto a = results::time_to_accuracy(slow, target), b = results::time_to_accuracy(fast, target);
  REQUIRE((a && b));
  CHECK(a->round == b->round);
  CHECK(a->bytes == b->bytes);
  CHECK(a->simulated_s > b->simulated_s);
  CHECK(here.run("compare nowhere").code == 2);
}

TEST_CASE("the references run: centralised and local only") {
  const Workplace here;
  const Ran central = here.run("run " + tiny_scenario() +
                               " --set method=centralized --set federation.selection={all:{}} "
                               "--out central");
  INFO(central.err);
  REQUIRE(central.code == 0);
  const v1::Result c = results::read_result(here / "central");
  CHECK(c.rounds(3).bytes_up() == 0);
  CHECK(c.rounds(3).has_accuracy());
  CHECK(c.rounds(3).train_loss() > 0);
  const Ran local = here.run("run " + tiny_scenario() + " --set method=local_only --out local");
  INFO(local.err);
  REQUIRE(local.code == 0);
  const v1::Result l = results::read_result(here / "local");
  CHECK(l.rounds(3).bytes_up() + l.rounds(3).bytes_down() == 0);
  CHECK(l.rounds(3).has_accuracy());
  CHECK(l.rounds(3).clients_size() == 4);
}

TEST_CASE("a run ends at a target accuracy or at a date") {
  const Workplace here;
  // Any accuracy of a 4-class task passes 0.01: the target stops the run after the first
  // measurement that follows a round.
  const Ran target = here.run("run " + tiny_scenario() +
                              " --set stop={rounds:50,accuracy:0.01} --out a");
  INFO(target.err);
  REQUIRE(target.code == 0);
  const v1::Result a = results::read_result(here / "a");
  CHECK(a.stop_reason() == "test accuracy 0.01 reached");
  CHECK(a.rounds_size() == 1);  // the fresh adapter passes already
  const Ran date = here.run("run " + tiny_scenario() +
                            " --timing-only --set stop={simulated_s:1} --out b");
  INFO(date.err);
  REQUIRE(date.code == 0);
  const v1::Result b = results::read_result(here / "b");
  CHECK(b.stop_reason() == "1 simulated seconds are over");
  // No round starts after the date; the last one may end after it.
  const int last = b.rounds_size() - 1;
  CHECK(b.rounds(last).start_s() < 1);
  CHECK(b.rounds(last).end_s() >= 1);
}

TEST_CASE("a decoder learns to answer instructions") {
  const Workplace here;
  const Ran ran = here.run(
      "run " + tiny_scenario() +
      " --set task.synthetic.form=INSTRUCTION --set model.pretrain.architecture.kind=DECODER"
      " --set model.pretrain.steps=60 --set 'model.adapter.targets=[Q,V,GATE,DOWN]' --out a");
  INFO(ran.err);
  REQUIRE(ran.code == 0);
  const v1::Result result = results::read_result(here / "a");
  CHECK(result.rounds(3).loss() < result.rounds(0).loss());
}

}  // namespace
}  // namespace fedclock::test
