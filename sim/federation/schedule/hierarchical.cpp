// HierFAVG (Liu et al., arXiv 1905.06641, algorithm 1) and HierFedLoRA (arXiv 2503.21213): in
// global round r, group k has t_k rounds of its own, merged at its aggregator, from the global
// state on; then the server merges the groups' states, each layer over the groups that trained it,
// weighted by rows.
#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>
#include <set>

#include "models/common/error.h"
#include "sim/federation/grouping/near_iid.h"
#include "sim/federation/schedule/schedule.h"
#include "sim/kernel/combinators.h"

namespace fedclock::federation {

namespace {

using platform::Place;
using results::ClientRecord;
using v1::Event;

// Groups of client numbers, from groups of places among the participants.
Groups of_participants(Groups groups, const std::vector<int32_t>& participants) {
  for (auto& group : groups) {
    for (int32_t& member : group) member = participants[static_cast<size_t>(member)];
  }
  return groups;
}

Groups near_iid(const Federation& f, const std::vector<int32_t>& participants) {
  const v1::NearIidGrouping& answer = f.scenario.federation().schedule().hierarchical().near_iid();
  GroupingSettings settings;
  const auto most = static_cast<int32_t>(participants.size());
  settings.groups = std::min(answer.groups(), most);
  settings.most_groups = std::min(answer.most_groups(), most);
  settings.row_balance = answer.row_balance();
  settings.time_balance = answer.time_balance();
  settings.divergence_limit = answer.divergence_limit();
  std::vector<GroupingClient> clients;
  for (const int32_t client : participants) {
    const Client& who = f.clients[static_cast<size_t>(client)];
    clients.push_back(
        {who.class_rows, static_cast<int64_t>(who.train_rows->size()), who.expected_round_s});
  }
  return near_iid_groups(clients, settings);
}

Groups by_gateway(const Federation& f, const std::vector<int32_t>& participants) {
  Groups groups(f.platform.gateway_count());
  for (const int32_t client : participants) {
    const auto gateway = f.platform.gateway_of(static_cast<size_t>(client));
    ensure(gateway.has_value(), "a group of a gateway with a device that has none");
    groups[*gateway].push_back(client);
  }
  std::erase_if(groups, [](const auto& group) { return group.empty(); });
  return groups;
}

Groups make_groups(const Federation& f, const std::vector<int32_t>& participants) {
  const v1::Hierarchical& answer = f.scenario.federation().schedule().hierarchical();
  switch (answer.grouping_case()) {
    case v1::Hierarchical::kNearIid:
      return of_participants(near_iid(f, participants), participants);
    case v1::Hierarchical::kRandom: {
      const auto clients = static_cast<int32_t>(participants.size());
      return of_participants(
          random_groups(clients, std::min(answer.random().groups(), clients), f.scenario.seed()),
          participants);
    }
    case v1::Hierarchical::kByGateway: return by_gateway(f, participants);
    case v1::Hierarchical::GROUPING_NOT_SET: break;
  }
  throw ProgrammerError("a hierarchical schedule without a grouping");
}

class GroupRounds {
 public:
  GroupRounds(Federation& f, int32_t number, Group group, size_t participants)
      : f_(f),
        answer_(f.scenario.federation().schedule().hierarchical()),
        broken_(on_break(answer_.on_break(), answer_.max_attempts())),
        number_(number),
        group_(std::move(group)),
        aggregator_(find_aggregator()) {
    const int32_t usual = f.answers.selection->usual(static_cast<int32_t>(f.clients.size()));
    const double share =
        static_cast<double>(group_.members.size()) / static_cast<double>(participants);
    usual_ = std::max(1, static_cast<int32_t>(std::ceil(usual * share - 1e-9)));
  }

  // t_k rounds from the global state on: what the group sends; nothing when nothing came of it.
  kernel::Task<std::optional<Update>> run(int64_t round, int32_t t_k, learning::Value global) {
    record_ = {.group = number_, .depth = 0, .frequency = t_k};
    parts_.clear();
    trained_ = {};
    const std::optional<Update> update = co_await rounds(round, t_k, global);
    record_.end_s = f_.simulation.now_s();
    co_return update;
  }

