// When updates are merged: the round loop of the whole federation.
#pragma once

#include <optional>

#include "sim/federation/federation.h"
#include "sim/kernel/task.h"

namespace fedclock::federation {

// Runs the schedule that the scenario names, to its end; returns the final global state (empty for
// timing only, and for local_only the states' mean is not a model: there it is client 0's).
kernel::Task<learning::Value> run_schedule(Federation& federation);

kernel::Task<learning::Value> run_synchronous(Federation& federation);
kernel::Task<learning::Value> run_with_deadline(Federation& federation);
kernel::Task<learning::Value> run_hierarchical(Federation& federation);
kernel::Task<learning::Value> run_asynchronous(Federation& federation);
kernel::Task<learning::Value> run_buffered(Federation& federation);
kernel::Task<learning::Value> run_centralized(Federation& federation);
kernel::Task<learning::Value> run_local_only(Federation& federation);

// What is done about work that breaks off because a device, a link or the server went off. Whatever
// is chosen, work whose device never comes back is given up, and so is a phase that has broken off
// so many times without coming forward.
struct OnBreak {
  enum Answer { kStartAgain, kGoOn, kGiveUp };
  Answer answer = kStartAgain;
  int32_t max_attempts = 20;
};
OnBreak on_break(v1::OnBreak answer, int32_t max_attempts);

// One client's part: download, local training, upload, from and to where its updates are merged.
// The bytes are those of the part. The record, of this part alone, is filled in; nothing where it
// was given up: then all of it is recorded as lost. When cancelled, likewise, before that goes on.
kernel::Task<std::optional<Update>> client_round(Federation& federation, Occasion occasion,
                                                 int32_t client, learning::Value global,
                                                 OnBreak on_break, results::ClientRecord& record,
                                                 platform::Place merged_at = {});

// What is the same for every part of a client in a round: it begins; its training is handed to the
// learner, from the state that it was sent; or it is given up; and where nothing of it is merged,
// all that it did was for nothing.
void begin_part(Federation& federation, results::ClientRecord& record, const Plan& plan);
void finish_part(Federation& federation, results::ClientRecord& record, const Part& part,
                 const learning::Value& update);
void give_up_part(Federation& federation, results::ClientRecord& record);
void lose_part(results::ClientRecord& record);

// Training alone, on a device, in the same way; its time, work and energy go into the record.
kernel::Task<bool> train_on_device(Federation& federation, results::ClientRecord& record,
                                   const Part& part, OnBreak on_break);

// Work on the server, from the start again where it breaks off. The seconds of the attempt that
// succeeded; nothing when the server never comes back, or has broken it off too often.
kernel::Task<std::optional<double>> work_on_server(Federation& federation, int64_t round,
                                                   v1::Event::Phase phase, double flops);
// The same for the merge of these updates, wherever it is done.
kernel::Task<std::optional<double>> merge_work(Federation& federation, int64_t round,
                                               const std::vector<Update>& updates,
                                               platform::Place at = {});
// The next global state: these updates, of these clients, merged on the server once it has done the
// work; `global` itself where there are none, or where the server never gets it done.
kernel::Task<learning::Value> merged_on_server(Federation& federation, int64_t round,
                                               learning::Value global,
                                               const std::vector<Update>& updates,
                                               const std::vector<int32_t>& clients);
// A group's state between its aggregator and the server, in so many attempts at the most; false
// when it never gets through. What has travelled, broken attempts included, is added to
// `travelled`.
kernel::Task<bool> group_transfer(Federation& federation, int64_t round, v1::Event::Phase phase,
                                  platform::Place aggregator, int64_t bytes, int32_t max_attempts,
                                  int64_t& travelled);

// Updates in client order, without those that were given up.
std::vector<Update> arrived(const std::vector<std::optional<Update>>& updates);
std::vector<int32_t> clients_of(const std::vector<Update>& updates);

}  // namespace fedclock::federation
