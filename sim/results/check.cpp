#include "sim/results/check.h"

#include <fmt/format.h>

#include <cmath>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <string>

#include "sim/results/files.h"
#include "sim/results/totals.h"

namespace fedclock::results {

namespace {

using Number = std::optional<double>;

template <class Message>
Number number(const Message& from, bool (Message::*has)() const, double (Message::*get)() const) {
  return (from.*has)() ? Number((from.*get)()) : std::nullopt;
}

// A figure of each round, how it is shown, and by how much it may differ.
struct Figure {
  const char* what;
  Number (*of)(const v1::BaselineRound&);
  const char* unit = "";
  bool is_learnt = false;
  bool is_accuracy = false;
};

using Round = v1::BaselineRound;

const Figure kFigures[] = {
    {"start", [](const Round& r) { return number(r, &Round::has_start_s, &Round::start_s); }, " s"},
    {"end", [](const Round& r) { return number(r, &Round::has_end_s, &Round::end_s); }, " s"},
    {"bytes up", [](const Round& r) { return Number(static_cast<double>(r.bytes_up())); },
     " bytes"},
    {"bytes down", [](const Round& r) { return Number(static_cast<double>(r.bytes_down())); },
     " bytes"},
    {"energy", [](const Round& r) { return number(r, &Round::has_joules, &Round::joules); }, " J"},
    {"accuracy", [](const Round& r) { return number(r, &Round::has_accuracy, &Round::accuracy); },
     "", true, true},
    {"clients' accuracy",
     [](const Round& r) { return number(r, &Round::has_client_accuracy, &Round::client_accuracy); },
     "", true, true},
    {"loss", [](const Round& r) { return number(r, &Round::has_loss, &Round::loss); }, "", true},
    {"training loss",
     [](const Round& r) { return number(r, &Round::has_train_loss, &Round::train_loss); }, "",
     true},
};

// Bit for bit, NaN being equal to itself.
bool same(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

bool same(const Number& a, const Number& b, double tolerance) {
  if (a.has_value() != b.has_value()) return false;
  return !a || same(*a, *b) || std::abs(*a - *b) <= tolerance;
}

std::string text_of(const Figure& figure, const Number& value) {
  return value ? fmt::format("{}{}", *value, figure.unit) : "not measured";
}

std::string change(const Figure& figure, double from, double to) {
  const double by = to - from;
  std::string text = fmt::format("{:+.6g}{}", by, figure.unit);
  if (!figure.is_learnt && from != 0) text += fmt::format(", {:+.3g} %", 100 * by / from);
  return text;
}

using Rounds = std::map<int32_t, const Round*>;

Rounds by_number(const v1::BaselineRun& run) {
  Rounds rounds;
  for (const Round& round : run.rounds()) rounds[round.round()] = &round;
  return rounds;
}

// What became of one figure over all rounds that both have; empty: nothing.
std::string moved_figure(const Figure& figure, const Rounds& kept, const Rounds& now,
                         double tolerance) {
  std::string first;
  int64_t others = 0;
  double most = 0;
  int32_t most_round = 0;
  for (const auto& [number, round] : kept) {
    const auto found = now.find(number);
    if (found == now.end()) continue;
    const Number was = figure.of(*round), is = figure.of(*found->second);
    if (same(was, is, tolerance)) continue;
    const double by = was && is ? std::abs(*is - *was) : 0;
    if (by > most) {
      most = by;
      most_round = number;
    }
    if (!first.empty()) {
      ++others;
      continue;
    }
    first =
        fmt::format("{} of round {}: {}, was {}{}", figure.what, number, text_of(figure, is),
                    text_of(figure, was), was && is ? " (" + change(figure, *was, *is) + ")" : "");
  }
  if (others == 0) return first;
  return fmt::format(
      "{}; and of {} later round{}{}", first, others, others == 1 ? "" : "s",
      most > 0 ? fmt::format(", at most by {:.6g}{} (round {})", most, figure.unit, most_round)
               : "");
}

std::string numbers_text(const std::vector<int32_t>& rounds) {
  return rounds.size() == 1 ? fmt::format("round {}", rounds.front())
                            : fmt::format("{} rounds from {} on", rounds.size(), rounds.front());
}

void compare_rounds(const Rounds& kept, const Rounds& now, std::vector<std::string>& moved) {
  std::vector<int32_t> missing, more;
  for (const auto& [round, unused] : kept) {
    if (!now.contains(round)) missing.push_back(round);
  }
  for (const auto& [round, unused] : now) {
    if (!kept.contains(round)) more.push_back(round);
  }
  if (!missing.empty()) moved.push_back("missing: " + numbers_text(missing));
  if (!more.empty()) moved.push_back("new: " + numbers_text(more));
}

// What rounds' sums do not show.
void compare_parts(const v1::BaselineRun& kept, const v1::BaselineRun& now,
                   const Rounds& rounds_kept, const Rounds& rounds_now,
                   std::vector<std::string>& moved) {
  for (const auto& [number, round] : rounds_kept) {
    const auto found = rounds_now.find(number);
    if (found == rounds_now.end()) continue;
    if (round->parts_digest() == found->second->parts_digest()) continue;
    moved.push_back(fmt::format(
        "clients' dates, bytes or plans since round {}, with the same sums: clients.csv has them",
        number));
    return;
  }
  if (kept.clock_digest() == now.clock_digest()) return;
  moved.emplace_back("events, or what lies outside of rounds: events.csv has them");
}

void compare_files(const v1::BaselineRun& kept, const v1::BaselineRun& now, bool bytes,
                   std::vector<std::string>& moved) {
  std::map<std::string, std::string> files;
  for (const v1::AdapterFile& file : now.adapter_files()) files[file.name()] = file.digest();
  for (const v1::AdapterFile& file : kept.adapter_files()) {
    const auto found = files.find(file.name());
    if (found == files.end()) {
      moved.push_back(fmt::format("final adapter: {} is missing", file.name()));
    } else if (bytes && found->second != file.digest()) {
      moved.push_back(fmt::format("final adapter: {} has other bytes", file.name()));
    }
  }
}

bool is_native(const v1::BaselineRun& run) { return run.numerics().starts_with("native"); }

// A run for the timing alone has learnt nothing.
std::string or_none(const std::string& text) { return text.empty() ? "none" : text; }

std::vector<std::string> compare(const v1::BaselineRun& kept, const v1::BaselineRun& now,
                                 double native_tolerance) {
  std::vector<std::string> moved;
  const bool native = is_native(kept) && is_native(now);
  if (kept.scenario_digest() != now.scenario_digest()) {
    moved.push_back(fmt::format("scenario: another one ({}, was {})", now.scenario_digest(),
                                kept.scenario_digest()));
  }
  const Rounds rounds_kept = by_number(kept), rounds_now = by_number(now);
  compare_rounds(rounds_kept, rounds_now, moved);
  for (const Figure& figure : kFigures) {
    if (native && figure.is_learnt && !figure.is_accuracy) continue;
    const double tolerance = native && figure.is_accuracy ? native_tolerance : 0;
    const std::string text = moved_figure(figure, rounds_kept, rounds_now, tolerance);
    if (!text.empty()) moved.push_back(text);
  }
  if (moved.empty()) compare_parts(kept, now, rounds_kept, rounds_now, moved);
  compare_files(kept, now, !native, moved);
  if (native) return moved;
  if (kept.adapter_digest() != now.adapter_digest()) {
    moved.push_back(fmt::format("final adapter: {}, was {}", or_none(now.adapter_digest()),
                                or_none(kept.adapter_digest())));
  }
  if (moved.empty() && kept.figures_digest() != now.figures_digest()) {
    moved.push_back(
        fmt::format("figures: {}, were {}: what clients learnt, or their own accuracies; "
                    "clients.csv has it",
                    now.figures_digest(), kept.figures_digest()));
  }
  if (!moved.empty() && kept.numerics() != now.numerics()) {
    moved.push_back(fmt::format("numbers now come from {}, before from {}", or_none(now.numerics()),
                                or_none(kept.numerics())));
  }
  return moved;
}

// Without what is learnt.
void keep_the_clock(v1::Round& round) {
  round.clear_accuracy();
  round.clear_loss();
  round.clear_train_loss();
  round.clear_client_accuracy();
  round.clear_own_accuracies();
  for (v1::ClientRound& client : *round.mutable_clients()) {
    client.clear_accuracy();
    client.clear_train_loss();
  }
}

std::string digest_of(const v1::Result& result) { return run_digest(result).hex(); }

// Of one round by itself; the sums stand beside it.
std::string parts_digest_of(v1::Round round) {
  keep_the_clock(round);
  v1::Result alone;
  alone.add_rounds()->Swap(&round);
  return digest_of(alone);
}

std::string clock_digest_of(const v1::Result& result) {
  v1::Result clock;
  *clock.mutable_clients() = result.clients();
  *clock.mutable_rounds() = result.rounds();
  for (v1::Round& round : *clock.mutable_rounds()) keep_the_clock(round);
  if (result.has_end_s()) clock.set_end_s(result.end_s());
  *clock.mutable_events() = result.events();
  return digest_of(clock);
}

}  // namespace

std::vector<v1::AdapterFile> adapter_files_in(const std::filesystem::path& folder) {
  std::map<std::string, std::string> digests;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(folder, none)) {
    if (entry.path().extension() != ".safetensors") continue;
    std::ifstream in(entry.path(), std::ios::binary);
    std::stringstream bytes;
    bytes << in.rdbuf();
    digests[entry.path().filename().string()] = DigestBuilder().add(bytes.str()).finish().hex();
  }
  std::vector<v1::AdapterFile> files;
  for (const auto& [name, digest] : digests) {
    v1::AdapterFile& file = files.emplace_back();
    file.set_name(name);
    file.set_digest(digest);
  }
  return files;
}

v1::BaselineRun baseline_of(const NamedResult& run) {
  v1::BaselineRun kept;
  kept.set_name(run.name);
  kept.set_scenario_digest(run.result.scenario_digest());
  if (run.result.has_adapter_digest()) kept.set_adapter_digest(run.result.adapter_digest());
  if (run.result.has_numerics()) kept.set_numerics(run.result.numerics());
  v1::Result figures = run.result;
  figures.clear_version();
  figures.clear_numerics();
  kept.set_figures_digest(digest_of(figures));
  kept.set_clock_digest(clock_digest_of(run.result));
  for (const v1::AdapterFile& file : run.adapter_files) *kept.add_adapter_files() = file;
  for (const v1::Round& from : run.result.rounds()) {
    Round& round = *kept.add_rounds();
    round.set_round(from.round());
    round.set_start_s(from.start_s());
    round.set_end_s(from.end_s());
    round.set_bytes_up(from.bytes_up());
    round.set_bytes_down(from.bytes_down());
    if (const auto energy = energy_of(from)) round.set_joules(energy->total_j());
    if (from.has_accuracy()) round.set_accuracy(from.accuracy());
    if (from.has_client_accuracy()) round.set_client_accuracy(from.client_accuracy());
    if (from.has_loss()) round.set_loss(from.loss());
    if (from.has_train_loss()) round.set_train_loss(from.train_loss());
    round.set_parts_digest(parts_digest_of(from));
  }
  return kept;
}

std::vector<CheckedRun> check(const v1::Baseline& baseline,
                              const std::vector<v1::BaselineRun>& runs) {
  std::map<std::string, const v1::BaselineRun*> results;
  for (const v1::BaselineRun& run : runs) results[run.name()] = &run;
  std::vector<CheckedRun> checked;
  std::set<std::string> known;
  for (const v1::BaselineRun& kept : baseline.runs()) {
    CheckedRun& one = checked.emplace_back(CheckedRun{kept.name(), {}});
    known.insert(kept.name());
    const auto found = results.find(kept.name());
    if (found == results.end()) {
      one.moved.emplace_back("missing: there is no such result");
    } else {
      one.moved = compare(kept, *found->second, baseline.native_tolerance());
    }
  }
  for (const v1::BaselineRun& run : runs) {
    if (known.contains(run.name())) continue;
    checked.push_back({run.name(), {"new: the baseline does not have it; --update adds it"}});
  }
  return checked;
}

bool anything_moved(const std::vector<CheckedRun>& runs) {
  for (const CheckedRun& run : runs) {
    if (!run.moved.empty()) return true;
  }
  return false;
}

}  // namespace fedclock::results
