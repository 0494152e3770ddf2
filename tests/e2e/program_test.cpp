// The program as a person meets it: files, messages, exit codes.
#include <catch2/catch.hpp>

#include <sstream>
#include <string>
#include <vector>

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
  for (const char* name :
       {"result.pb", "rounds.csv", "clients.csv", "scenario.textproto",
        "final_adapter/adapter_config.json", "final_adapter/adapter_model.safetensors"}) {
    CAPTURE(name);
    CHECK(std::filesystem::file_size(here / ("a/" + std::string(name))) > 0);
  }
  const v1::Result result = results::read_result(here / "a");
  CHECK_THAT(ran.out, Contains("run digest"));
  CHECK_THAT(ran.out, Contains(results::run_digest(result).hex()));
  CHECK_THAT(ran.out, Contains("4 x board, 2 x large board") && Contains("fedit") &&
                          Contains("3 rounds done") && !Contains("3 (3 rounds") &&
                          Contains(" up, ") && Contains(" down") && Contains("real time"));
  CHECK_THAT(read_file(here / "a/rounds.csv"),
             StartsWith("round,simulated_s,accuracy,loss,train_loss,client_accuracy,bytes_up,"));
  REQUIRE(here.run("run a/scenario.textproto --out b").code == 0);
  CHECK(read_file(here / "a/result.pb") == read_file(here / "b/result.pb"));
}

TEST_CASE("measurements come when the scenario says, and at the end") {
  const Workplace here;
  REQUIRE(here.run("run " + tiny_scenario() + " --out a").code == 0);
  const v1::Result result = results::read_result(here / "a");
  REQUIRE(result.rounds_size() == 4);      // round 0 is the fresh adapter
  CHECK(result.rounds(0).has_accuracy());  // before training
  CHECK_FALSE(result.rounds(1).has_accuracy());
  CHECK(result.rounds(2).has_accuracy());  // every 2 rounds
  CHECK(result.rounds(3).has_accuracy());  // the last
  CHECK_FALSE(result.rounds(2).has_client_accuracy());
  CHECK(result.rounds(3).has_client_accuracy());
  CHECK(result.rounds(1).has_train_loss());
  // A fresh head on 4 classes: the loss is about ln 4 = 1.386.
  CHECK(result.rounds(0).loss() == Approx(1.386).epsilon(0.1));
  // The task is too hard for so small a model, but clients hold unequal classes, which a few steps
  // on their own rows teach: their loss there falls below that of the fresh head.
  CHECK(result.rounds(3).train_loss() < result.rounds(0).loss());
}

TEST_CASE("a command line that nothing takes is named, with what was probably meant") {
  const Workplace here;
  CHECK(here.run("").code == 2);
  const Ran command = here.run("rnu x");
  CHECK(command.code == 2);
  CHECK(command.err == "rnu: there is no such command; did you mean run?\n");
  CHECK_THAT(here.run("fly").err,
             StartsWith("fly: there is no such command; known: run, validate"));
  for (const std::string seed : {" --seed 3", " --seed=3"}) {
    const Ran option = here.run("run " + tiny_scenario() + seed);
    CHECK(option.code == 2);
    CHECK_THAT(option.err,
               StartsWith("--seed: run has no such option") && Contains("--set seed=3"));
  }
  // The option's value takes the scenario's place: the option is named all the same.
  CHECK_THAT(here.run("run --rounds 5 " + tiny_scenario()).err,
             StartsWith("--rounds: ") && Contains("--set stop.rounds=5"));
  CHECK_THAT(here.run("run " + tiny_scenario() + " --wrokers 2").err,
             StartsWith("--wrokers: ") && Contains("did you mean --workers?"));
  CHECK_THAT(here.run("compare a --xyzzyx").err,
             StartsWith("--xyzzyx: ") && Contains("`fedclock help compare`"));
  CHECK_THAT(here.run("run " + tiny_scenario() + " --set stop={rounds: 3}").err,
             StartsWith("3}: ") && Contains("quotes"));
  for (const std::string workers : {"0", "abc", "2.5", "1025"}) {
    const Ran number = here.run("run " + tiny_scenario() + " --workers " + workers);
    CHECK(number.code == 2);
    CHECK_THAT(number.err, Contains("--workers: " + workers + ": a whole number from 1 to 1024"));
  }
}

