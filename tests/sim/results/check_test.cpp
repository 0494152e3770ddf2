#include "sim/results/check.h"

#include <catch2/catch.hpp>

#include <fstream>
#include <limits>

#include "models/common/error.h"

namespace fedclock::results {
namespace {

using Catch::Contains;

v1::Result example() {
  v1::Result result;
  result.set_scenario_digest("aa");
  result.set_adapter_digest("bb");
  result.set_numerics("portable; torch 1");
  result.set_version("1.0");
  for (int i = 0; i < 4; ++i) {
    v1::Round& round = *result.add_rounds();
    round.set_round(i);
    round.set_start_s(i == 0 ? 0 : 10.0 * (i - 1));
    round.set_end_s(10.0 * i);
    round.set_bytes_up(100 * i);
    round.set_bytes_down(200 * i);
    round.set_accuracy(0.25 + 0.125 * i);
    round.set_loss(2 - 0.5 * i);
    if (i > 0) round.set_train_loss(1.0 / i);
  }
  return result;
}

v1::Baseline kept() {
  v1::Baseline baseline;
  *baseline.add_runs() = baseline_of({"a", example()});
  return baseline;
}

std::vector<std::string> moved(const v1::Result& result, const v1::Baseline& baseline = kept()) {
  const std::vector<CheckedRun> checked = check(baseline, {baseline_of({"a", result})});
  REQUIRE(checked.size() == 1);
  CHECK(checked[0].name == "a");
  CHECK(anything_moved(checked) == !checked[0].moved.empty());
  return checked[0].moved;
}

TEST_CASE("check: what is the same, and of another version") {
  CHECK(moved(example()).empty());
  v1::Result other = example();
  other.set_version("1.1");
  other.set_numerics("portable; torch 2");
  CHECK(moved(other).empty());
  v1::Result nan = example();
  nan.mutable_rounds(2)->set_loss(std::numeric_limits<double>::quiet_NaN());
  v1::Baseline baseline;
  *baseline.add_runs() = baseline_of({"a", nan});
  CHECK(moved(nan, baseline).empty());
  CHECK(moved(example(), baseline).size() == 1);
}

TEST_CASE("check: what moved, by how much, since when") {
  v1::Result result = example();
  for (int i = 2; i < 4; ++i) result.mutable_rounds(i)->set_end_s(10.0 * i + 0.5 * (i - 1));
  CHECK(moved(result) == std::vector<std::string>{
                             "end of round 2: 20.5 s, was 20 s (+0.5 s, +2.5 %); and of 1 later "
                             "round, at most by 1 s (round 3)"});
  result = example();
  result.mutable_rounds(1)->set_bytes_up(101);
  CHECK(moved(result) ==
        std::vector<std::string>{"bytes up of round 1: 101 bytes, was 100 bytes (+1 bytes, +1 %)"});
  result = example();
  result.mutable_rounds(3)->set_accuracy(0.5);
  result.set_numerics("portable; torch 2");
  CHECK(moved(result) ==
        std::vector<std::string>{
            "accuracy of round 3: 0.5, was 0.625 (-0.125)",
            "numbers now come from portable; torch 2, before from portable; torch 1"});
  result.mutable_rounds(3)->clear_accuracy();
  CHECK_THAT(moved(result).front(), Contains("accuracy of round 3: not measured, was 0.625"));
}

TEST_CASE("check: the least difference counts, and what rounds do not show") {
  v1::Result result = example();
  result.mutable_rounds(1)->set_end_s(std::nextafter(10.0, 11.0));
  CHECK_THAT(moved(result).front(), Contains("end of round 1: 10.000000000000002 s, was 10 s"));
  result = example();
  result.set_adapter_digest("bc");
  CHECK(moved(result) == std::vector<std::string>{"final adapter: bc, was bb"});
  result = example();
  result.mutable_rounds(2)->add_clients()->set_depth(3);
  REQUIRE(moved(result).size() == 1);
  CHECK_THAT(moved(result).front(), Contains("plans since round 2"));
  result = example();
  result.add_clients()->set_off_s(1);
  CHECK_THAT(moved(result).front(), Contains("outside of rounds"));
  result = example();
  result.set_scenario_digest("ab");
  CHECK_THAT(moved(result).front(), Contains("scenario: another one (ab, was aa)"));
}

TEST_CASE("check: rounds and runs that are missing or new") {
  v1::Result result = example();
  result.mutable_rounds()->RemoveLast();
  CHECK(moved(result).front() == "missing: round 3");
  result.mutable_rounds()->RemoveLast();
  CHECK(moved(result).front() == "missing: 2 rounds from 2 on");
  result = example();
  result.add_rounds()->set_round(4);
  CHECK(moved(result).front() == "new: round 4");
  const std::vector<CheckedRun> checked = check(kept(), {baseline_of({"b", example()})});
  REQUIRE(checked.size() == 2);
  CHECK(checked[0].moved == std::vector<std::string>{"missing: there is no such result"});
  CHECK_THAT(checked[1].moved.front(), Contains("--update"));
}

TEST_CASE("check: NATIVE accuracies may differ by the tolerance, dates may not") {
  v1::Result native = example();
  native.set_numerics("native; torch 1");
  v1::Baseline baseline;
  *baseline.add_runs() = baseline_of({"a", native});
  v1::Result result = native;
  result.set_adapter_digest("bc");
  result.mutable_rounds(2)->set_accuracy(native.rounds(2).accuracy() + 0.0199);
  result.mutable_rounds(2)->set_loss(17);
  CHECK(moved(result, baseline).empty());
  result.mutable_rounds(3)->set_accuracy(native.rounds(3).accuracy() - 0.03);
  CHECK_THAT(moved(result, baseline).front(), Contains("accuracy of round 3"));
  baseline.set_native_tolerance(0.05);
  CHECK(moved(result, baseline).empty());
  result.mutable_rounds(1)->add_clients()->set_train_s(1);
  CHECK_THAT(moved(result, baseline).front(), Contains("since round 1"));
  result.mutable_rounds(3)->set_end_s(30.1);
  CHECK_THAT(moved(result, baseline).front(), Contains("end of round 3"));
  // Of a portable baseline nothing may differ.
  result = native;
  result.mutable_rounds(2)->set_loss(17);
  CHECK_THAT(moved(result).front(), Contains("loss of round 2"));
}

TEST_CASE("check: a baseline is written and read to the last bit") {
  const std::filesystem::path file =
      std::filesystem::temp_directory_path() / ("fedclock_baseline_" + std::to_string(getpid()));
  v1::Result result = example();
  result.mutable_rounds(1)->set_end_s(0.1 + 0.2);
  result.mutable_rounds(1)->set_loss(1e-300);
  v1::Baseline baseline;
  baseline.set_native_tolerance(0.1);
  *baseline.add_runs() = baseline_of({"runs/a \"b\"", result});
  std::ofstream(file) << baseline_text(baseline);
  CHECK(read_baseline(file).SerializeAsString() == baseline.SerializeAsString());
  std::ofstream(file) << "runs {\n  nmae: \"a\"\n}\n";
  CHECK_THROWS_WITH(read_baseline(file), Contains(file.string() + ":2:") && Contains("--update"));
  std::ofstream(file) << "native_tolerance: 2\n";
  CHECK_THROWS_WITH(read_baseline(file), Contains("from 0 to 1"));
  std::filesystem::remove(file);
  CHECK_THROWS_WITH(read_baseline(file), Contains("--update"));
}

TEST_CASE("check: for JUnit's readers and for GitHub") {
  const std::vector<CheckedRun> runs = {{"a", {}}, {"b<&\"", {"end: 1 % more", "x"}}};
  const std::string xml = junit_xml(runs);
  CHECK_THAT(xml, Contains("tests=\"2\" failures=\"1\""));
  CHECK_THAT(xml, Contains("name=\"a\"/>"));
  CHECK_THAT(xml, Contains("name=\"b&lt;&amp;&quot;\""));
  CHECK_THAT(xml, Contains(">end: 1 % more&#10;x</failure>"));
  CHECK(github_annotations(runs, "golden/a,b.textproto") ==
        "::error file=golden/a%2Cb.textproto,title=fedclock check%3A b<&\"::end: 1 %25 more%0Ax\n");
}

}  // namespace
}  // namespace fedclock::results
