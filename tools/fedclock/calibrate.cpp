#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <map>
#include <memory>

#include "models/common/error.h"
#include "models/cost/calibration.h"
#include "models/learning/numerics.h"
#include "models/learning/self_measurement.h"
#include "models/learning/train.h"
#include "sim/experiment/convert.h"
#include "sim/results/files.h"
#include "sim/scenario/profiles.h"
#include "tools/fedclock/commands.h"
#include "tools/fedclock/pin_kernels.h"
#include "tools/fedclock/say.h"

namespace fedclock::tools {

namespace {

namespace fs = std::filesystem;
using cost::MeasuredStep;

struct CalibrateOptions {
  std::string measurements;
  std::string out = "devices";
  std::string name = "this-machine";
  bool self = false, overwrite = false;
};

// What was measured or fitted is not known to more digits.
double rounded(double value) { return std::stod(fmt::format("{:.4g}", value)); }

std::string percent(double share) { return fmt::format("{:.1f} %", 100 * share); }

void refuse_to_overwrite(const fs::path& file, bool overwrite) {
  if (overwrite || !fs::exists(file)) return;
  throw InputError(fmt::format(
      "{}: is there already: name another folder with --out, or write over it with --overwrite",
      file.string()));
}

std::string errors_text(const cost::Calibration& fit) {
  std::string text = fmt::format("time of a step: mean {}, largest {}", percent(fit.mean_error),
                                 percent(fit.max_error));
  if (fit.mean_memory_error) {
    text += fmt::format("; memory: mean {}, largest {}", percent(*fit.mean_memory_error),
                        percent(*fit.max_memory_error));
  }
  return text;
}

// The profile with the calibrated terms in place of its own.
v1::Device calibrated(v1::Device device, const cost::Machine& machine, bool half_precision,
                      bool has_memory) {
  if (half_precision) {
    device.set_fp16_efficiency(rounded(machine.efficiency));
  } else {
    device.set_efficiency(rounded(machine.efficiency));
  }
  if (!device.has_efficiency()) device.set_efficiency(rounded(machine.efficiency));
  device.set_step_overhead_s(rounded(machine.step_overhead_s));
  device.clear_memory_efficiency();
  if (machine.memory_efficiency > 0)
    device.set_memory_efficiency(rounded(machine.memory_efficiency));
  if (has_memory) {
    device.set_memory_factor(rounded(machine.memory_factor));
    device.set_memory_overhead_gb(rounded(machine.memory_overhead_bytes / 1e9));
  }
  return device;
}

void write_device(const fs::path& file, const v1::Device& device, const std::string& comment) {
  fs::create_directories(file.parent_path());
  results::write_file(file, "# proto-file: sim/scenario/scenario.proto\n# proto-message: Device\n" +
                                comment + scenario::to_text(device));
  fmt::print("written to {}\n", file.string());
}

void print_rows(std::span<const MeasuredStep> rows, const cost::Calibration& fit) {
  fmt::print("{:<20} {:>5} {:>6} {:>7} {:>10} {:>10} {:>7} {:>9} {:>9} {:>7}\n", "architecture",
             "depth", "batch", "length", "seconds", "predicted", "error", "GB", "predicted",
             "error");
  for (size_t i = 0; i < rows.size(); ++i) {
    const MeasuredStep& row = rows[i];
    const cost::Prediction& left_out = fit.left_out[i];
    const auto error = [](double predicted, double measured) {
      return fmt::format("{:+.1f} %", 100 * (predicted - measured) / measured);
    };
    fmt::print("{:<20} {:>5} {:>6} {:>7} {:>10.4g} {:>10.4g} {:>7} {:>9} {:>9} {:>7}\n",
               row.architecture + (row.plan.full_tuning ? ", full" : ""), row.plan.depth,
               row.plan.batch_rows, row.plan.sequence_tokens, row.seconds, left_out.seconds,
               error(left_out.seconds, row.seconds),
               row.bytes ? fmt::format("{:.3g}", *row.bytes / 1e9) : "-",
               left_out.bytes ? fmt::format("{:.3g}", *left_out.bytes / 1e9) : "-",
               left_out.bytes ? error(*left_out.bytes, *row.bytes) : "-");
  }
}

void print_terms(const cost::Machine& machine, bool has_memory) {
  fmt::print("{:<18} {:.4f}\n", "efficiency", machine.efficiency);
  fmt::print("{:<18} {:.3g} s\n", "step overhead", machine.step_overhead_s);
  if (machine.memory_efficiency > 0) {
    fmt::print("{:<18} {:.4f}\n", "memory efficiency", machine.memory_efficiency);
  }
  if (!has_memory) return;
  fmt::print("{:<18} {:.3g} GB + {:.3f} x the model's\n", "memory",
             machine.memory_overhead_bytes / 1e9, machine.memory_factor);
}

void calibrate_device(const CalibrateOptions& options, const std::string& name,
                      const std::vector<MeasuredStep>& rows) {
  const bool half = rows.front().half_precision;
  for (const MeasuredStep& row : rows) {
    if (row.half_precision == half) continue;
    throw InputError(fmt::format(
        "{}: precision: \"{}\" was measured in fp32 and in fp16: calibrate one after the other, "
        "from a file each",
        options.measurements, name));
  }
  const fs::path file = fs::path(options.out) / (name + ".textproto");
  refuse_to_overwrite(file, options.overwrite);
  const v1::Device profile = scenario::read_profile(
      name, fs::absolute(options.measurements).parent_path(), FEDCLOCK_SCENARIOS_DIR);
  const cost::Machine machine = experiment::machine(profile, "", half ? v1::FP16 : v1::FP32);
  const cost::Calibration fit = cost::calibrate(machine, rows);
  const bool has_memory = fit.mean_memory_error.has_value();
  fmt::print("{}, {} rows, each predicted from all others\n", name, rows.size());
  print_rows(rows, fit);
  fmt::print("{:<18} {}\n", "left out", errors_text(fit));
  print_terms(fit.machine, has_memory);
  if (fit.machine.efficiency > 1) {
    throw InputError(fmt::format(
        "{}: \"{}\" would run at {:.2f} times its peak rate: is the peak in its profile right, the "
        "batch, the length?",
        options.measurements, name, fit.machine.efficiency));
  }
  v1::Device device = calibrated(profile, fit.machine, half, has_memory);
  device.add_assumptions(fmt::format(
      "{}: efficiency, overhead and memory terms are calibrated; what is said of them above does "
      "not hold.",
      name));
  write_device(
      file, device,
      fmt::format("# Calibrated by fedclock {} to {} steps of {}.\n# Error of rows left out "
                  "one at a time: {}.\n",
                  FEDCLOCK_VERSION, rows.size(), fs::path(options.measurements).filename().string(),
                  errors_text(fit)));
}

void calibrate_file(const CalibrateOptions& options) {
  std::map<std::string, std::vector<MeasuredStep>> by_device;
  for (MeasuredStep& row : cost::read_measurements(options.measurements)) {
    by_device[row.device].push_back(std::move(row));
  }
  for (const auto& [name, rows] : by_device) calibrate_device(options, name, rows);
}

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string table_of(const std::vector<MeasuredStep>& rows) {
  std::string text = "device,architecture,depth,rank,batch,length,classes,seconds\n";
  for (const MeasuredStep& row : rows) {
    text += fmt::format("{},{},{},{},{},{},{},{}\n", row.device, row.architecture, row.plan.depth,
                        row.plan.rank, row.plan.batch_rows, row.plan.sequence_tokens,
                        row.plan.head_outputs, row.seconds);
  }
  return text;
}

// Of the steps measured, the last 30 % have no part in the fit whose errors are told; the device
// that is written is fitted to all.
void calibrate_self(const CalibrateOptions& options, char** argv) {
  pin_kernels(KernelChoice::kPortable, argv);
  learning::refuse_reference_blas();
  learning::require_hardware("portable", nn::Precision::kFp32, learning::Device::kCpu);
  learning::prepare_process();
  learning::prepare_thread();
  const fs::path file = fs::path(options.out) / (options.name + ".textproto");
  const fs::path table = fs::path(options.out) / (options.name + ".csv");
  refuse_to_overwrite(file, options.overwrite);
  refuse_to_overwrite(table, options.overwrite);
  v1::Device device;
  device.set_name(options.name);
  device.set_memory_gb(rounded(static_cast<double>(sysconf(_SC_PHYS_PAGES)) *
                               static_cast<double>(sysconf(_SC_PAGE_SIZE)) / 1e9));
  device.set_memory_bandwidth_gb_s(
      rounded(learning::measured_bandwidth_bytes_s(seconds_now) / 1e9));
  device.add_modes()->set_name("one thread");
  device.mutable_modes(0)->set_fp32_tflops(
      rounded(learning::measured_peak_flops(seconds_now) / 1e12));
  device.set_efficiency(1);
  const bool terminal = isatty(STDERR_FILENO) == 1;
  const std::vector<MeasuredStep> rows =
      learning::measure_training(options.name, 1, seconds_now, [&](int64_t done, int64_t of) {
        if (terminal || done % 10 == 0 || done == of) {
          say("{}measured {} of {} points{}", terminal ? "\r" : "", done, of,
              terminal && done < of ? "" : "\n");
        }
      });
  const size_t fitted = rows.size() * 7 / 10;
  const auto first = std::span(rows).first(fitted), held_out = std::span(rows).subspan(fitted);
  const cost::Machine machine = experiment::machine(device, "", v1::FP32);
  const cost::PredictionErrors errors =
      cost::errors_on(cost::calibrate(machine, first).machine, held_out);
  const std::string text = fmt::format(
      "median {}, 95th percentile {}, largest {}, of {} steps held out of the fit",
      percent(errors.median), percent(errors.p95), percent(errors.max), held_out.size());
  const cost::Calibration fit = cost::calibrate(machine, rows);
  fmt::print("{:<18} {:.1f} GFLOP/s, {:.1f} GB/s\n", "one thread", machine.peak_flops / 1e9,
             machine.memory_bandwidth_bytes_s / 1e9);
  fmt::print("{:<18} {}\n", "error", text);
  print_terms(fit.machine, false);
  fs::create_directories(options.out);
  results::write_file(table, table_of(rows));
  write_device(file, calibrated(device, fit.machine, false, false),
               fmt::format("# One thread of a processor, measured by `fedclock calibrate --self`, "
                           "fedclock {}, on real steps\n# ({}).\n# Error: {}.\n",
                           FEDCLOCK_VERSION, table.filename().string(), text));
}

void calibrate(const CalibrateOptions& options, char** argv) {
  if (options.self == !options.measurements.empty()) {
    throw InputError("calibrate: give a file of measurements, or --self, and not both");
  }
  if (options.self) {
    calibrate_self(options, argv);
  } else {
    calibrate_file(options);
  }
}

}  // namespace

void add_calibrate(CLI::App& program, char** argv) {
  auto options = std::make_shared<CalibrateOptions>();
  CLI::App* command = program.add_subcommand(
      "calibrate",
      "Fit a device's efficiency, overhead and memory to measured training steps, and write its "
      "profile with the error of steps left out");
  command->add_option("MEASUREMENTS", options->measurements,
                      "CSV with the columns device, architecture, depth, rank, batch, length, "
                      "seconds and, if known, bytes (models/cost/calibration.h has the others)");
  command->add_flag("--self", options->self,
                    "Measure real LoRA training on one thread of this machine instead, about four "
                    "minutes");
  command->add_option("--name", options->name, "Name of the device, with --self")
      ->capture_default_str();
  command
      ->add_option("-o,--out", options->out,
                   "Folder for NAME.textproto; a scenario beside a folder `devices` finds it there")
      ->capture_default_str();
  command->add_flag("--overwrite", options->overwrite, "Write over a profile that is there");
  command->callback([options, argv] { calibrate(*options, argv); });
}

}  // namespace fedclock::tools