TEST_CASE("bad input ends with 2 and a place, and loses nothing") {
  const Workplace here;
  const Ran unknown = here.run("run " + tiny_scenario() + " --set stop.round=3 --out a");
  CHECK(unknown.code == 2);
  CHECK_THAT(unknown.err, Contains("stop.round") && Contains("rounds"));
  CHECK_FALSE(std::filesystem::exists(here / "a"));

  CHECK(here.run("run no_such_file.textproto").code == 2);
  const Ran memory =
      here.run("validate " + tiny_scenario() + " --set platform.devices[1].device.memory_gb=0.001");
  CHECK(memory.code == 2);
  CHECK_THAT(memory.err,
             Contains("platform.devices[1].device.memory_gb: 0.001: ") && Contains("large board"));

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
  CHECK_THAT(other.err, Contains("holds the result of other settings of the same scenario") &&
                            Contains("--overwrite"));
  CHECK(read_file(here / "a/result.pb") == before);
  REQUIRE(
      here.run("run " + tiny_scenario() + " --timing-only --set seed=9 --out a --overwrite").code ==
      0);
  CHECK(read_file(here / "a/result.pb") != before);
  // So is a damaged one.
  std::ofstream(here / "a/result.pb") << "";
  const Ran damaged = here.run("run " + tiny_scenario() + " --timing-only --out a");
  CHECK(damaged.code == 2);
  CHECK_THAT(damaged.err, Contains("a/result.pb: ") && Contains("remove it"));
  const Ran compared = here.run("compare a");
  CHECK(compared.code == 2);
  CHECK_THAT(compared.err, Contains("a/result.pb: "));
}

TEST_CASE("help is complete") {
  const Workplace here;
  const Ran all = here.run("help");
  CHECK(all.code == 0);
  for (const char* word : {"run", "validate", "cost", "compare", "version", "--set", "--out",
                           "--workers", "--timing-only", "--show-partition", "--target",
                           "--overwrite", "--version", "Exit codes: 0 done"}) {
    CHECK_THAT(all.out, Contains(word));
  }
  for (const char* command : {"run", "validate", "cost", "compare", "version"}) {
    const Ran one = here.run(std::string(command) + " --help");
    CHECK(one.code == 0);
    CHECK_THAT(one.out, Contains("Usage"));
  }
  CHECK_THAT(all.out, StartsWith("fedclock: ") && Contains("Usage: fedclock "));
  const Ran run = here.run("help run");
  CHECK(run.code == 0);
  CHECK(run.out == here.run("run --help").out);
  CHECK(here.run("help rnu").code == 2);
  const Ran version = here.run("version");
  CHECK(version.code == 0);
  // The environment's kernels do not count: PORTABLE's are pinned.
  CHECK(here.run("version", "ATEN_CPU_CAPABILITY=default").out == version.out);
  CHECK_THAT(version.out, StartsWith("fedclock 0.") && Contains("portable; libtorch") &&
                              Contains("AVX2") && Contains("NATIVE"));
  const Ran flag = here.run("--version");
  CHECK(flag.code == 0);
  CHECK(flag.out == version.out.substr(0, version.out.find('\n') + 1));
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
  CHECK_THAT(ran.out, Contains("OOM") && Contains("yes") && Contains("fits"));
  CHECK_THAT(ran.out, Contains("upload_MB") && Contains("round_s"));
  // A round has 4 of the 6 clients.
  CHECK_THAT(ran.out, Contains("server server: merges the updates of a round's 4 clients"));
}

TEST_CASE("cost counts the server's choice of experts") {
  const Workplace here;
  const Ran ran = here.run(
      "cost " + tiny_scenario() +
      " --set method=fedamole --set task.auxiliary_fraction=0.1 --set federation.selection={all:{}}"
      " --set 'federation.assignment.experts={experts:9 choices:2 min_experts:1 max_experts:6}'");
  INFO(ran.err);
  CHECK(ran.code == 0);
  CHECK_THAT(ran.out, Contains("chooses the next round's experts in "));
}

