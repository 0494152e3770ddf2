#include <fmt/format.h>

#include <algorithm>

#include "sim/results/files.h"
#include "sim/results/totals.h"
#include "sim/results/why.h"

namespace fedclock::results {

namespace {

// The shortest text that reads back to the same number; nothing where there is none.
std::string number(bool known, double value) { return known ? fmt::format("{}", value) : ""; }

// Means over a round's clients.
struct Phases {
  double download_s = 0, train_s = 0, upload_s = 0, wait_s = 0, off_s = 0;
};

Phases mean_phases(const v1::Round& round) {
  Phases mean;
  for (const v1::ClientRound& client : round.clients()) {
    mean.download_s += client.download_s();
    mean.train_s += client.train_s();
    mean.upload_s += client.upload_s();
    mean.wait_s += client.wait_s();
    mean.off_s += client.off_s();
  }
  const double clients = std::max(1, round.clients_size());
  return {mean.download_s / clients, mean.train_s / clients, mean.upload_s / clients,
          mean.wait_s / clients, mean.off_s / clients};
}

std::string joules_column(const v1::Round& round) {
  const std::optional<Energy> energy = energy_of(round);
  return number(energy.has_value(), energy ? energy->total_j() : 0);
}

std::string joules_columns(const v1::ClientRound& client) {
  const std::optional<Energy> energy = energy_of(client);
  if (!energy) return ",,,";
  return fmt::format("{},{},{},{}", energy->download_j, energy->train_j, energy->upload_j,
                     energy->wait_j);
}

std::string lost_columns(const Lost& lost) {
  return fmt::format("{},{},{},{}", lost.dropped, lost.seconds, lost.bytes_up, lost.bytes_down);
}

}  // namespace

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

std::string rounds_csv(const v1::Result& result) {
  std::string text =
      "round,simulated_s,accuracy,loss,train_loss,client_accuracy,bytes_up,bytes_down,download_s,"
      "train_s,upload_s,wait_s,merge_s,off_s,dropped,lost_s,lost_bytes_up,lost_bytes_down,joules,"
      "start_s,clients\n";
  for (const v1::Round& r : result.rounds()) {
    const Phases mean = mean_phases(r);
    text += fmt::format("{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}\n", r.round(),
                        r.end_s(), number(r.has_accuracy(), r.accuracy()),
                        number(r.has_loss(), r.loss()), number(r.has_train_loss(), r.train_loss()),
                        number(r.has_client_accuracy(), r.client_accuracy()), r.bytes_up(),
                        r.bytes_down(), mean.download_s, mean.train_s, mean.upload_s, mean.wait_s,
                        r.merge_s(), mean.off_s, lost_columns(lost_in(r)), joules_column(r),
                        r.start_s(), r.clients_size());
  }
  return text;
}

std::string clients_csv(const v1::Result& result) {
  std::string text =
      "round,client,device,depth,train_rows,train_loss,accuracy,bytes_up,bytes_down,download_s,"
      "train_s,upload_s,wait_s,end_s,critical,off_s,dropped,lost_s,lost_bytes_up,lost_bytes_down,"
      "download_j,train_j,upload_j,wait_j,rank,group,parts,staleness,experts\n";
  for (const v1::Round& r : result.rounds()) {
    const v1::ClientRound* critical = last_client(r).client;
    for (const v1::ClientRound& c : r.clients()) {
      const v1::ClientSummary& who = result.clients(c.client());
      text += fmt::format(
          "{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}\n", r.round(),
          c.client(), csv_field(who.device()), c.depth(), who.train_rows(),
          number(c.has_train_loss(), c.train_loss()), number(c.has_accuracy(), c.accuracy()),
          c.bytes_up(), c.bytes_down(), c.download_s(), c.train_s(), c.upload_s(), c.wait_s(),
          c.end_s(), &c == critical ? 1 : 0, c.off_s(), lost_columns(lost_in(c)), joules_columns(c),
          c.rank(), c.has_group() ? fmt::format("{}", c.group()) : "",
          c.has_parts() ? c.parts() : 1, c.staleness(),
          c.has_experts() ? fmt::format("{}", c.experts()) : "");
    }
  }
  return text;
}

namespace {

// Of an event: a client's device, the server, or a gateway by its number.
std::string owner(const v1::Result& result, int32_t client) {
  if (client >= 0) return csv_field(result.clients(client).device());
  return client == -1 ? "server" : fmt::format("gateway {}", -2 - client);
}

}  // namespace

std::string events_csv(const v1::Result& result) {
  constexpr const char* kPhases[] = {"download", "train",          "upload",
                                     "merge",    "group_download", "group_upload"};
  constexpr const char* kEnds[] = {"done", "broken", "cancelled"};
  std::string text = "round,client,device,phase,start_s,end_s,bytes,end\n";
  const v1::Events& events = result.events();
  for (int i = 0; i < events.client_size(); ++i) {
    const int32_t client = events.client(i);
    text += fmt::format("{},{},{},{},{},{},{},{}\n", events.round(i),
                        client < 0 ? "" : fmt::format("{}", client), owner(result, client),
                        kPhases[events.phase(i)], events.start_s(i), events.end_s(i),
                        events.bytes(i), kEnds[events.end(i)]);
  }
  return text;
}

}  // namespace fedclock::results