  // Of the last run().
  const results::GroupRecord& record() const { return record_; }
  const std::vector<ClientRecord>& parts() const { return parts_; }
  int32_t chosen() const { return usual_; }

 private:
  Place find_aggregator() const {
    switch (answer_.aggregator()) {
      case v1::Hierarchical::GATEWAY:
        return {Place::kGateway,
                *f_.platform.gateway_of(static_cast<size_t>(group_.members.front()))};
      case v1::Hierarchical::DEVICE: {
        int32_t fastest = group_.members.front();
        const auto step_s = [&](int32_t member) {
          return f_.clients[static_cast<size_t>(member)].full_depth_step_s;
        };
        for (const int32_t member : group_.members) {
          if (step_s(member) < step_s(fastest)) fastest = member;
        }
        return {Place::kDevice, static_cast<size_t>(fastest)};
      }
      default: return {};
    }
  }

  kernel::Task<std::optional<Update>> rounds(int64_t round, int32_t t_k, learning::Value state) {
    const bool far = aggregator_.kind != Place::kServer;
    const int64_t copies = f_.answers.local->copies();
    if (far) {
      const learning::Share whole = f_.answers.local->whole(round, f_.initial_share);
      const int64_t bytes = copies * f_.workload.bytes(whole);
      if (!co_await group_transfer(f_, round, Event::GROUP_DOWNLOAD, aggregator_, bytes,
                                   broken_.max_attempts, record_.bytes_down)) {
        co_return std::nullopt;
      }
    }
    for (int32_t part = 0; part < t_k; ++part) {
      const Occasion occasion{round, part, number_};
      const std::vector<Update> updates = co_await part_of(occasion, state);
      if (updates.empty()) continue;
      if (!co_await merge_work(f_, round, updates, aggregator_)) continue;
      state = f_.answers.aggregation->merge(f_.learner, occasion, state, updates);
      for (const Update& update : updates) trained_.widen(update.share);
    }
    if (trained_.ranks.empty()) co_return std::nullopt;
    if (far) {
      const int64_t bytes = copies * f_.workload.bytes(trained_);
      if (!co_await group_transfer(f_, round, Event::GROUP_UPLOAD, aggregator_, bytes,
                                   broken_.max_attempts, record_.bytes_up)) {
        co_return std::nullopt;
      }
    }
    // At the ranks that travel: the SVD of a merge may have given it more.
    const learning::Value sent =
        f_.learner.apply(learning::tailored(trained_), {state}, "round " + std::to_string(round));
    co_return Update{number_, group_.rows, sent, trained_};
  }

  // One round of the group.
  kernel::Task<std::vector<Update>> part_of(Occasion occasion, learning::Value state) {
    const std::vector<int32_t> reachable = co_await reachable_members();
    if (reachable.empty()) co_return std::vector<Update>{};
    const std::vector<int32_t> chosen = f_.choose(occasion, reachable, usual_);
    std::deque<ClientRecord> records;
    std::vector<kernel::Task<std::optional<Update>>> tasks;
    for (const int32_t client : chosen) {
      ClientRecord& record = records.emplace_back();
      record.client = client;
      record.group = number_;
      tasks.push_back(client_round(f_, occasion, client, state, broken_, record, aggregator_));
    }
    const auto updates = co_await kernel::when_all(std::move(tasks));
    for (const ClientRecord& record : records) add(record);
    co_return arrived(updates);
  }

  // Waits until there is one; empty: never again.
  kernel::Task<std::vector<int32_t>> reachable_members() {
    while (true) {
      std::vector<int32_t> reachable;
      double next_s = std::numeric_limits<double>::infinity();
      for (const int32_t member : group_.members) {
        const auto device = static_cast<size_t>(member);
        const bool itself = aggregator_ == Place{Place::kDevice, device};
        const double from_s = itself ? f_.platform.next_on_s(device)
                                     : f_.platform.next_reachable_s(device, aggregator_);
        if (from_s <= f_.simulation.now_s()) reachable.push_back(member);
        next_s = std::min(next_s, from_s);
      }
      if (!reachable.empty() || std::isinf(next_s)) co_return reachable;
      co_await f_.simulation.sleep_until(next_s);
    }
  }

