// Sums over a run: what travelled, what was for nothing, what was drawn from batteries.
#pragma once

#include <cstdint>
#include <optional>

#include "sim/results/result.pb.h"

namespace fedclock::results {

// Bytes of all rounds, sent by all clients and by the server.
struct Traffic {
  int64_t up = 0, down = 0;
  int64_t total() const { return up + down; }
};
Traffic total_traffic(const v1::Result& result);

// Phases that broke off, and all of a client's that was dropped.
struct Lost {
  int64_t dropped = 0;       // parts in rounds
  int64_t empty_rounds = 0;  // that had clients, all of which were dropped
  double seconds = 0;        // of devices
  int64_t bytes_up = 0, bytes_down = 0;

  bool any() const { return dropped > 0 || seconds > 0 || bytes_up > 0 || bytes_down > 0; }
};
Lost lost_in(const v1::ClientRound& client);
Lost lost_in(const v1::Round& round);
Lost lost_in(const v1::Result& result);

// Where the seconds of all clients in all rounds went, their devices being on.
struct ClientTime {
  double compute_s = 0, transfer_s = 0, wait_s = 0;
  double total_s() const { return compute_s + transfer_s + wait_s; }
};
ClientTime client_time(const v1::Result& result);

// Joules of the devices that took part, in their rounds.
struct Energy {
  double download_j = 0, train_j = 0, upload_j = 0, wait_j = 0;
  double total_j() const { return download_j + train_j + upload_j + wait_j; }
};
// Nothing where energy is not counted.
std::optional<Energy> energy_of(const v1::ClientRound& client);
std::optional<Energy> energy_of(const v1::Round& round);
std::optional<Energy> energy_of(const v1::Result& result);

}  // namespace fedclock::results
