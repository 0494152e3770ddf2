// Fits a machine's efficiency and fixed overhead to measured steps, and where asked its memory
// efficiency. The model is linear in x >= 0,
//   kRoofline  seconds = x1 FLOPs / peak + x2              x = (1 / efficiency, overhead)
//   kInTurn    seconds = x1 FLOPs / peak + x2 + x3 bytes / bandwidth     x3 = 1 / memory efficiency
// and x minimises the sum of the squared relative errors. Rows of kRoofline that the memory
// bandwidth limits are counted in the result, not fitted differently.
#pragma once

#include <Eigen/Dense>
#include <cstdint>
#include <vector>

#include "models/cost/machine.h"
#include "models/cost/work.h"

namespace fedclock::cost {

struct Measurement {
  Work work;
  double seconds = 0;  // of one step
};

// See models/cost/machine.h.
enum class TimeModel { kRoofline, kInTurn };

struct Fit {
  // The machine given, with efficiency, overhead and memory efficiency replaced. An efficiency
  // above 1 is not cut off: it says that the peak or the work is not the measured one.
  Machine machine;
  double mean_relative_error = 0;  // of step_seconds on the measurements
  double max_relative_error = 0;
  int64_t memory_bound_rows = 0;  // rows on which the fitted machine is limited by memory
};

// Throws InputError on fewer measurements than terms, on times or work that are not above 0, and
// where the times do not grow with the work.
Fit fit_machine(const Machine& machine, const std::vector<Measurement>& measurements,
                TimeModel model = TimeModel::kRoofline);

// |predicted - measured| / measured of each.
std::vector<double> relative_errors(const Machine& machine,
                                    const std::vector<Measurement>& measurements);
// Their mean.
double mean_relative_error(const Machine& machine, const std::vector<Measurement>& measurements);

// argmin |A x - b| with x >= 0, exact: the best of the unconstrained solutions on all subsets of
// columns that come out positive. For up to 12 columns, which is what calibration needs.
Eigen::VectorXd nonnegative_least_squares(const Eigen::MatrixXd& a, const Eigen::VectorXd& b);

}  // namespace fedclock::cost