// A client computes with two adapters in each map and a router, and sends one.
TEST_CASE("cost shows what FedALT sends: what FedIT does, less the head") {
  const Workplace here;
  const auto upload_mb = [&](const std::string& method) {
    const Ran ran = here.run("cost " + tiny_scenario() + " --set method=" + method);
    REQUIRE(ran.code == 0);
    // "board 15W 4 2 2 step_s memory_GB device_GB upload_MB": the line of both layers.
    std::istringstream words(ran.out.substr(ran.out.find("board       15W          4     2")));
    std::string word;
    for (int i = 0; i < 9; ++i) words >> word;
    return std::stod(word);
  };
  const double fedit = upload_mb("fedit"), fedalt = upload_mb("fedalt");
  CHECK((fedalt < fedit && fedalt > 0.9 * fedit - 0.001));
}

TEST_CASE("cost prints depths that the scenario does not use, with the depth that is timed") {
  const Workplace here;
  const Ran ran = here.run("cost " + tiny_scenario() +
                           " --set federation.assignment={uniform:{depth:1}}"
                           " --set timing.architecture=bert-base");
  INFO(ran.err);
  REQUIRE(ran.code == 0);
  std::istringstream lines(ran.out);
  // "large board" at 30W, 2 of them: 0, 1 and 2 of 2 layers are 0, 6 and 12 of BERT-base's 12.
  std::vector<std::string> depths;
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("large board", 0) != 0) continue;
    std::istringstream words(line.substr(std::string("large board").size()));
    std::string mode, count, depth, timed;
    words >> mode >> count >> depth >> timed;
    CHECK(mode == "30W");
    CHECK(count == "2");
    depths.push_back(depth + ":" + timed);
  }
  CHECK(depths == std::vector<std::string>{"0:0", "1:6", "2:12"});
}

TEST_CASE("a round alone in the cost table is the clock's round of a client alone") {
  const Workplace here;
  // As it is, with a last batch that is smaller, and with TCP.
  const std::string change =
      GENERATE("", " --set 'federation.local={epochs: 1 batch_size: 16 learning_rate: 0.01}'",
               " --set platform.network_model=TCP");
  INFO(change);
  const std::string alone =
      " --set platform.devices[0].count=1 --set platform.devices[1].count=1"
      " --set federation.selection={all:{}} --set stop.rounds=1" +
      change;
  const Ran cost = here.run("cost " + tiny_scenario() + alone);
  INFO(cost.err);
  REQUIRE(cost.code == 0);
  REQUIRE(here.run("run " + tiny_scenario() + alone + " --timing-only --out a").code == 0);
  const v1::Result result = results::read_result(here / "a");
  // Links of their own: the two do not disturb each other. Depth 2 is the scenario's.
  const v1::ClientRound& board = result.rounds(1).clients(0);
  const double round_s = board.download_s() + board.train_s() + board.upload_s();
  std::istringstream lines(cost.out);
  bool found = false;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::vector<std::string> word;
    for (std::string one; words >> one;) word.push_back(one);
    // board 15W 1 2 2 step_s memory_GB device_GB upload_MB download_MB steps round_s fits
    if (word.size() != 13 || word[0] != "board" || word[3] != "2") continue;
    found = true;
    if (change.find("epochs") == std::string::npos) CHECK(word[10] == "6");
    CHECK(std::stod(word[11]) == Approx(round_s).margin(6e-4));  // printed to 1 ms
    CHECK(std::stod(word[8]) == Approx(static_cast<double>(board.bytes_up()) / 1e6).margin(6e-4));
  }
  CHECK(found);
}

TEST_CASE("the cost of centralised training is the server's") {
  const Workplace here;
  const Ran cost = here.run("cost " + tiny_scenario() + " --set method=centralized");
  INFO(cost.err);
  REQUIRE(cost.code == 0);
  CHECK(cost.out.find("\nserver ") != std::string::npos);
  CHECK(cost.out.find("\nboard") == std::string::npos);
}

