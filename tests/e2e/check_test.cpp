// fedclock check: what it catches, as a user would meet it.
#include <catch2/catch.hpp>

#include "sim/results/files.h"
#include "tests/e2e/program.h"

namespace fedclock::test {
namespace {

using Catch::Contains;

// A run of the tiny scenario in folder `out`, with these settings.
void run_tiny(const Workplace& here, const std::string& out, const std::string& settings = "") {
  const Ran ran = here.run("run " + tiny_scenario() + " --out " + out + " --quiet " + settings);
  INFO(ran.err);
  REQUIRE(ran.code == 0);
}

Ran check(const Workplace& here, const std::string& folder, const std::string& more = "") {
  return here.run("check " + folder + " --baseline kept.textproto " + more);
}

TEST_CASE("check: as kept, and what it catches") {
  const Workplace here;
  run_tiny(here, "kept");
  Ran ran = check(here, "kept");
  CHECK(ran.code == 2);
  CHECK_THAT(ran.err, Contains("kept.textproto: cannot be read") && Contains("--update"));
  ran = check(here, "kept", "--update");
  INFO(ran.err);
  REQUIRE(ran.code == 0);
  run_tiny(here, "again");
  ran = check(here, "again", "--junit out.xml --github");
  CHECK(ran.code == 0);
  CHECK(ran.out == ".: as kept\n");
  CHECK_THAT(read_file(here / "out.xml"), Contains("failures=\"0\""));

  const auto catches = [&](const std::string& settings, const std::string& what) {
    INFO(settings);
    run_tiny(here, "now", settings + " --overwrite");
    const Ran now = check(here, "now", "--github --junit out.xml");
    CHECK(now.code == 1);
    CHECK_THAT(now.out, Contains(".: moved") && Contains(what));
    CHECK_THAT(now.out, Contains("::error file=kept.textproto"));
    CHECK_THAT(now.err, Contains("--update"));
    CHECK_THAT(read_file(here / "out.xml"), Contains("failures=\"1\""));
    return now.out;
  };
  // A link that is 1 % slower: the dates alone.
  const double up = 0.99;
  const std::string slower = catches(
      "--set platform.devices[0].network.up_mbit_s=" + std::to_string(20 * up), "end of round 1: ");
  CHECK_THAT(slower, !Contains("accuracy of") && !Contains("bytes up"));
  // Another weight of the updates: what is learnt alone.
  const std::string weighed =
      catches("--set federation.aggregation.mean.weight_by_rows=false", "loss of round");
  CHECK_THAT(weighed, !Contains("end of round") && Contains("final adapter"));
  catches("--set seed=2", "scenario: another one");
  catches("--set stop.rounds=1", "missing: ");
}

TEST_CASE("check: one changed bit of an adapter") {
  const Workplace here;
  run_tiny(here, "kept");
  REQUIRE(check(here, "kept", "--update").code == 0);
  // In the middle of its file.
  const auto file = here / "kept/final_adapter/adapter_model.safetensors";
  const std::string bytes = read_file(file);
  std::string other = bytes;
  other[other.size() / 2] = static_cast<char>(other[other.size() / 2] ^ 1);
  std::ofstream(file, std::ios::binary) << other;
  const Ran flipped = check(here, "kept");
  CHECK(flipped.code == 1);
  CHECK_THAT(flipped.out, Contains("adapter_model.safetensors has other bytes"));
  std::filesystem::remove(file);
  CHECK_THAT(check(here, "kept").out, Contains("adapter_model.safetensors is missing"));
  std::ofstream(file, std::ios::binary) << bytes;
  CHECK(check(here, "kept").code == 0);
  // The digest that the result has of its adapter, in one bit of one digit.
  v1::Result result = results::read_result(here / "kept");
  std::string digest = result.adapter_digest();
  digest.back() = digest.back() == '0' ? '1' : '0';
  result.set_adapter_digest(digest);
  results::write_file(here / "kept/result.pb", results::result_bytes(result));
  const Ran ran = check(here, "kept");
  CHECK(ran.code == 1);
  CHECK_THAT(ran.out, Contains("final adapter: " + digest));
}

TEST_CASE("check: folders of many runs, and input that is none") {
  const Workplace here;
  run_tiny(here, "all/a");
  run_tiny(here, "all/b", "--set stop.rounds=1");
  REQUIRE(check(here, "all", "--update").code == 0);
  CHECK(check(here, "all").out == "a: as kept\nb: as kept\n");
  std::filesystem::remove_all(here / "all/b");
  CHECK_THAT(check(here, "all").out, Contains("b: moved\n  missing"));
  const Ran nowhere = check(here, "nowhere", "--github --junit error.xml");
  CHECK(nowhere.code == 2);
  CHECK_THAT(nowhere.out, Contains("::error file=kept.textproto,title=fedclock check::nowhere: "));
  CHECK_THAT(read_file(here / "error.xml"),
             Contains("tests=\"1\" failures=\"0\" errors=\"1\"") && Contains("<error message="));
  std::filesystem::create_directory(here / "empty");
  const Ran none = check(here, "empty");
  CHECK(none.code == 2);
  CHECK_THAT(none.err, Contains("holds no result"));
  CHECK(check(here, "all", "--quick").code == 2);
  CHECK(check(here, "all", "--update --github").code == 2);
  std::ofstream(here / "kept.textproto") << "rnus {}";
  const Ran broken = check(here, "all");
  CHECK(broken.code == 2);
  CHECK_THAT(broken.err, Contains("kept.textproto:1:"));
  // What is no baseline is somebody's own.
  CHECK(check(here, "all", "--update").code == 2);
  CHECK(read_file(here / "kept.textproto") == "rnus {}");
  std::ofstream(here / "kept.textproto") << "# nothing is kept\n";
  CHECK(check(here, "all").code == 2);
  std::filesystem::remove(here / "kept.textproto");
  std::filesystem::create_directory(here / "kept.textproto");
  CHECK(check(here, "all").code == 2);
  std::filesystem::remove(here / "kept.textproto");
  CHECK(check(here, "all", "--update").code == 0);
  CHECK(check(here, "all").code == 0);
}

TEST_CASE("check: a suite's file is run anew") {
  const Workplace here;
  const std::string suite =
      std::string(FEDCLOCK_SOURCE_DIR "/") + "tests/data/suites/tiny.textproto";
  Ran ran = check(here, suite, "--update");
  INFO(ran.err);
  REQUIRE(ran.code == 0);
  // What an earlier check left is no result of this one.
  const auto folder = here / "results/tiny-check/runs";
  REQUIRE(std::filesystem::exists(folder));
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.path().filename() != "result.pb") continue;
    v1::Result result = results::read_result(entry.path().parent_path());
    result.mutable_rounds(1)->set_end_s(17);
    results::write_file(entry.path(), results::result_bytes(result));
  }
  CHECK(check(here, "results/tiny-check").code == 1);
  ran = check(here, suite);
  INFO(ran.out << ran.err);
  CHECK(ran.code == 0);
  CHECK_THAT(ran.out, Contains("as kept") && !Contains("moved"));
  CHECK(check(here, suite, "--out results/tiny-check").code == 2);
}

}  // namespace
}  // namespace fedclock::test
