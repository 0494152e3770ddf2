#include "sim/results/why.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "models/common/error.h"

namespace fedclock::results {

namespace {

const v1::Round& round_of(const v1::Result& result, int64_t number) {
  // Round 0 is the start: nothing happens in it.
  for (const v1::Round& round : result.rounds()) {
    if (round.round() == number && number > 0) return round;
  }
  const int64_t last = result.rounds().rbegin()->round();
  if (last < 1) throw InputError("this run ended before its first round");
  throw InputError(
      fmt::format("--round {}: there is none; this run has rounds 1 to {}", number, last));
}

// The client whose part ended last, and how long before it the next one's did.
struct Last {
  const v1::ClientRound* client = nullptr;
  double ahead_s = 0;
};

Last last_client(const v1::Round& round) {
  const v1::ClientRound* last = nullptr;
  const v1::ClientRound* next = nullptr;  // the one before it
  for (const v1::ClientRound& client : round.clients()) {
    if (last == nullptr || client.wait_s() < last->wait_s()) {
      next = std::exchange(last, &client);
    } else if (next == nullptr || client.wait_s() < next->wait_s()) {
      next = &client;
    }
  }
  return {last, next == nullptr ? 0 : next->wait_s() - last->wait_s()};
}

RoundCause cause_of(const v1::Round& round) {
  RoundCause cause;
  cause.round = round.round();
  cause.start_s = round.start_s();
  cause.end_s = round.end_s();
  cause.path.merge_s = round.merge_s();
  cause.path.server_train_s = round.server_train_s();
  const Last last = last_client(round);
  if (last.client == nullptr) return cause;
  cause.client = last.client->client();
  cause.ahead_s = last.ahead_s;
  cause.path.download_s = last.client->download_s();
  cause.path.train_s = last.client->train_s();
  cause.path.upload_s = last.client->upload_s();
  return cause;
}

}  // namespace

RoundCause cause_of_round(const v1::Result& result, int64_t round) {
  return cause_of(round_of(result, round));
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
    }
    const Last last = last_client(round);
    if (last.client != nullptr) ++share_of(last.client->client()).critical_rounds;
  };
  if (only) {
    add(round_of(result, *only));
  } else {
    for (const v1::Round& round : result.rounds()) add(round);
  }
  for (DeviceShare& share : shares) {
    const auto count = static_cast<double>(share.client_rounds);
    for (double* sum : {&share.download_s, &share.train_s, &share.upload_s, &share.wait_s}) {
      *sum /= count;
    }
  }
  return shares;
}

CriticalPath critical_path(const v1::Result& result) {
  CriticalPath sum;
  for (const v1::Round& round : result.rounds()) {
    const CriticalPath path = cause_of(round).path;
    sum.download_s += path.download_s;
    sum.train_s += path.train_s;
    sum.upload_s += path.upload_s;
    sum.merge_s += path.merge_s;
    sum.server_train_s += path.server_train_s;
  }
  return sum;
}

}  // namespace fedclock::results
