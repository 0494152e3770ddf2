#include <fmt/format.h>

#include "sim/results/files.h"

namespace fedclock::results {

namespace {

// The shortest text that reads back to the same number; nothing where there is none.
std::string number(bool known, double value) { return known ? fmt::format("{}", value) : ""; }

struct Phases {
  double download_s = 0, train_s = 0, upload_s = 0, wait_s = 0;
};

Phases mean_phases(const v1::Round& round) {
  Phases mean;
  for (const v1::ClientRound& client : round.clients()) {
    mean.download_s += client.download_s();
    mean.train_s += client.train_s();
    mean.upload_s += client.upload_s();
    mean.wait_s += client.wait_s();
  }
  const double clients = std::max(1, round.clients_size());
  return {mean.download_s / clients, mean.train_s / clients, mean.upload_s / clients,
          mean.wait_s / clients};
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
      "train_s,upload_s,wait_s,merge_s\n";
  for (const v1::Round& r : result.rounds()) {
    const Phases mean = mean_phases(r);
    text += fmt::format("{},{},{},{},{},{},{},{},{},{},{},{},{}\n", r.round(), r.end_s(),
                        number(r.has_accuracy(), r.accuracy()), number(r.has_loss(), r.loss()),
                        number(r.has_train_loss(), r.train_loss()),
                        number(r.has_client_accuracy(), r.client_accuracy()), r.bytes_up(),
                        r.bytes_down(), mean.download_s, mean.train_s, mean.upload_s, mean.wait_s,
                        r.merge_s());
  }
  return text;
}

std::string clients_csv(const v1::Result& result) {
  std::string text =
      "round,client,device,depth,train_rows,train_loss,accuracy,bytes_up,bytes_down,download_s,"
      "train_s,upload_s,wait_s\n";
  for (const v1::Round& r : result.rounds()) {
    for (const v1::ClientRound& c : r.clients()) {
      const v1::ClientSummary& who = result.clients(c.client());
      text += fmt::format("{},{},{},{},{},{},{},{},{},{},{},{},{}\n", r.round(), c.client(),
                          csv_field(who.device()), c.depth(), who.train_rows(),
                          number(c.has_train_loss(), c.train_loss()),
                          number(c.has_accuracy(), c.accuracy()), c.bytes_up(), c.bytes_down(),
                          c.download_s(), c.train_s(), c.upload_s(), c.wait_s());
    }
  }
  return text;
}

}  // namespace fedclock::results