// Rounds of equal length that send 1 MB up and 2 MB down, with these accuracies (below 0: not
// measured) from round 0 on.
void write_run(const std::filesystem::path& folder, double round_s,
               const std::vector<double>& accuracies) {
  v1::Result result;
  result.set_scenario("by hand");
  for (size_t i = 0; i < accuracies.size(); ++i) {
    v1::Round& round = *result.add_rounds();
    round.set_round(static_cast<int>(i));
    round.set_end_s(round_s * static_cast<double>(i));
    if (accuracies[i] >= 0) round.set_accuracy(accuracies[i]);
    if (i == 0) continue;
    round.set_bytes_up(1'000'000);
    round.set_bytes_down(2'000'000);
  }
  results::prepare_folder(folder, result);
  results::write_files(folder, result, "");
}

TEST_CASE("calibrate writes a profile that a scenario runs on, and never over another") {
  const Workplace here;
  const std::string table =
      std::string(FEDCLOCK_SOURCE_DIR "/") + "scenarios/devices/measurements/jetson-tx2.csv";
  const Ran ran = here.run("calibrate " + table);
  INFO(ran.err);
  REQUIRE(ran.code == 0);
  CHECK_THAT(ran.out,
             Contains("26 rows, each predicted from all others") &&
                 Contains("time of a step: mean 1.9 %, largest 7.2 %; memory: mean 6.9 %"));
  const std::string profile = read_file(here / "devices/jetson-tx2.textproto");
  CHECK_THAT(profile,
             Contains("# Error of rows left out one at a time: time of a step: mean 1.9 %") &&
                 Contains("efficiency: 0.4637") && Contains("memory_factor: 2.071"));
  // More memory than the cost model counts alone: 0.07 GB + 2.071 x 1.6.
  const auto cost = [&](const std::string& device) {
    return here.run("cost " + tiny_scenario() +
                    " --set 'platform.devices[0]={count: 4 profile: \"" + device +
                    "\" network: {up_mbit_s: 8 down_mbit_s: 16 latency_s: 0.01}}'");
  };
  const Ran calibrated = cost((here / "devices/jetson-tx2.textproto").string());
  INFO(calibrated.err);
  REQUIRE(calibrated.code == 0);
  CHECK(calibrated.out != cost("jetson-tx2").out);

  const Ran again = here.run("calibrate " + table);
  CHECK(again.code == 2);
  CHECK_THAT(again.err,
             Contains("jetson-tx2.textproto: is there already") && Contains("--overwrite"));
  CHECK(here.run("calibrate " + table + " --overwrite").code == 0);
  const Ran neither = here.run("calibrate");
  CHECK(neither.code == 2);
  CHECK_THAT(neither.err, Contains("--self"));
  std::ofstream(here / "unknown.csv") << "device,architecture,depth,rank,batch,length,seconds\n"
                                         "tx3,bert-base,1,8,4,256,0.5\n";
  const Ran unknown = here.run("calibrate unknown.csv");
  CHECK(unknown.code == 2);
  CHECK_THAT(unknown.err, Contains("tx3") && Contains("jetson-tx2"));
}

TEST_CASE("compare prints time and traffic to the target, against the first run") {
  const Workplace here;
  write_run(here / "slow", 100, {0.25, 0.4, 0.6, 0.8});
  write_run(here / "fast", 40, {0.25, 0.5, 0.75, -1});
  // All reach 0.75: slow in round 3, at 300 s, after 9 MB; fast in round 2, at 80 s, after 6 MB,
  // which is 300 / 80 = 3.75 times faster.
  const Ran ran = here.run("compare slow fast");
  INFO(ran.err);
  REQUIRE(ran.code == 0);
  CHECK_THAT(ran.out, StartsWith("target accuracy 0.7500, the highest that all of them reach"));
  CHECK_THAT(ran.out, Contains("5 min 00 s       9 MB     1.00x   0.8000   0.8000\n"));
  // fast's last round was not measured.
  CHECK_THAT(ran.out, Contains("1 min 20 s       6 MB     3.75x   0.7500        -\n"));
  const Ran never = here.run("compare slow fast --target 0.8");
  REQUIRE(never.code == 0);
  CHECK_THAT(never.out, Contains("never          -         -   0.7500        -\n"));
  CHECK(here.run("compare nowhere").code == 2);
  CHECK(here.run("compare slow --target 1.5").code == 2);
}

