// Fits a machine's efficiency and fixed overhead to measured steps.
//
// In the compute-bound branch the model is linear in x = (1 / efficiency, overhead):
//   seconds = x1 FLOPs / peak + x2,   x >= 0
// and x minimises the sum of the squared relative errors. Rows that the memory bandwidth limits
// are counted in the result, not fitted differently.
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

struct Fit {
  // The machine given, with efficiency and overhead replaced. An efficiency above 1 is not cut
  // off: it says that the peak or the work is not the measured one.
  Machine machine;
  double mean_relative_error = 0;  // of step_seconds on the measurements
  double max_relative_error = 0;
  int64_t memory_bound_rows = 0;  // rows on which the fitted machine is limited by memory
};

// Throws InputError on fewer than 2 measurements, on times or work that are not above 0, and where
// the times do not grow with the work.
Fit fit_machine(const Machine& machine, const std::vector<Measurement>& measurements);

// Mean of |predicted - measured| / measured.
double mean_relative_error(const Machine& machine, const std::vector<Measurement>& measurements);

// argmin |A x - b| with x >= 0, exact: the best of the unconstrained solutions on all subsets of
// columns that come out positive. For up to 12 columns, which is what calibration needs.
Eigen::VectorXd nonnegative_least_squares(const Eigen::MatrixXd& a, const Eigen::VectorXd& b);

}  // namespace fedclock::cost
