// What LoRA training by fedclock costs on one thread of this machine: real steps over a grid of
// depth, batch, length and width, for `fedclock calibrate --self`.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "models/cost/calibration.h"
#include "models/learning/encoded.h"

namespace fedclock::learning {

// Rows of full length for measurements: random tokens, classes in turn.
EncodedSet random_rows(int64_t count, int64_t tokens, int64_t classes, int64_t vocabulary);

// Seconds since some date: the caller's, as libraries have no clock of their own.
using SecondsNow = std::function<double()>;

// FLOP/s of the fastest matrix product tried (float32), and byte/s of reading one large array and
// writing another. Of one thread.
double measured_peak_flops(const SecondsNow& now);
double measured_bandwidth_bytes_s(const SecondsNow& now);

// Encoders of 4 layers with LoRA of rank 8 on q and v, AdamW: every width, length, depth and batch,
// the median of several jobs each; shuffled by `seed`, so that a first part is as good as any
// other. Tells how many of how many are done.
std::vector<cost::MeasuredStep> measure_training(
    const std::string& device, uint64_t seed, const SecondsNow& now,
    const std::function<void(int64_t done, int64_t of)>& progress);

}  // namespace fedclock::learning
