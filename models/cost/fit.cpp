#include "models/cost/fit.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "models/common/error.h"

namespace fedclock::cost {
namespace {

constexpr int kMaxColumns = 12;

void check(const Machine& machine, const std::vector<Measurement>& measurements, int terms) {
  if (std::ssize(measurements) < terms) {
    throw InputError(fmt::format("{} measurements of \"{}\": a fit of {} terms needs at least {}",
                                 measurements.size(), machine.name, terms, terms));
  }
  if (!(machine.peak_flops > 0)) {
    throw InputError(fmt::format("peak rate of \"{}\" is {} FLOP/s: a value above 0 is needed",
                                 machine.name, machine.peak_flops));
  }
  for (const Measurement& row : measurements) {
    if (!(row.seconds > 0) || !(row.work.flops() > 0)) {
      throw InputError(
          fmt::format("a measurement of \"{}\" has {} s for {} FLOPs: both must be "
                      "above 0",
                      machine.name, row.seconds, row.work.flops()));
    }
  }
}

}  // namespace

Eigen::VectorXd nonnegative_least_squares(const Eigen::MatrixXd& a, const Eigen::VectorXd& b) {
  const int columns = static_cast<int>(a.cols());
  ensure(columns >= 1 && columns <= kMaxColumns && a.rows() == b.size(),
         "least squares of 1 to 12 columns, with a value for each row");
  Eigen::VectorXd best = Eigen::VectorXd::Zero(columns);
  double best_residual = b.squaredNorm();
  for (unsigned subset = 1; subset < (1U << columns); ++subset) {
    std::vector<int> chosen;
    for (int column = 0; column < columns; ++column) {
      if (subset & (1U << column)) chosen.push_back(column);
    }
    Eigen::MatrixXd part(a.rows(), static_cast<Eigen::Index>(chosen.size()));
    for (size_t i = 0; i < chosen.size(); ++i) {
      part.col(static_cast<Eigen::Index>(i)) = a.col(chosen[i]);
    }
    const Eigen::VectorXd solution = part.colPivHouseholderQr().solve(b);
    if (!(solution.minCoeff() >= 0)) continue;
    const double residual = (part * solution - b).squaredNorm();
    if (residual < best_residual) {
      best_residual = residual;
      best.setZero();
      for (size_t i = 0; i < chosen.size(); ++i) {
        best(chosen[i]) = solution(static_cast<Eigen::Index>(i));
      }
    }
  }
  return best;
}

Fit fit_machine(const Machine& machine, const std::vector<Measurement>& measurements,
                TimeModel model) {
  const int terms = model == TimeModel::kInTurn ? 3 : 2;
  check(machine, measurements, terms);
  // Dividing each row by its time makes the residuals relative errors.
  const auto rows = static_cast<Eigen::Index>(measurements.size());
  Eigen::MatrixXd a(rows, terms);
  for (Eigen::Index i = 0; i < rows; ++i) {
    const Measurement& row = measurements[static_cast<size_t>(i)];
    a(i, 0) = row.work.flops() / machine.peak_flops / row.seconds;
    a(i, 1) = 1 / row.seconds;
    if (terms > 2) {
      a(i, 2) = row.work.memory_bytes / machine.memory_bandwidth_bytes_s / row.seconds;
    }
  }
  const Eigen::VectorXd x = nonnegative_least_squares(a, Eigen::VectorXd::Ones(rows));
  if (!(x(0) > 0)) {
    throw InputError(
        fmt::format("the times measured on \"{}\" do not grow with the work: measure "
                    "steps of more different sizes",
                    machine.name));
  }
  Fit fit;
  fit.machine = machine;
  fit.machine.efficiency = 1 / x(0);
  fit.machine.step_overhead_s = x(1);
  fit.machine.memory_efficiency = terms > 2 && x(2) > 0 ? 1 / x(2) : 0;
  const std::vector<double> errors = relative_errors(fit.machine, measurements);
  fit.mean_relative_error = mean_relative_error(fit.machine, measurements);
  fit.max_relative_error = *std::max_element(errors.begin(), errors.end());
  fit.memory_bound_rows =
      std::count_if(measurements.begin(), measurements.end(),
                    [&](const Measurement& row) { return is_memory_bound(fit.machine, row.work); });
  return fit;
}

std::vector<double> relative_errors(const Machine& machine,
                                    const std::vector<Measurement>& measurements) {
  std::vector<double> errors;
  errors.reserve(measurements.size());
  for (const Measurement& row : measurements) {
    errors.push_back(std::abs(step_seconds(machine, row.work) - row.seconds) / row.seconds);
  }
  return errors;
}

double mean_relative_error(const Machine& machine, const std::vector<Measurement>& measurements) {
  ensure(!measurements.empty(), "the mean error of no measurements");
  double sum = 0;
  for (const double error : relative_errors(machine, measurements)) sum += error;
  return sum / static_cast<double>(measurements.size());
}

}  // namespace fedclock::cost
