#include "sim/results/sweep.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <sstream>

#include "sim/results/files.h"

namespace fedclock::results {
namespace {

// Rounds of 10 s and 100 bytes up, 200 down, with these accuracies.
v1::Result result_of(const std::vector<double>& accuracies) {
  v1::Result result;
  for (size_t i = 0; i < accuracies.size(); ++i) {
    v1::Round& round = *result.add_rounds();
    round.set_round(static_cast<int32_t>(i));
    round.set_end_s(10.0 * static_cast<double>(i));
    round.set_accuracy(accuracies[i]);
    round.set_bytes_up(i == 0 ? 0 : 100);
    round.set_bytes_down(i == 0 ? 0 : 200);
  }
  return result;
}

std::vector<SweepPoint> three_points() {
  SweepPoint a{.name = "up=1", .values = {"1"}, .status = "done", .result = {}, .jobs = {0, 2, 7}};
  a.result = result_of({0.1, 0.5, 0.75});
  SweepPoint b{.name = "up=2", .values = {"[2,3]"}, .status = "done", .result = {}, .jobs = {}};
  b.result = result_of({0.1, 0.625, 0.5});
  const SweepPoint c{.name = "up=3", .values = {"3"}, .status = "failed", .result = {}, .jobs = {}};
  return {a, b, c};
}

TEST_CASE("sweep: the target is the one given, else what all finished points reach") {
  CHECK(sweep_target(three_points(), 0.3) == 0.3);
  CHECK(sweep_target(three_points(), std::nullopt) == 0.625);
  CHECK_FALSE(sweep_target({}, std::nullopt));
}

TEST_CASE("sweep: a line a point, worked out by hand") {
  const auto points = three_points();
  std::istringstream lines(sweep_csv({"up"}, points, 0.625));
  std::string header, line;
  std::getline(lines, header);
  CHECK(header ==
        "point,up,status,rounds,simulated_s,final_accuracy,best_accuracy,target_accuracy,"
        "time_to_accuracy_s,rounds_to_accuracy,bytes_to_accuracy,bytes_up,bytes_down,joules,"
        "joules_to_accuracy,jobs_known,jobs_shared,jobs_computed,digest");
  std::getline(lines, line);  // 0.75 in round 2: 20 s, 2 x 300 bytes
  CHECK(line == "up=1,1,done,2,20,0.75,0.75,0.625,20,2,600,200,400,,,0,2,7," +
                    run_digest(*points[0].result).hex());
  std::getline(lines, line);
  CHECK(line == "up=2,\"[2,3]\",done,2,20,0.5,0.625,0.625,10,1,300,200,400,,,0,0,0," +
                    run_digest(*points[1].result).hex());
  std::getline(lines, line);
  CHECK(line == "up=3,3,failed,,,,,,,,,,,,,0,0,0,");
  CHECK(std::ranges::count(line, ',') == std::ranges::count(header, ','));
  // Without a target, or where it is never reached, the cells are empty.
  std::istringstream none(sweep_csv({"up"}, points, std::nullopt));
  std::getline(none, line);
  std::getline(none, line);
  CHECK(line.starts_with("up=1,1,done,2,20,0.75,0.75,,,,,200,400,"));
}

}  // namespace
}  // namespace fedclock::results
