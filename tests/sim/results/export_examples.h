// Results written by hand, for what is exported from them.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "sim/results/result.pb.h"

namespace fedclock::test {

using v1::Event;

inline v1::Result on_devices(const std::vector<std::string>& devices) {
  v1::Result result;
  result.set_scenario("example");
  result.set_scenario_digest("abc");
  for (const std::string& device : devices) {
    v1::ClientSummary& client = *result.add_clients();
    client.set_client(result.clients_size() - 1);
    client.set_device(device);
    client.set_train_rows(10);
  }
  v1::Round& fresh = *result.add_rounds();
  fresh.set_round(0);
  fresh.set_end_s(0);
  fresh.set_accuracy(0.25);
  return result;
}

inline v1::Round& add_round(v1::Result& result, double start_s, double end_s) {
  v1::Round& round = *result.add_rounds();
  round.set_round(result.rounds_size() - 1);
  round.set_start_s(start_s);
  round.set_end_s(end_s);
  return round;
}

inline v1::ClientRound& add_part(v1::Round& round, int32_t client, double end_s, int64_t bytes_up,
                                 int64_t bytes_down) {
  v1::ClientRound& part = *round.add_clients();
  part.set_client(client);
  part.set_end_s(end_s);
  part.set_bytes_up(bytes_up);
  part.set_bytes_down(bytes_down);
  round.set_bytes_up(round.bytes_up() + bytes_up);
  round.set_bytes_down(round.bytes_down() + bytes_down);
  return part;
}

// In a real result they are in the order of their ends; no export needs that here.
inline void add_phase(v1::Result& result, int32_t client, int32_t round, Event::Phase phase,
                      double start_s, double end_s, int64_t bytes = 0,
                      Event::End end = Event::DONE) {
  v1::Events& events = *result.mutable_events();
  events.add_client(client);
  events.add_round(round);
  events.add_phase(phase);
  events.add_start_s(start_s);
  events.add_end_s(end_s);
  events.add_bytes(bytes);
  events.add_end(end);
}

// One round of a third of a second, which no binary fraction is: client 0 is last; then one whose
// accuracy is no number.
inline v1::Result synchronous() {
  v1::Result result = on_devices({"a \"slow\" board, 15\\16", "fast", "a \"slow\" board, 15\\16"});
  v1::Round& round = add_round(result, 0, 1.0 / 3);
  round.set_loss(1.5);
  round.set_train_loss(2.5);
  round.set_client_accuracy(0.125);
  add_part(round, 0, 0.3, 100, 200).set_train_j(7);
  add_part(round, 1, 0.1 + 0.2 / 3, 50, 60).set_dropped(true);
  add_phase(result, 1, 1, Event::DOWNLOAD, 0, 0.1, 60);
  add_phase(result, 0, 1, Event::DOWNLOAD, 0, 0.1, 200);
  add_phase(result, 1, 1, Event::TRAIN, 0.1, 0.1 + 0.1 / 3);
  add_phase(result, 1, 1, Event::UPLOAD, 0.1 + 0.1 / 3, 0.1 + 0.2 / 3, 50);
  add_phase(result, 0, 1, Event::TRAIN, 0.1, 0.2);
  add_phase(result, 0, 1, Event::UPLOAD, 0.2, 0.3, 100);
  add_phase(result, -1, 1, Event::MERGE, 0.3, 1.0 / 3);
  v1::Round& last = add_round(result, 1.0 / 3, 2);
  last.set_accuracy(std::numeric_limits<double>::quiet_NaN());
  add_part(last, 2, 2, 5, 0).set_train_j(3);
  add_phase(result, 2, 2, Event::UPLOAD, 1.0 / 3, 2, 5);
  result.set_end_s(2.5);
  result.set_stop_reason("2 rounds done");
  return result;
}

// Client 0's download breaks off twice and is given up, then it begins anew; 1 is cancelled.
inline v1::Result with_breaks() {
  v1::Result result = on_devices({"a", "b"});
  v1::Round& round = add_round(result, 0, 10);
  add_part(round, 0, 3, 0, 30).set_dropped(true);
  add_part(round, 0, 8, 40, 50);
  add_part(round, 1, 8, 0, 60).set_dropped(true);
  add_phase(result, 0, 1, Event::DOWNLOAD, 0, 1, 10, Event::BROKEN);
  add_phase(result, 1, 1, Event::DOWNLOAD, 0, 2, 60);
  add_phase(result, 0, 1, Event::DOWNLOAD, 2, 3, 20, Event::BROKEN);
  add_phase(result, 0, 1, Event::DOWNLOAD, 3, 4, 50);
  add_phase(result, 0, 1, Event::TRAIN, 4, 4);  // no work
  add_phase(result, 0, 1, Event::UPLOAD, 4, 8, 40);
  add_phase(result, 1, 1, Event::TRAIN, 2, 8, 0, Event::CANCELLED);
  return result;
}

// Client 1's part begins in round 1 and is merged in round 3; client 0 has one in each.
inline v1::Result asynchronous() {
  v1::Result result = on_devices({"fast", "slow"});
  add_phase(result, 1, 1, Event::DOWNLOAD, 0, 1, 9);
  for (int32_t number = 1; number <= 3; ++number) {
    const double from_s = 2.0 * (number - 1);
    v1::Round& round = add_round(result, from_s, from_s + 2);
    add_phase(result, 0, number, Event::DOWNLOAD, from_s, from_s + 1, 4);
    add_phase(result, 0, number, Event::UPLOAD, from_s + 1, from_s + 1.5, 3);
    add_part(round, 0, from_s + 1.5, 3, 4);
    if (number == 3) add_part(round, 1, 6, 8, 9).set_staleness(2);
  }
  add_phase(result, 1, 1, Event::TRAIN, 1, 5);
  add_phase(result, 1, 1, Event::UPLOAD, 5, 6, 8);
  return result;
}

// Two parts of clients 0 and 1 behind gateways; the server merges for two groups at a time; client
// 2 aggregates for its group.
inline v1::Result hierarchical() {
  v1::Result result = on_devices({"server", "gateways", "c"});
  v1::Round& round = add_round(result, 0, 12);
  for (const int32_t client : {0, 1}) {
    const int32_t gateway = -2 - client;
    add_phase(result, gateway, 1, Event::GROUP_DOWNLOAD, 0, 1, 5);
    for (const double from_s : {1.0, 5.0}) {
      add_phase(result, client, 1, Event::DOWNLOAD, from_s, from_s + 1, 2);
      add_phase(result, client, 1, Event::TRAIN, from_s + 1, from_s + 2);
      add_phase(result, client, 1, Event::UPLOAD, from_s + 2, from_s + 3, 1);
      add_phase(result, gateway, 1, Event::MERGE, from_s + 3, from_s + 4);
    }
    v1::ClientRound& part = add_part(round, client, 8, 2, 4);
    part.set_group(client);
    part.set_parts(2);
  }
  add_phase(result, 2, 1, Event::TRAIN, 2, 3);
  add_phase(result, 2, 1, Event::MERGE, 3, 4);
  add_phase(result, 2, 1, Event::TRAIN, 4, 5);
  add_phase(result, 2, 1, Event::GROUP_UPLOAD, 5, 9, 6);
  add_phase(result, -1, 1, Event::MERGE, 9, 11);
  add_phase(result, -1, 1, Event::MERGE, 10, 12);
  return result;
}

inline std::vector<v1::Result> all_examples() {
  return {v1::Result(),  on_devices({"a"}), synchronous(),
          with_breaks(), asynchronous(),    hierarchical()};
}

}  // namespace fedclock::test
