#include "models/cost/calibration.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "models/common/error.h"
#include "models/common/parse.h"
#include "models/cost/memory.h"
#include "models/cost/presets.h"
#include "models/data/table_records.h"

namespace fedclock::cost {
namespace {

namespace fs = std::filesystem;

// A record with its fields by name.
class Row {
 public:
  Row(const fs::path& file, const data::Record& header, const data::Record& record, int64_t line)
      : file_(file), header_(header), record_(record), line_(line) {}

  [[noreturn]] void fail(std::string_view field, std::string_view problem,
                         std::string_view remedy) const {
    data::fail_in_field(file_, line_, field, problem, remedy);
  }
  // Empty where there is no such column.
  std::string text(std::string_view field) const {
    const auto found = std::find(header_.begin(), header_.end(), field);
    return found == header_.end() ? "" : record_[static_cast<size_t>(found - header_.begin())];
  }
  int64_t whole(std::string_view field, int64_t least,
                std::optional<int64_t> otherwise = {}) const {
    const std::string value = text(field);
    if (value.empty() && otherwise) return *otherwise;
    const std::optional<int64_t> number = number_in<int64_t>(value);
    if (!number || *number < least) {
      fail(field, data::shown(value), fmt::format("write a whole number from {} on", least));
    }
    return *number;
  }
  std::optional<double> amount(std::string_view field) const {
    const std::string value = text(field);
    if (value.empty()) return std::nullopt;
    const std::optional<double> number = number_in<double>(value);
    if (!number || !(*number > 0) || !std::isfinite(*number)) {
      fail(field, data::shown(value), "write a number above 0");
    }
    return number;
  }
  // One of two words; the first where nothing is written.
  bool is_second(std::string_view field, std::string_view first, std::string_view second) const {
    const std::string value = text(field);
    if (value == second) return true;
    if (!value.empty() && value != first) {
      fail(field, data::shown(value), fmt::format("write {} or {}", first, second));
    }
    return false;
  }

 private:
  const fs::path& file_;
  const data::Record& header_;
  const data::Record& record_;
  int64_t line_;
};

std::vector<nn::Target> targets_of(const Row& row) {
  const std::string text = row.text("targets");
  if (text.empty()) return {nn::Target::kQ, nn::Target::kV};
  std::vector<nn::Target> targets;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    const std::string_view word = std::string_view(text).substr(begin, end - begin);
    const auto found = std::find_if(std::begin(nn::kAllTargets), std::end(nn::kAllTargets),
                                    [&](nn::Target t) { return nn::target_name(t) == word; });
    if (found == std::end(nn::kAllTargets)) {
      row.fail("targets", data::shown(word), "write some of: q k v o up gate down");
    }
    targets.push_back(*found);
    begin = end + 1;
  }
  return targets;
}

MeasuredStep step_of(const Row& row) {
  MeasuredStep step;
  step.device = row.text("device");
  if (step.device.empty()) row.fail("device", "is empty", "name a device profile");
  step.architecture = row.text("architecture");
  step.plan.sequence_tokens = row.whole("length", 1);
  try {
    step.shape = architecture_by_name(step.architecture, step.plan.sequence_tokens);
  } catch (const InputError& error) {
    row.fail("architecture", data::shown(step.architecture), error.what());
  }
  step.plan.depth = row.whole("depth", 0);
  step.plan.full_tuning = row.is_second("tuning", "adapter", "full");
  step.plan.rank = row.whole("rank", step.plan.full_tuning ? 0 : 1);
  step.plan.targets = targets_of(row);
  step.plan.batch_rows = row.whole("batch", 1);
  step.plan.head_outputs = row.whole("classes", 0, step.shape.kind == nn::Kind::kEncoder ? 2 : 0);
  step.half_precision = row.is_second("precision", "fp32", "fp16");
  step.plan.bytes_per_element = step.half_precision ? 2 : 4;
  const std::optional<double> seconds = row.amount("seconds");
  if (!seconds) row.fail("seconds", "is empty", "write how long a step took");
  step.seconds = *seconds / static_cast<double>(row.whole("micro_batches", 1, 1));
  step.bytes = row.amount("bytes");
  try {
    check_plan(step.shape, step.plan);
  } catch (const InputError& error) {
    row.fail("depth", data::shown(row.text("depth")), error.what());
  }
  return step;
}

double model_bytes(const MeasuredStep& row) { return training_memory(row.shape, row.plan).total(); }

// Memory terms from those rows that have bytes: as they are where there are fewer than 2.
void fit_memory(std::span<const MeasuredStep> rows, Machine& machine) {
  std::vector<const MeasuredStep*> known;
  for (const MeasuredStep& row : rows) {
    if (row.bytes) known.push_back(&row);
  }
  if (known.size() < 2) return;
  const auto count = static_cast<Eigen::Index>(known.size());
  Eigen::MatrixXd a(count, 2);
  for (Eigen::Index i = 0; i < count; ++i) {
    const MeasuredStep& row = *known[static_cast<size_t>(i)];
    a(i, 0) = model_bytes(row) / *row.bytes;
    a(i, 1) = 1 / *row.bytes;
  }
  // Gigabytes: columns of like size.
  a.col(1) *= 1e9;
  const Eigen::VectorXd x = nonnegative_least_squares(a, Eigen::VectorXd::Ones(count));
  machine.memory_factor = x(0);
  machine.memory_overhead_bytes = 1e9 * x(1);
}

std::vector<Measurement> measurements_of(std::span<const MeasuredStep> rows) {
  std::vector<Measurement> measurements;
  for (const MeasuredStep& row : rows) {
    measurements.push_back({step_work(row.shape, row.plan), row.seconds});
  }
  return measurements;
}

Machine fitted(const Machine& machine, std::span<const MeasuredStep> rows, TimeModel model) {
  Machine result = fit_machine(machine, measurements_of(rows), model).machine;
  fit_memory(rows, result);
  return result;
}

double relative(double predicted, double measured) {
  return std::abs(predicted - measured) / measured;
}

Calibration calibrate_by(const Machine& machine, std::span<const MeasuredStep> rows,
                         TimeModel model) {
  Calibration result;
  result.model = model;
  result.machine = fitted(machine, rows, model);
  double memory_sum = 0, memory_max = 0;
  int64_t with_bytes = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    std::vector<MeasuredStep> others(rows.begin(), rows.end());
    others.erase(others.begin() + static_cast<int64_t>(i));
    const Machine of_others = fitted(machine, others, model);
    Prediction left_out{.seconds = step_seconds(of_others, step_work(rows[i].shape, rows[i].plan)),
                        .bytes = {}};
    const double error = relative(left_out.seconds, rows[i].seconds);
    result.mean_error += error / static_cast<double>(rows.size());
    result.max_error = std::max(result.max_error, error);
    if (rows[i].bytes) {
      left_out.bytes = taken_bytes(of_others, model_bytes(rows[i]));
      const double memory_error = relative(*left_out.bytes, *rows[i].bytes);
      memory_sum += memory_error;
      memory_max = std::max(memory_max, memory_error);
      ++with_bytes;
    }
    result.left_out.push_back(left_out);
  }
  if (with_bytes >= 3) {
    result.mean_memory_error = memory_sum / static_cast<double>(with_bytes);
    result.max_memory_error = memory_max;
  }
  return result;
}

}  // namespace

