#include "models/cost/calibration.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "models/common/error.h"
#include "models/cost/memory.h"

using namespace fedclock::cost;
using Catch::Contains;
using fedclock::InputError;

namespace {

namespace fs = std::filesystem;

const fs::path kMeasurements =
    std::string(FEDCLOCK_SOURCE_DIR "/") + "scenarios/devices/measurements";

std::vector<MeasuredStep> rows_of(const std::string& file, bool full) {
  std::vector<MeasuredStep> rows;
  for (const MeasuredStep& row : read_measurements(kMeasurements / file)) {
    if (row.plan.full_tuning == full) rows.push_back(row);
  }
  return rows;
}

Machine machine_of(double peak_flops, double bandwidth_bytes_s) {
  Machine machine;
  machine.name = "m";
  machine.peak_flops = peak_flops;
  machine.memory_bandwidth_bytes_s = bandwidth_bytes_s;
  return machine;
}

// Steps of several sizes that take what `truth` says.
std::vector<MeasuredStep> steps_of(const Machine& truth) {
  std::vector<MeasuredStep> rows;
  for (const int64_t length : {8, 16, 64}) {
    for (const int64_t depth : {1, 2, 4}) {
      MeasuredStep row;
      row.shape = architecture_by_name("encoder-4x64x2", length);
      row.plan = {.depth = depth,
                  .rank = 8,
                  .targets = {fedclock::nn::Target::kQ},
                  .batch_rows = 4,
                  .sequence_tokens = length,
                  .head_outputs = 2};
      row.seconds = step_seconds(truth, step_work(row.shape, row.plan));
      row.bytes = taken_bytes(truth, training_memory(row.shape, row.plan).total());
      rows.push_back(row);
    }
  }
  return rows;
}

// A file in a folder that goes with it.
struct TableFile {
  explicit TableFile(const std::string& text)
      : path(fs::temp_directory_path() /
             ("fedclock_calibration_" + std::to_string(getpid()) + ".csv")) {
    std::ofstream(path) << text;
  }
  ~TableFile() { fs::remove(path); }
  fs::path path;
};

std::string problem_of(const std::string& text) {
  const TableFile file(text);
  try {
    read_measurements(file.path);
  } catch (const InputError& error) {
    return error.what();
  }
  return "no problem";
}

}  // namespace

TEST_CASE("calibration: the TX2's curves, each row left out in turn") {
  // Measured: adapters 1.3 %, full tuning 1.0 %, both by one machine 1.9 %; memory 6.8 %, 4.1 %.
  const Machine tx2 = machine_of(0.75e12, 59.7e9);
  CHECK(calibrate(tx2, rows_of("jetson-tx2.csv", false)).mean_error < 0.05);
  CHECK(calibrate(tx2, rows_of("jetson-tx2.csv", true)).mean_error < 0.05);
  const Calibration both = calibrate(tx2, read_measurements(kMeasurements / "jetson-tx2.csv"));
  CHECK(both.mean_error < 0.05);
  CHECK(both.left_out.size() == 26);
  CHECK(both.mean_memory_error < 0.10);
}

TEST_CASE("calibration: the A100's LoRA rows, each left out in turn") {
  // Measured: 7.4 %. Their memory is off by 37 %: our model keeps the squares of attention, which
  // Qwen's does not.
  const auto rows = read_measurements(kMeasurements / "a100-80gb.csv");
  REQUIRE(rows.size() == 12);
  CHECK(rows[0].seconds == Approx(1.0 / 8));  // a micro-batch
  CHECK(calibrate(machine_of(312e12, 2039e9), rows).mean_error < 0.10);
}

