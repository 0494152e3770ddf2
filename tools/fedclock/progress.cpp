#include "tools/fedclock/progress.h"
#include "tools/fedclock/say.h"
#include "tools/fedclock/terminal.h"

#include <fmt/format.h>

#include <unistd.h>
#include <algorithm>

#include <nlohmann/json.hpp>

namespace fedclock::tools {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point then) {
  return std::chrono::duration<double>(Clock::now() - then).count();
}

constexpr double kPlainLineEvery_s = 10;
constexpr double kLiveLineEvery_s = 0.1;
constexpr size_t kSparklineBars = 16;

}  // namespace

Progress::Progress(const v1::Stop& stop, bool quiet, int events)
    : stop_(stop),
      quiet_(quiet),
      terminal_(is_terminal()),
      colours_(shows_colours()),
      events_(events) {}

void Progress::tell(const nlohmann::json& event) {
  if (events_ < 0) return;
  const std::string line = event.dump() + "\n";
  // Nobody listens any more: the run goes on.
  if (write(events_, line.data(), line.size()) < 0) events_ = -1;
}

void Progress::jobs(const learning::JobCount& jobs) {
  tell({{"known", jobs.known}, {"shared", jobs.shared}, {"computed", jobs.computed}});
}

Progress::~Progress() {
  if (live_) say("\n");
}

void Progress::show(const std::string& line, bool keep) {
  if (quiet_) return;
  if (terminal_) {
    say("\r\033[K{}{}", line, keep ? "\n" : "");
    live_ = !keep;
  } else {
    say("{}\n", line);
  }
}

void Progress::stage(const std::string& text) { show(text, true); }

void Progress::pretraining(const learning::PretrainProgress& progress) {
  if (progress.step % 50 == 0) tell({{"step", progress.step}, {"steps", progress.steps}});
  const bool last = progress.step == progress.steps;
  if (progress.step == 1) first_round_ = Clock::now();
  if (!last && seconds_since(last_line_) < (terminal_ ? kLiveLineEvery_s : kPlainLineEvery_s)) {
    return;
  }
  last_line_ = Clock::now();
  const auto done = static_cast<double>(progress.step - 1);
  const auto left = static_cast<double>(progress.steps - progress.step);
  const std::string rest =
      done > 0 && left > 0
          ? fmt::format("  about {} left", duration_text(seconds_since(first_round_) / done * left))
          : "";
  show(fmt::format("base: step {}/{}  loss {:.3f}{}", progress.step, progress.steps, progress.loss,
                   rest),
       last);
}

double Progress::share(const v1::Round& round) const {
  double share = 0;
  if (stop_.has_rounds()) share = static_cast<double>(round.round()) / stop_.rounds();
  if (stop_.has_simulated_s()) share = std::max(share, round.end_s() / stop_.simulated_s());
  return std::min(share, 1.0);
}

void Progress::round(const v1::Round& round) {
  tell({{"round", round.round()}, {"share", share(round)}});
  if (round.round() == 0) first_round_ = Clock::now();
  if (round.has_accuracy()) accuracies_.push_back(round.accuracy());
  const bool last = share(round) >= 1;
  // On a terminal one line moves; in a file only measured rounds are worth a line.
  if (terminal_ ? !last && seconds_since(last_line_) < kLiveLineEvery_s
                : !last && !round.has_accuracy()) {
    return;
  }
  last_line_ = Clock::now();
  std::string line = fmt::format("round {}", round.round());
  const bool by_time = stop_.has_simulated_s();
  if (stop_.has_rounds() && !by_time) line += fmt::format("/{}", stop_.rounds());
  line += fmt::format("  simulated {}", duration_text(round.end_s()));
  if (by_time) line += " of " + duration_text(stop_.simulated_s());
  if (!accuracies_.empty()) {
    line += "  accuracy " + bold(fmt::format("{:.4f}", accuracies_.back()), colours_);
    if (terminal_) line += " " + sparkline(accuracies_, kSparklineBars);
  }
  if (round.has_train_loss()) line += fmt::format("  training loss {:.4f}", round.train_loss());
  const double done = share(round);
  const double left_s = done > 0 ? seconds_since(first_round_) * (1 - done) / done : 0;
  if (left_s >= 1) {
    line += faint(fmt::format("  about {} left", duration_text(left_s)), colours_);
  }
  show(line, last);
}

}  // namespace fedclock::tools
