// A device's cost terms from measured training steps, and how well they predict steps that they
// were not fitted to (leave-one-out).
//
// A table of measurements (CSV) has one row for each:
//   device         name of a device profile, whose peak rate and memory bandwidth are taken as
//   known architecture   a preset (models/cost/presets.h), or "encoder-LxWxH" or "decoder-LxWxH": L
//   layers
//                  of width W with H heads, as fedclock makes them
//   depth, rank, batch, length    of the plan: tuned layers, LoRA rank, rows a step, tokens a row
//   seconds        of a step
//   bytes          of memory at the peak; the column, or a row's value, may be left out
// and, where they are not the default:
//   targets        maps with an adapter, "q v" (the default); tuning: "adapter" (default) or "full"
//   micro_batches  forward and backward passes a step, of `batch` rows each (1)
//   precision      "fp32" (default) or "fp16"; classes: of the head, 0 for language modelling (2
//   for
//                  encoders, 0 for decoders)
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "models/cost/fit.h"
#include "models/cost/machine.h"
#include "models/cost/plan.h"

namespace fedclock::cost {

struct MeasuredStep {
  std::string device, architecture;
  nn::Architecture shape;
  TrainingPlan plan;
  bool half_precision = false;
  double seconds = 0;           // of one forward and backward pass
  std::optional<double> bytes;  // at the peak
};

// Throws InputError with file, line, column, value and remedy.
std::vector<MeasuredStep> read_measurements(const std::filesystem::path& file);

// A preset, or "encoder-LxWxH" or "decoder-LxWxH"; InputError otherwise. `max_tokens`: the longest
// row of the latter two.
nn::Architecture architecture_by_name(const std::string& name, int64_t max_tokens);

struct Prediction {
  double seconds = 0;           // by the fit to all other rows
  std::optional<double> bytes;  // likewise, where the row has bytes
};

struct Calibration {
  Machine machine;  // fitted to all rows
  TimeModel model = TimeModel::kRoofline;
  std::vector<Prediction> left_out;  // of each row
  // Of |predicted - measured| / measured over the rows, left out one at a time.
  double mean_error = 0, max_error = 0;
  std::optional<double> mean_memory_error, max_memory_error;
};

// Of steps of one device and precision; `machine` has its name, peak rate and memory bandwidth.
// Takes the time model that predicts better, kInTurn only with an efficiency of 1 at most. Memory
// terms are fitted where 2 rows or more have bytes, their error told from 3 on. Throws InputError
// where rows are fewer than 4 or say nothing (see fit_machine).
Calibration calibrate(const Machine& machine, std::span<const MeasuredStep> rows);

// Of predictions of rows that had no part in a fit.
struct PredictionErrors {
  double median = 0, p95 = 0, max = 0;  // of |predicted - measured| / measured
};
PredictionErrors errors_on(const Machine& machine, std::span<const MeasuredStep> rows);

}  // namespace fedclock::cost