TEST_CASE("calibration: what made the times and the bytes is found again") {
  Machine truth = machine_of(1e12, 10e9);
  truth.efficiency = 0.3;
  truth.step_overhead_s = 0.001;
  truth.memory_factor = 2.5;
  truth.memory_overhead_bytes = 1e9;
  const TimeModel model = GENERATE(TimeModel::kRoofline, TimeModel::kInTurn);
  if (model == TimeModel::kInTurn) truth.memory_efficiency = 0.5;
  if (model == TimeModel::kRoofline) truth.memory_bandwidth_bytes_s = 1e15;  // never the limit
  const auto rows = steps_of(truth);
  const Calibration found =
      calibrate(machine_of(truth.peak_flops, truth.memory_bandwidth_bytes_s), rows);
  CHECK(found.machine.efficiency == Approx(0.3).epsilon(1e-6));
  CHECK(found.machine.step_overhead_s == Approx(0.001).epsilon(1e-6));
  CHECK(found.machine.memory_factor == Approx(2.5).epsilon(1e-6));
  CHECK(found.machine.memory_overhead_bytes == Approx(1e9).epsilon(1e-6));
  CHECK(found.max_error < 1e-6);
  CHECK(*found.max_memory_error < 1e-6);
  if (model == TimeModel::kInTurn) {
    CHECK(found.machine.memory_efficiency == Approx(0.5).epsilon(1e-6));
  }
  const PredictionErrors errors = errors_on(found.machine, rows);
  CHECK(errors.max < 1e-6);
}

TEST_CASE("calibration: a row that stands apart is not predicted from itself") {
  Machine truth = machine_of(1e12, 1e15);
  truth.efficiency = 0.3;
  auto rows = steps_of(truth);
  rows[4].seconds *= 2;
  const Calibration found = calibrate(machine_of(1e12, 1e15), rows);
  // Half of what was measured, but for the other rows' share in the fit: they are exact.
  CHECK(found.left_out[4].seconds == Approx(rows[4].seconds / 2).epsilon(1e-6));
  CHECK(found.max_error == Approx(0.5).epsilon(1e-6));
}

TEST_CASE("calibration: errors on rows are sorted shares of what was measured") {
  Machine machine = machine_of(1e12, 1e15);
  machine.efficiency = 0.3;
  auto rows = steps_of(machine);
  rows.resize(5);
  // Predicted is right; measured is off so that |predicted - measured| / measured is 0, .1, .2 ...
  for (size_t i = 0; i < rows.size(); ++i) rows[i].seconds /= 1 + 0.1 * static_cast<double>(i);
  const PredictionErrors errors = errors_on(machine, rows);
  CHECK(errors.median == Approx(0.2).epsilon(1e-9));
  CHECK(errors.max == Approx(0.4).epsilon(1e-9));
}

TEST_CASE("calibration: tables with mistakes name line, column, value and remedy") {
  const std::string header = "device,architecture,depth,rank,batch,length,seconds\n";
  CHECK(problem_of(header + "d,bert-base,1,8,4,256,0.5\n") == "no problem");
  CHECK_THAT(problem_of(header), Contains("no measurement"));
  CHECK_THAT(problem_of("device,architecture,depth,rank,batch,length\n"
                        "d,bert-base,1,8,4,256\n"),
             Contains("seconds"));
  CHECK_THAT(
      problem_of(header + "d,bert-base,1,8,4,256,-0.5\n"),
      Contains(".csv:2") && Contains("seconds") && Contains("-0.5") && Contains("number above 0"));
  CHECK_THAT(problem_of(header + "d,bert-base,13,8,4,256,0.5\n"),
             Contains("depth") && Contains("13"));
  CHECK_THAT(problem_of(header + "d,bert-bse,1,8,4,256,0.5\n"),
             Contains("architecture") && Contains("bert-bse") && Contains("roberta-base"));
  CHECK_THAT(problem_of(header + "d,encoder-4x64,1,8,4,256,0.5\n"),
             Contains("layers, width and heads"));
  CHECK_THAT(problem_of(header + ",bert-base,1,8,4,256,0.5\n"), Contains("name a device profile"));
  CHECK_THAT(problem_of("device,architecture,depth,rank,batch,length,seconds,targets\n"
                        "d,bert-base,1,8,4,256,0.5,q w\n"),
             Contains("targets") && Contains("w") && Contains("q k v o up gate down"));
  CHECK_THROWS_AS(calibrate(machine_of(1e12, 1e9), std::vector<MeasuredStep>(3)), InputError);
}