  void add(const ClientRecord& record) {
    record_.depth = std::max(record_.depth, record.depth);
    const auto known = std::find_if(parts_.begin(), parts_.end(), [&](const ClientRecord& one) {
      return one.client == record.client;
    });
    if (known == parts_.end()) {
      parts_.push_back(record);
    } else {
      known->add(record);
    }
  }

  Federation& f_;
  const v1::Hierarchical& answer_;
  OnBreak broken_;
  int32_t number_;
  Group group_;
  Place aggregator_;
  int32_t usual_ = 1;
  results::GroupRecord record_;
  std::vector<ClientRecord> parts_;  // one of each client
  learning::Share trained_;          // in this global round
};

std::vector<int32_t> frequencies(Federation& f, int64_t round, size_t groups) {
  std::vector<int32_t> t = f.answers.assignment->frequencies(round);
  if (t.empty()) {
    t.assign(groups, f.scenario.federation().schedule().hierarchical().intra_rounds());
  }
  return t;
}

// Puts the groups' records into the round, clients in order; those whose updates are merged.
std::vector<int32_t> settle(Federation& f, int64_t round, const std::deque<GroupRounds>& groups,
                            const std::vector<Update>& updates) {
  std::set<int32_t> sent;  // groups
  for (const Update& update : updates) sent.insert(update.client);
  std::vector<ClientRecord> all;
  for (const GroupRounds& group : groups) {
    f.recorder.round(round).groups.push_back(group.record());
    all.insert(all.end(), group.parts().begin(), group.parts().end());
  }
  std::sort(all.begin(), all.end(),
            [](const ClientRecord& a, const ClientRecord& b) { return a.client < b.client; });
  std::vector<int32_t> merged;
  for (ClientRecord& record : all) {
    if (!sent.contains(record.group)) lose_part(record);
    f.recorder.add_client(round, record);
    if (!record.dropped) merged.push_back(record.client);
  }
  return merged;
}

}  // namespace

kernel::Task<learning::Value> run_hierarchical(Federation& f) {
  ensure(f.server != nullptr, "a hierarchical schedule without a server");
  const std::vector<int32_t> participants = f.participants();
  std::deque<GroupRounds> groups;
  std::vector<Group> known;
  for (const std::vector<int32_t>& members : make_groups(f, participants)) {
    Group& group = known.emplace_back(Group{members, 0});
    for (const int32_t member : members) {
      group.rows += std::ssize(*f.clients[static_cast<size_t>(member)].train_rows);
    }
    groups.emplace_back(f, static_cast<int32_t>(groups.size()), group, participants.size());
    group.chosen = groups.back().chosen();
  }
  f.answers.assignment->group(known);
  std::vector<int32_t> reachable;
  learning::Value global = f.initial_state();
  f.end_round(0, global);
  for (int64_t number = 1; co_await f.begins_round(number, participants, 1, reachable); ++number) {
    const std::vector<int32_t> t = frequencies(f, number, groups.size());
    std::vector<kernel::Task<std::optional<Update>>> tasks;
    for (size_t k = 0; k < groups.size(); ++k) {
      tasks.push_back(groups[k].run(number, t[k], global));
    }
    const std::vector<Update> updates = arrived(co_await kernel::when_all(std::move(tasks)));
    const std::vector<int32_t> merged = settle(f, number, groups, updates);
    const v1::Hierarchical& answer = f.scenario.federation().schedule().hierarchical();
    if (groups.size() > 1 || answer.aggregator() != v1::Hierarchical::SERVER) {
      global = co_await merged_on_server(f, number, global, updates, merged);
    } else if (!updates.empty()) {  // the only group: its merge on the server was the work
      global = f.merge({number}, global, updates, merged);
    }
    f.answers.assignment->observe_round(f.simulation.now_s() - f.recorder.round(number).start_s);
    f.end_round(number, global);
  }
  co_return global;
}

}  // namespace fedclock::federation
