#include "sim/federation/schedule/schedule.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>
#include <vector>

#include "models/common/error.h"

namespace fedclock::federation {

using platform::DeviceOperation;
using platform::Place;
using results::ClientRecord;
using v1::Event;

namespace {

// Of a phase that broke off in its last instant: no work is none at all.
constexpr double kLeastShare = 1e-12;
// An attempt that brings a phase forward by less than this share has not brought it forward.
constexpr double kLeastForward = 1e-3;

// One phase of a client's part, and how much of it there is: bytes, or flops in each power mode.
struct Phase {
  Event::Phase kind = Event::DOWNLOAD;
  int64_t bytes = 0;
  std::vector<double> flops_by_mode;
  Place other;  // the other end of a transfer
};

DeviceOperation start(Federation& f, const Phase& phase, size_t device, double left,
                      int64_t bytes_left) {
  switch (phase.kind) {
    case Event::DOWNLOAD:
      return f.platform.download(device, static_cast<double>(bytes_left), phase.other);
    case Event::UPLOAD:
      return f.platform.upload(device, static_cast<double>(bytes_left), phase.other);
    default: break;
  }
  std::vector<double> flops = phase.flops_by_mode;
  for (double& of_mode : flops) of_mode *= left;
  if (flops.size() == 1) return f.platform.compute(device, flops.front());
  return f.platform.compute_by_mode(device, std::move(flops));
}

results::Spent& spent_on(ClientRecord& record, Event::Phase kind) {
  return kind == Event::DOWNLOAD ? record.download
         : kind == Event::UPLOAD ? record.upload
                                 : record.train;
}

// An attempt at what was off already took no time: it is no event.
void add_attempt(Federation& f, const results::Event& event) {
  if (event.end == Event::DONE || event.end_s > event.start_s) f.recorder.add_event(event);
}

void lose(ClientRecord& record, Event::Phase kind, double seconds, int64_t bytes) {
  record.lost_s += seconds;
  if (kind == Event::DOWNLOAD) record.lost_bytes_down += bytes;
  if (kind == Event::UPLOAD) record.lost_bytes_up += bytes;
}

// The phase until it is done, over as many attempts as it takes; false when it is given up.
kernel::Task<bool> run_phase(Federation& f, int64_t round, ClientRecord& record, Phase phase,
                             OnBreak on_break) {
  const auto device = static_cast<size_t>(record.client);
  double left = 1;
  int64_t bytes_left = phase.bytes;
  int32_t attempts = 0;  // that broke off and brought nothing forward
  while (true) {
    const double start_s = f.simulation.now_s();
    const double before_j = f.platform.counts_energy() ? f.platform.joules(device) : 0;
    Event::End end = Event::DONE;
    DeviceOperation operation = start(f, phase, device, left, bytes_left);
    try {
      co_await operation;
    } catch (const kernel::Failed&) {
      end = Event::BROKEN;
    } catch (const kernel::Cancelled&) {
      end = Event::CANCELLED;
    }
    const double end_s = f.simulation.now_s();
    // Bytes are whole, and what broke off has not sent its last one.
    const auto through = static_cast<int64_t>(operation.done() * static_cast<double>(bytes_left));
    const int64_t moved =
        end == Event::DONE ? bytes_left : std::max<int64_t>(0, std::min(through, bytes_left - 1));
    results::Spent& spent = spent_on(record, phase.kind);
    spent.seconds += end_s - start_s;
    spent.bytes += moved;
    if (f.platform.counts_energy()) spent.joules += f.platform.joules(device) - before_j;
    add_attempt(f, {.phase = phase.kind,
                    .client = record.client,
                    .round = round,
                    .start_s = start_s,
                    .end_s = end_s,
                    .bytes = moved,
                    .end = end});
    if (end == Event::CANCELLED) throw kernel::Cancelled();
    if (end == Event::DONE) co_return true;
    // Where the other end is off, nobody's answer helps: everything waits for it.
    if (on_break.answer == OnBreak::kGiveUp && f.platform.is_on(phase.other)) co_return false;
    double forward = 0;  // share of the phase that this attempt has brought it forward
    if (on_break.answer == OnBreak::kGoOn) {
      forward = phase.bytes > 0 ? static_cast<double>(moved) / static_cast<double>(phase.bytes)
                                : left * operation.done();
      left *= std::max(1 - operation.done(), kLeastShare);
      bytes_left -= moved;
    } else {
      lose(record, phase.kind, end_s - start_s, moved);
    }
    if (end_s > start_s) attempts = forward < kLeastForward ? attempts + 1 : 0;
    if (attempts >= on_break.max_attempts) co_return false;
    const double back_s = phase.kind == Event::TRAIN
                              ? f.platform.next_on_s(device)
                              : f.platform.next_reachable_s(device, phase.other);
    if (std::isinf(back_s)) co_return false;
    co_await f.simulation.sleep_until(back_s, static_cast<kernel::DeviceId>(record.client));
  }
}

std::vector<double> flops_by_mode(const Federation& f, const Part& part) {
  std::vector<double> flops;
  const double unpacking = f.answers.aggregation->unpacking_flops(f.workload, part.client);
  const int64_t passed =
      part.passed_rows + (part.embedded_rows ? std::ssize(*part.embedded_rows) : 0);
  for (const cost::Machine& machine : *f.clients[static_cast<size_t>(part.client)].machines) {
    flops.push_back(unpacking +
                    f.workload.training_flops(machine, part.job.trained, part.job.settings,
                                              static_cast<int64_t>(part.job.rows->size())) +
                    f.workload.inference_flops(machine, part.held, passed));
  }
  return flops;
}

}  // namespace

kernel::Task<learning::Value> run_schedule(Federation& federation) {
  switch (federation.scenario.federation().schedule().kind_case()) {
    case v1::Schedule::kSynchronous: return run_synchronous(federation);
    case v1::Schedule::kCentralized: return run_centralized(federation);
    case v1::Schedule::kLocalOnly: return run_local_only(federation);
    case v1::Schedule::kHierarchical: return run_hierarchical(federation);
    case v1::Schedule::kDeadline: return run_with_deadline(federation);
    case v1::Schedule::kAsynchronous: return run_asynchronous(federation);
    case v1::Schedule::kBuffered: return run_buffered(federation);
    case v1::Schedule::KIND_NOT_SET: break;
  }
  throw ProgrammerError("the method left the schedule open");
}

OnBreak on_break(v1::OnBreak answer, int32_t max_attempts) {
  switch (answer) {
    case v1::GO_ON: return {OnBreak::kGoOn, max_attempts};
    case v1::GIVE_UP: return {OnBreak::kGiveUp, max_attempts};
    default: return {OnBreak::kStartAgain, max_attempts};
  }
}

void begin_part(Federation& f, ClientRecord& record, const Plan& plan) {
  record.depth = plan.depth();
  record.rank = plan.rank();
  record.experts = plan.expert_count();
  record.start_s = f.simulation.now_s();
}

// The learning begins here, for real, and not while it could still be lost.
void finish_part(Federation& f, ClientRecord& record, const Part& part,
                 const learning::Value& update) {
  record.end_s = f.simulation.now_s();
  record.rows = static_cast<int64_t>(part.job.rows->size());
  record.updates.push_back(f.learner.numbers_of(update));
}

void give_up_part(Federation& f, ClientRecord& record) {
  record.end_s = f.simulation.now_s();
  lose_part(record);
}

void lose_part(ClientRecord& record) {
  record.dropped = true;
  record.lost_s = record.download.seconds + record.train.seconds + record.upload.seconds;
  record.lost_bytes_down = record.download.bytes;
  record.lost_bytes_up = record.upload.bytes;
}

kernel::Task<bool> train_on_device(Federation& f, ClientRecord& record, const Part& part,
                                   OnBreak on_break) {
  Phase phase{Event::TRAIN, 0, flops_by_mode(f, part), {}};
  return run_phase(f, part.occasion.round, record, std::move(phase), on_break);
}

namespace {

// What the decisions of later rounds may learn from.
void tell_of(Federation& f, const Part& part, const Plan& plan, const ClientRecord& record,
             const learning::Value& embeddings) {
  const learning::Value& numbers = record.updates.back();
  f.answers.selection->observe({.client = part.client,
                                .round = part.occasion.round,
                                .rows = record.rows,
                                .seconds = record.end_s - record.start_s,
                                .update = numbers});
  f.answers.assignment->observe({.occasion = part.occasion,
                                 .client = part.client,
                                 .rows = record.rows,
                                 .plan = plan,
                                 .download_s = record.download.seconds,
                                 .train_s = record.train.seconds,
                                 .upload_s = record.upload.seconds,
                                 .bytes_down = record.download.bytes,
                                 .bytes_up = record.upload.bytes,
                                 .update = numbers,
                                 .embeddings = embeddings});
}

kernel::Task<bool> run_part(Federation& f, const Part& part, ClientRecord& record, OnBreak on_break,
                            Place merged_at) {
  const int64_t round = part.occasion.round;
  const bool travels = merged_at != Place{Place::kDevice, static_cast<size_t>(part.client)};
  if (travels) {
    const int64_t bytes =
        part.copies * f.answers.aggregation->begin_download(f.workload, part.client, part.down);
    Phase down{Event::DOWNLOAD, bytes, {}, merged_at};
    if (!co_await run_phase(f, round, record, std::move(down), on_break)) co_return false;
    f.answers.aggregation->received(part.client);
  }
  if (!co_await train_on_device(f, record, part, on_break)) co_return false;
  if (!travels) co_return true;
  const int64_t embeddings = part.embedded_rows ? f.workload.embedding_bytes(part.job.trained) : 0;
  Phase up{Event::UPLOAD, part.copies * f.workload.bytes(part.up) + embeddings, {}, merged_at};
  co_return co_await run_phase(f, round, record, std::move(up), on_break);
}

}  // namespace

kernel::Task<std::optional<Update>> client_round(Federation& f, Occasion occasion, int32_t client,
                                                 learning::Value global, OnBreak on_break,
                                                 ClientRecord& record, Place merged_at) {
  const Plan assigned = f.answers.assignment->plan(occasion, client);
  const Client& who = f.clients[static_cast<size_t>(client)];
  Part part = f.answers.local->part(occasion, client, who, assigned);
  const auto noise = f.answers.assignment->embeddings(occasion, client);
  if (noise) part.embedded_rows = who.auxiliary_rows;
  // Ranks may have been pruned.
  const Plan plan{part.job.trained.ranks, part.held.ranks, assigned.experts};
  begin_part(f, record, plan);
  if (part.cluster >= 0) record.group = part.cluster;
  bool done = false;
  try {
    done = co_await run_part(f, part, record, on_break, merged_at);
  } catch (const kernel::Cancelled&) {
    give_up_part(f, record);
    throw;
  }
  if (!done) {
    give_up_part(f, record);
    co_return std::nullopt;
  }
  const Local::Trained trained = f.answers.local->train(f.learner, part, global);
  finish_part(f, record, part, trained.update);
  f.keep_trained(client, trained.update);
  learning::Value embeddings;
  if (noise) {
    embeddings = f.learner.apply(learning::mean_embeddings(part.embedded_rows, *noise),
                                 {trained.update}, part.name());
  }
  tell_of(f, part, plan, record, embeddings);
  co_return Update{client, record.rows, trained.sent, part.up};
}

std::vector<Update> arrived(const std::vector<std::optional<Update>>& results) {
  std::vector<Update> updates;
  for (const std::optional<Update>& update : results) {
    if (update) updates.push_back(*update);
  }
  std::sort(updates.begin(), updates.end(),
            [](const Update& a, const Update& b) { return a.client < b.client; });
  return updates;
}

std::vector<int32_t> clients_of(const std::vector<Update>& updates) {
  std::vector<int32_t> clients;
  for (const Update& update : updates) clients.push_back(update.client);
  return clients;
}

namespace {

// Whose an event at this place is.
int32_t event_owner(Place place) {
  switch (place.kind) {
    case Place::kDevice: return static_cast<int32_t>(place.index);
    case Place::kGateway: return -2 - static_cast<int32_t>(place.index);
    default: return -1;
  }
}

// Something at a place, from the start again where it breaks off, so many times at the most: an
// attempt at what was off already does not count. The seconds of the attempt that succeeded; the
// bytes of all of them are added to `travelled`.
kernel::Task<std::optional<double>> until_done(Federation& f, int64_t round, Event::Phase phase,
                                               Place place, int64_t bytes,
                                               std::function<DeviceOperation()> start,
                                               std::function<double()> next_possible_s,
                                               int32_t max_attempts = OnBreak{}.max_attempts,
                                               int64_t* travelled = nullptr) {
  int32_t attempts = 0;  // that broke off
  while (true) {
    const double start_s = f.simulation.now_s();
    Event::End end = Event::DONE;
    DeviceOperation operation = start();
    try {
      co_await operation;
    } catch (const kernel::Failed&) {
      end = Event::BROKEN;
    }
    const double end_s = f.simulation.now_s();
    const double through = end == Event::DONE ? 1 : operation.done();
    const auto moved = static_cast<int64_t>(through * static_cast<double>(bytes));
    if (travelled != nullptr) *travelled += moved;
    add_attempt(f, {.phase = phase,
                    .client = event_owner(place),
                    .round = round,
                    .start_s = start_s,
                    .end_s = end_s,
                    .bytes = moved,
                    .end = end});
    if (end == Event::DONE) co_return end_s - start_s;
    if (end_s > start_s && ++attempts >= max_attempts) co_return std::nullopt;
    const double back_s = next_possible_s();
    if (std::isinf(back_s)) co_return std::nullopt;
    co_await f.simulation.sleep_until(back_s, kernel::kServer);
  }
}

}  // namespace

kernel::Task<std::optional<double>> work_on_server(Federation& f, int64_t round, Event::Phase phase,
                                                   double flops) {
  return until_done(
      f, round, phase, {}, 0, [&f, flops] { return f.platform.compute_on_server(flops); },
      [&f] { return f.platform.next_server_on_s(); });
}

kernel::Task<std::optional<double>> merge_work(Federation& f, int64_t round,
                                               const std::vector<Update>& updates, Place at) {
  cost::Work work = f.answers.aggregation->work(f.workload, updates);
  if (at.kind == Place::kServer) {
    work.forward_flops += f.answers.assignment->choice_flops(round, f.workload.modules());
    work += f.answers.local->merge_work(f.workload, updates);
  }
  const auto start = [&f, work, at] {
    switch (at.kind) {
      case Place::kGateway:
        return f.platform.compute_on_gateway(at.index,
                                             f.workload.flops_of(*f.gateways.at(at.index), work));
      case Place::kDevice: {
        std::vector<double> flops;
        for (const cost::Machine& machine : *f.clients[at.index].machines) {
          flops.push_back(f.workload.flops_of(machine, work));
        }
        if (flops.size() == 1) return f.platform.compute(at.index, flops.front());
        return f.platform.compute_by_mode(at.index, std::move(flops));
      }
      default: return f.platform.compute_on_server(f.workload.flops_of(*f.server, work));
    }
  };
  return until_done(f, round, Event::MERGE, at, 0, start,
                    [&f, at] { return f.platform.next_on_s(at); });
}

kernel::Task<learning::Value> merged_on_server(Federation& f, int64_t round, learning::Value global,
                                               const std::vector<Update>& updates,
                                               const std::vector<int32_t>& clients) {
  if (updates.empty()) co_return global;
  const std::optional<double> merge_s = co_await merge_work(f, round, updates);
  if (!merge_s) co_return global;
  f.recorder.round(round).merge_s = *merge_s;
  co_return f.merge({round}, global, updates, clients);
}

kernel::Task<bool> group_transfer(Federation& f, int64_t round, Event::Phase phase,
                                  Place aggregator, int64_t bytes, int32_t max_attempts,
                                  int64_t& travelled) {
  const bool up = phase == Event::GROUP_UPLOAD;
  const bool gateway = aggregator.kind == Place::kGateway;
  const auto start = [&f, up, gateway, aggregator, bytes] {
    const auto amount = static_cast<double>(bytes);
    if (gateway && up) return f.platform.gateway_upload(aggregator.index, amount);
    if (gateway) return f.platform.gateway_download(aggregator.index, amount);
    return up ? f.platform.upload(aggregator.index, amount)
              : f.platform.download(aggregator.index, amount);
  };
  const auto next_possible_s = [&f, gateway, aggregator] {
    return gateway ? f.platform.next_gateway_reachable_s(aggregator.index)
                   : f.platform.next_reachable_s(aggregator.index);
  };
  const auto seconds = co_await until_done(f, round, phase, aggregator, bytes, start,
                                           next_possible_s, max_attempts, &travelled);
  co_return seconds.has_value();
}

}  // namespace fedclock::federation
