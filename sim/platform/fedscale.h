// The device traces of FedScale (Lai et al., "FedScale: Benchmarking Model and System Performance
// of Federated Learning at Scale", ICML 2022, arXiv 2105.11367) as tables. Both are pickled dicts
// with an entry for each client:
//
//   client_behave_trace      {client: {'active': [seconds], 'inactive': [seconds],
//                                      'finish_time': seconds, 'duration': .., 'model': ..}}
//     With t = date mod finish_time, a client is there while active[i] <= t <= inactive[i] for
//     some i (FedScale's is_active): it is on during [active[i], inactive[i]), repeated.
//   client_device_capacity   {client: {'computation': ms a sample, 'communication': kbit/s}}
//     FedScale's time is of inference; it takes training for three times that.
#pragma once

#include <cstddef>
#include <string>

#include "sim/platform/pickle.h"

namespace fedclock::platform {

struct FedScaleTable {
  std::string kind;  // "availability" or "capacity"
  // Availability: client_id,start_s,end_s, by client, then start; intervals that overlap or touch
  // are one, and what lies outside [0, finish_time), which no date reaches, is cut off.
  // Capacity: client_id,computation_ms_per_sample,communication_kbit_s, by client.
  std::string csv;
  std::size_t clients = 0;  // of the file
  // Of availability alone:
  double period_s = 0;        // finish_time; the largest, where the clients' differ
  bool same_period = true;    // whether they are all the same
  std::size_t intervals = 0;  // of the table
  std::size_t empty = 0;      // of the file: end where they start or before, or lie outside
  std::size_t never_on = 0;   // clients without an interval: they have no line
};

// `file` is the name that errors say. Throws InputError where the value is neither of the two, and
// for a value that cannot be meant, with the client's number and the key.
FedScaleTable fedscale_csv(const PickleValue& value, const std::string& file);

}  // namespace fedclock::platform