nn::Architecture architecture_by_name(const std::string& name, int64_t max_tokens) {
  const bool encoder = name.starts_with("encoder-");
  if (!encoder && !name.starts_with("decoder-")) return architecture_preset(name);
  std::vector<int64_t> sizes;
  const std::string_view text = std::string_view(name).substr(8);
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('x', begin), text.size());
    sizes.push_back(number_in<int64_t>(text.substr(begin, end - begin)).value_or(0));
    begin = end + 1;
  }
  if (sizes.size() != 3 || *std::min_element(sizes.begin(), sizes.end()) < 1) {
    throw InputError("write layers, width and heads, as in encoder-6x128x4");
  }
  constexpr int64_t kVocabulary = 512;  // only a language model's head costs by it
  const int64_t layers = sizes[0], width = sizes[1], heads = sizes[2];
  nn::Architecture a =
      encoder ? nn::encoder_architecture(layers, width, heads, 4 * width, max_tokens, kVocabulary)
              : nn::decoder_architecture(layers, width, heads, heads, 4 * width, max_tokens,
                                         kVocabulary);
  nn::check_architecture(a);
  return a;
}

std::vector<MeasuredStep> read_measurements(const fs::path& file) {
  const data::TextFile text = data::read_text_file(file);
  data::require_utf8(text);
  std::vector<MeasuredStep> steps;
  data::for_each_record(
      text, [&](const data::Record& header, const data::Record& record, int64_t line) {
        for (const char* field :
             {"device", "architecture", "depth", "rank", "batch", "length", "seconds"}) {
          data::column_of(text, header, field, "a table of measurements");
        }
        steps.push_back(step_of(Row(file, header, record, line)));
      });
  if (steps.empty()) throw InputError(file.string() + ": holds no measurement: write rows");
  return steps;
}

Calibration calibrate(const Machine& machine, std::span<const MeasuredStep> rows) {
  if (rows.size() < 4) {
    throw InputError(fmt::format(
        "{} measurements of \"{}\": at least 4 are needed, so that each can be left out in turn",
        rows.size(), machine.name));
  }
  Calibration roofline = calibrate_by(machine, rows, TimeModel::kRoofline);
  if (rows.size() < 5) return roofline;
  Calibration in_turn = calibrate_by(machine, rows, TimeModel::kInTurn);
  // A share of the peak above 1 fits the numbers, but no machine.
  const bool possible = in_turn.machine.memory_efficiency > 0 && in_turn.machine.efficiency <= 1;
  return possible && in_turn.mean_error < roofline.mean_error ? in_turn : roofline;
}

PredictionErrors errors_on(const Machine& machine, std::span<const MeasuredStep> rows) {
  ensure(!rows.empty(), "errors on no rows");
  std::vector<double> errors = relative_errors(machine, measurements_of(rows));
  std::sort(errors.begin(), errors.end());
  const auto at = [&](double share) {
    return errors[static_cast<size_t>(share * static_cast<double>(errors.size() - 1) + 0.5)];
  };
  return {at(0.5), at(0.95), errors.back()};
}

}  // namespace fedclock::cost
