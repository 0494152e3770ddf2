#include "sim/results/totals.h"

namespace fedclock::results {

namespace {

void add(Lost& sum, const Lost& more) {
  sum.dropped += more.dropped;
  sum.empty_rounds += more.empty_rounds;
  sum.seconds += more.seconds;
  sum.bytes_up += more.bytes_up;
  sum.bytes_down += more.bytes_down;
}

// What is not counted adds nothing.
void add(std::optional<Energy>& sum, const std::optional<Energy>& more) {
  if (!more) return;
  if (!sum) sum.emplace();
  sum->download_j += more->download_j;
  sum->train_j += more->train_j;
  sum->upload_j += more->upload_j;
  sum->wait_j += more->wait_j;
}

}  // namespace

Traffic total_traffic(const v1::Result& result) {
  Traffic traffic;
  for (const v1::Round& round : result.rounds()) {
    traffic.up += round.bytes_up();
    traffic.down += round.bytes_down();
  }
  return traffic;
}

Lost lost_in(const v1::ClientRound& client) {
  return {client.dropped() ? 1 : 0, 0, client.lost_s(), client.lost_bytes_up(),
          client.lost_bytes_down()};
}

Lost lost_in(const v1::Round& round) {
  Lost sum;
  for (const v1::ClientRound& client : round.clients()) add(sum, lost_in(client));
  if (sum.dropped > 0 && sum.dropped == round.clients_size()) sum.empty_rounds = 1;
  return sum;
}

Lost lost_in(const v1::Result& result) {
  Lost sum;
  for (const v1::Round& round : result.rounds()) add(sum, lost_in(round));
  return sum;
}

ClientTime client_time(const v1::Result& result) {
  ClientTime sum;
  for (const v1::Round& round : result.rounds()) {
    for (const v1::ClientRound& client : round.clients()) {
      sum.compute_s += client.train_s();
      sum.transfer_s += client.download_s() + client.upload_s();
      sum.wait_s += client.wait_s();
    }
  }
  return sum;
}

std::optional<Energy> energy_of(const v1::ClientRound& client) {
  if (!client.has_train_j()) return std::nullopt;
  return Energy{client.download_j(), client.train_j(), client.upload_j(), client.wait_j()};
}

std::optional<Energy> energy_of(const v1::Round& round) {
  std::optional<Energy> sum;
  for (const v1::ClientRound& client : round.clients()) add(sum, energy_of(client));
  return sum;
}

std::optional<Energy> energy_of(const v1::Result& result) {
  std::optional<Energy> sum;
  for (const v1::Round& round : result.rounds()) add(sum, energy_of(round));
  return sum;
}

}  // namespace fedclock::results