TEST_CASE("why says what a round waited for") {
  const Workplace here;
  REQUIRE(here.run("run " + tiny_scenario() + " --timing-only --out a").code == 0);
  const Ran one = here.run("why a --round 2");
  INFO(one.err);
  REQUIRE(one.code == 0);
  // The 15 W boards behind 8 Mbit/s are last, whenever one of them takes part.
  CHECK_THAT(one.out, Contains("round 2: ") && Contains("(board)") && Contains("upload"));
  CHECK_THAT(here.run("why a").out, Contains("all rounds: ") && Contains("large board"));
  const Ran none = here.run("why a --round 9");
  CHECK(none.code == 2);
  CHECK_THAT(none.err, Contains("--round 9") && Contains("rounds 1 to 3"));
}

TEST_CASE("compare prints the clocks where a run has no accuracies") {
  const Workplace here;
  write_run(here / "slow", 100, {0.25, 0.4, 0.6, 0.8});
  write_run(here / "timed", 50, {-1, -1, -1});
  const Ran ran = here.run("compare slow timed");
  INFO(ran.err);
  REQUIRE(ran.code == 0);
  CHECK_THAT(ran.out, StartsWith("no accuracies in timed "));
  // A round of 100 s against one of 50 s, whatever their number.
  CHECK_THAT(ran.out, Contains("5 min 00 s       1 min 40 s       3 MB       6 MB     1.00x\n"));
  CHECK_THAT(ran.out, Contains("1 min 40 s             50 s       2 MB       4 MB     2.00x\n"));
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
  CHECK_THAT(local.out, Contains("client 0's"));
}

TEST_CASE("a run ends at a target accuracy or at a date") {
  const Workplace here;
  // Any accuracy of a 4-class task passes 0.01.
  const Ran target =
      here.run("run " + tiny_scenario() + " --set stop={rounds:50,accuracy:0.01} --out a");
  INFO(target.err);
  REQUIRE(target.code == 0);
  const v1::Result a = results::read_result(here / "a");
  CHECK(a.stop_reason() == "test accuracy 0.01 reached");
  CHECK(a.rounds_size() == 1);  // the fresh adapter passes already
  // One that only training reaches.
  const Ran later = here.run("run " + tiny_scenario() +
                             " --set method=centralized --set evaluation.every_rounds=1"
                             " --set 'federation.local={steps:60 batch_size:32 learning_rate:0.01}'"
                             " --set stop={rounds:50,accuracy:0.29} --out c");
  INFO(later.err);
  REQUIRE(later.code == 0);
  const v1::Result c = results::read_result(here / "c");
  CHECK(c.stop_reason() == "test accuracy 0.29 reached");
  const int reached = c.rounds_size() - 1;
  REQUIRE(reached >= 2);
  CHECK(c.rounds(reached).accuracy() >= 0.29);
  for (int i = 0; i < reached; ++i) CHECK(c.rounds(i).accuracy() < 0.29);
  const Ran date =
      here.run("run " + tiny_scenario() + " --timing-only --set stop={simulated_s:1} --out b");
  INFO(date.err);
  REQUIRE(date.code == 0);
  const v1::Result b = results::read_result(here / "b");
  CHECK(b.stop_reason() == "1 simulated seconds are over");
  // No round starts after the date; the last one may end after it.
  const int last = b.rounds_size() - 1;
  CHECK(b.rounds(last).start_s() < 1);
  CHECK(b.rounds(last).end_s() >= 1);
}

}  // namespace
}  // namespace fedclock::test
