// Why a round took as long as it did: the chain of phases that its end waited for, and who waited.
//
// A round of a synchronous schedule ends when the last client's upload has been merged, so its
// critical path is that client's download, training and upload, and the merge; the others wait.
// What is left of the time since the round before was spent on a client that was dropped, whose
// place the last one took, and on what was out of reach: until enough devices were there, until a
// device, a link or the server that broke something off was back. Of a hierarchical schedule what
// is left is the last client's group's: its transfers with the server, its other rounds, its
// merges; of one with a deadline, the wait for that. Where updates are merged as they come, parts
// overlap and there is no chain: overlaps() says so.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sim/results/result.pb.h"

namespace fedclock::results {

// Seconds on the critical path of one round, or of all.
struct CriticalPath {
  double download_s = 0, train_s = 0, upload_s = 0, merge_s = 0;
  double server_train_s = 0;  // of centralised training
  double dropped_s = 0;       // of clients that were dropped, and replaced by the last one
  double away_s = 0;          // waiting for devices, links or the server to be back
  double group_s = 0;         // of the last client's group, besides
  double deadline_s = 0;      // until the round ended without those who were late
  double total_s() const {
    return download_s + train_s + upload_s + merge_s + server_train_s + dropped_s + away_s +
           group_s + deadline_s;
  }
};

// The client whose part ended last, of equals the first, and how long before it the next one's did
// (0 where it is alone); of those whose updates were merged, where any was. nullptr: the server
// alone had a part.
struct Last {
  const v1::ClientRound* client = nullptr;
  double ahead_s = 0;
};
Last last_client(const v1::Round& round);

struct RoundCause {
  int64_t round = 0;
  double start_s = 0, end_s = 0;  // from the end of the round before
  CriticalPath path;
  std::optional<int32_t> client;  // the last to finish, of equals the first; none: the server alone
  double ahead_s = 0;             // how much earlier the next client was done; 0 where it is alone
};

// InputError where there is no such round, naming those that there are.
RoundCause cause_of_round(const v1::Result& result, int64_t round);

// Of the clients on devices of one profile, in one round or in all.
struct DeviceShare {
  std::string device;
  int64_t client_rounds = 0;
  int64_t critical_rounds = 0;  // in which one of them was last
  // Means over client_rounds.
  double download_s = 0, train_s = 0, upload_s = 0, wait_s = 0, off_s = 0;
};

// By profile, in the order in which they first take part. `round`: that one alone; otherwise all.
std::vector<DeviceShare> shares_by_device(const v1::Result& result, std::optional<int64_t> round);

// Whether updates were merged that had begun before the round that they were merged in.
bool overlaps(const v1::Result& result);

// The sum over all rounds.
CriticalPath critical_path(const v1::Result& result);

}  // namespace fedclock::results
