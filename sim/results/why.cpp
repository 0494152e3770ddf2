#include "sim/results/why.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "models/common/error.h"

namespace fedclock::results {

namespace {

// Place of the round in the result's list.
int place_of(const v1::Result& result, int64_t number) {
  // Round 0 is the start: nothing happens in it.
  for (int i = 1; i < result.rounds_size(); ++i) {
    if (result.rounds(i).round() == number) return i;
  }
  const int64_t last = result.rounds().rbegin()->round();
  if (last < 1) throw InputError("this run ended before its first round");
  throw InputError(
      fmt::format("--round {}: there is none; this run has rounds 1 to {}", number, last));
}

// Date at which a client's part ended.
double end_of(const v1::Round& round, const v1::ClientRound& client) {
  return client.has_end_s() ? client.end_s() : round.end_s() - client.wait_s();
}

// Whether rounds may end without those who are late.
bool has_deadline(const v1::Result& result) {
  const auto& ends = result.events().end();
  if (std::find(ends.begin(), ends.end(), v1::Event::CANCELLED) != ends.end()) return true;
  for (const v1::Round& round : result.rounds()) {
    for (const v1::ClientRound& client : round.clients()) {
      if (client.staleness() > 0) return true;
    }
  }
  return false;
}

RoundCause cause_of(const v1::Result& result, int place) {
  const v1::Round& round = result.rounds(place);
  RoundCause cause;
  cause.round = round.round();
  cause.start_s = place > 0 ? result.rounds(place - 1).end_s() : round.start_s();
  cause.end_s = round.end_s();
  cause.path.merge_s = round.merge_s();
  cause.path.server_train_s = round.server_train_s();
  const Last last = last_client(round);
  if (last.client != nullptr) {
    cause.client = last.client->client();
    cause.ahead_s = last.ahead_s;
    cause.path.download_s = last.client->download_s();
    cause.path.train_s = last.client->train_s();
    cause.path.upload_s = last.client->upload_s();
    (last.client->has_group() ? cause.path.group_s : cause.path.dropped_s) = last.client->late_s();
  }
  // Sums of durations and differences of dates are not equal to the last bit.
  constexpr double kRounding = 1e-9;
  const double rest_s = cause.end_s - cause.start_s - cause.path.total_s();
  if (rest_s <= kRounding * cause.end_s) return cause;
  (round.groups_size() > 0 ? cause.path.group_s
   : has_deadline(result)  ? cause.path.deadline_s
                           : cause.path.away_s) += rest_s;
  return cause;
}

}  // namespace

Last last_client(const v1::Round& round) {
  const v1::ClientRound* last = nullptr;
  const v1::ClientRound* next = nullptr;  // the one before it
  const bool merged = std::any_of(round.clients().begin(), round.clients().end(),
                                  [](const v1::ClientRound& one) { return !one.dropped(); });
  for (const v1::ClientRound& client : round.clients()) {
    if (merged && client.dropped()) continue;
    if (last == nullptr || end_of(round, client) > end_of(round, *last)) {
      next = std::exchange(last, &client);
    } else if (next == nullptr || end_of(round, client) > end_of(round, *next)) {
      next = &client;
    }
  }
  return {last, next == nullptr ? 0 : end_of(round, *last) - end_of(round, *next)};
}

RoundCause cause_of_round(const v1::Result& result, int64_t round) {
  return cause_of(result, place_of(result, round));
}

std::vector<DeviceShare> shares_by_device(const v1::Result& result, std::optional<int64_t> only) {
  std::vector<DeviceShare> shares;
  const auto share_of = [&](int32_t client) -> DeviceShare& {
    const std::string& device = result.clients(client).device();
    const auto found = std::find_if(shares.begin(), shares.end(),
                                    [&](const DeviceShare& s) { return s.device == device; });
    if (found != shares.end()) return *found;
    shares.push_back({.device = device});
    return shares.back();
  };
  const auto add = [&](const v1::Round& round) {
    for (const v1::ClientRound& client : round.clients()) {
      DeviceShare& share = share_of(client.client());
      ++share.client_rounds;
      share.download_s += client.download_s();
      share.train_s += client.train_s();
      share.upload_s += client.upload_s();
      share.wait_s += client.wait_s();
      share.off_s += client.off_s();
    }
    const Last last = last_client(round);
    if (last.client != nullptr) ++share_of(last.client->client()).critical_rounds;
  };
  if (only) {
    add(result.rounds(place_of(result, *only)));
  } else {
    for (const v1::Round& round : result.rounds()) add(round);
  }
  for (DeviceShare& share : shares) {
    const auto count = static_cast<double>(share.client_rounds);
    for (double* sum :
         {&share.download_s, &share.train_s, &share.upload_s, &share.wait_s, &share.off_s}) {
      *sum /= count;
    }
  }
  return shares;
}

bool overlaps(const v1::Result& result) {
  for (const v1::Round& round : result.rounds()) {
    for (const v1::ClientRound& client : round.clients()) {
      const double phases_s = client.download_s() + client.train_s() + client.upload_s();
      const double since_s = client.end_s() - round.start_s();
      if (!client.dropped() && phases_s > since_s + 1e-9 * client.end_s()) return true;
    }
  }
  return false;
}

CriticalPath critical_path(const v1::Result& result) {
  CriticalPath sum;
  for (int place = 1; place < result.rounds_size(); ++place) {
    const CriticalPath path = cause_of(result, place).path;
    sum.download_s += path.download_s;
    sum.train_s += path.train_s;
    sum.upload_s += path.upload_s;
    sum.merge_s += path.merge_s;
    sum.server_train_s += path.server_train_s;
    sum.dropped_s += path.dropped_s;
    sum.away_s += path.away_s;
    sum.group_s += path.group_s;
    sum.deadline_s += path.deadline_s;
  }
  return sum;
}

}  // namespace fedclock::results
