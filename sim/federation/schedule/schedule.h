// When updates are merged: the round loop of the whole federation.
#pragma once

#include "sim/federation/federation.h"
#include "sim/kernel/task.h"

namespace fedclock::federation {

// Runs the schedule that the scenario names, to its end; returns the final global state (empty for
// timing only, and for local_only the states' mean is not a model: there it is client 0's).
kernel::Task<learning::Value> run_schedule(Federation& federation);

kernel::Task<learning::Value> run_synchronous(Federation& federation);
kernel::Task<learning::Value> run_centralized(Federation& federation);
kernel::Task<learning::Value> run_local_only(Federation& federation);

// One client's round: download, local training, upload. The bytes are those of the client's plan.
kernel::Task<Update> client_round(Federation& federation, int64_t round, int32_t client,
                                  learning::Value global);

}  // namespace fedclock::federation
