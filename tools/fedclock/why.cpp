#include <fmt/format.h>

#include <memory>
#include <optional>

#include "sim/results/files.h"
#include "sim/results/why.h"
#include "tools/fedclock/commands.h"
#include "tools/fedclock/progress.h"

namespace fedclock::tools {

namespace {

struct WhyOptions {
  std::string folder;
  std::optional<int64_t> round;
};

void print_path(const results::CriticalPath& path) {
  const auto line = [&](const char* name, double seconds) {
    if (seconds <= 0) return;
    fmt::print("  {:<16} {:>12} {:>7.1f} %\n", name, duration_text(seconds),
               100 * seconds / path.total_s());
  };
  line("download", path.download_s);
  line("training", path.train_s);
  line("upload", path.upload_s);
  line("merge", path.merge_s);
  line("server training", path.server_train_s);
  line("dropped clients", path.dropped_s);
  line("out of reach", path.away_s);
  line("its group", path.group_s);
  line("deadline", path.deadline_s);
}

void print_devices(const std::vector<results::DeviceShare>& shares) {
  if (shares.empty()) return;
  size_t width = 8;
  for (const results::DeviceShare& share : shares) width = std::max(width, share.device.size());
  fmt::print("{:<{}} {:>8} {:>6} {:>12} {:>12} {:>12} {:>12} {:>12}\n", "device", width, "parts",
             "last", "download", "training", "upload", "waiting", "off");
  for (const results::DeviceShare& share : shares) {
    fmt::print("{:<{}} {:>8} {:>6} {:>12} {:>12} {:>12} {:>12} {:>12}\n", share.device, width,
               share.client_rounds, share.critical_rounds, duration_text(share.download_s),
               duration_text(share.train_s), duration_text(share.upload_s),
               duration_text(share.wait_s), duration_text(share.off_s));
  }
}

// Where updates are merged as they come, nobody is waited for.
void print_overlap(const v1::Result& result, const results::RoundCause* cause) {
  if (cause == nullptr) {
    fmt::print(
        "{} in {} rounds; updates were merged as they came, and overlap: no round waits for "
        "one chain of phases\n",
        duration_text(result.end_s()), result.rounds_size() - 1);
    return;
  }
  fmt::print("round {}: merged from {} to {}", cause->round, duration_text(cause->start_s),
             duration_text(cause->end_s));
  if (cause->client) {
    fmt::print("; last came client {} ({})", *cause->client,
               result.clients(*cause->client).device());
  }
  fmt::print("; updates overlap with those of other rounds\n");
}

void why(const WhyOptions& options) {
  const v1::Result result = results::read_result(options.folder);
  if (results::overlaps(result)) {
    std::optional<results::RoundCause> cause;
    if (options.round) cause = results::cause_of_round(result, *options.round);
    print_overlap(result, cause ? &*cause : nullptr);
  } else if (!options.round) {
    const results::CriticalPath path = results::critical_path(result);
    fmt::print("all rounds: {}, of which the last client and the server took\n",
               duration_text(path.total_s()));
    print_path(path);
  } else {
    const results::RoundCause cause = results::cause_of_round(result, *options.round);
    fmt::print("round {}: {}, from {} to {}\n", cause.round,
               duration_text(cause.end_s - cause.start_s), duration_text(cause.start_s),
               duration_text(cause.end_s));
    if (cause.client) {
      fmt::print("last was client {} ({}), {} after the next\n", *cause.client,
                 result.clients(*cause.client).device(), duration_text(cause.ahead_s));
    }
    print_path(cause.path);
  }
  print_devices(results::shares_by_device(result, options.round));
}

}  // namespace

void add_why(CLI::App& program) {
  auto options = std::make_shared<WhyOptions>();
  CLI::App* command = program.add_subcommand(
      "why",
      "Say what a round's end waited for, and which devices waited: `parts` taken in rounds, how "
      "often one of them was the `last`, and means of their phases");
  command->add_option("DIR", options->folder, "Output folder of a finished run")->required();
  command->add_option("--round", options->round, "One round [default: all together]");
  command->callback([options] { why(*options); });
}

}  // namespace fedclock::tools
