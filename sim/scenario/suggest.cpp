#include "sim/scenario/suggest.h"

#include <fmt/format.h>
#include <google/protobuf/stubs/strutil.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <iterator>
#include <utility>

#include "sim/scenario/location.h"
#include "sim/scenario/scenario.pb.h"

namespace fedclock::scenario {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

// A unit as names end in it: its kind, its size in the kind's basic unit, and its name in words.
struct Unit {
  std::string_view suffix;
  enum Kind { kTime, kRate, kSize, kSpeed, kPower, kShare } kind;
  double factor;
  std::string_view words;
};

// Basic units: s, bit/s, byte, FLOP/s, W, 1.
constexpr Unit kUnits[] = {
    {"s", Unit::kTime, 1, "seconds"},
    {"sec", Unit::kTime, 1, "seconds"},
    {"secs", Unit::kTime, 1, "seconds"},
    {"seconds", Unit::kTime, 1, "seconds"},
    {"ms", Unit::kTime, 1e-3, "milliseconds"},
    {"us", Unit::kTime, 1e-6, "microseconds"},
    {"ns", Unit::kTime, 1e-9, "nanoseconds"},
    {"min", Unit::kTime, 60, "minutes"},
    {"minutes", Unit::kTime, 60, "minutes"},
    {"h", Unit::kTime, 3600, "hours"},
    {"hours", Unit::kTime, 3600, "hours"},
    {"bps", Unit::kRate, 1, "bit/s"},
    {"bit_s", Unit::kRate, 1, "bit/s"},
    {"kbps", Unit::kRate, 1e3, "kbit/s"},
    {"kbit_s", Unit::kRate, 1e3, "kbit/s"},
    {"mbps", Unit::kRate, 1e6, "Mbit/s"},
    {"mbit", Unit::kRate, 1e6, "Mbit/s"},
    {"mbit_s", Unit::kRate, 1e6, "Mbit/s"},
    {"gbps", Unit::kRate, 1e9, "Gbit/s"},
    {"gbit_s", Unit::kRate, 1e9, "Gbit/s"},
    {"bytes_s", Unit::kRate, 8, "bytes/s"},
    {"kb_s", Unit::kRate, 8e3, "kB/s"},
    {"mb_s", Unit::kRate, 8e6, "MB/s"},
    {"gb_s", Unit::kRate, 8e9, "GB/s"},
    {"tb_s", Unit::kRate, 8e12, "TB/s"},
    {"bytes", Unit::kSize, 1, "bytes"},
    {"kb", Unit::kSize, 1e3, "kB"},
    {"mb", Unit::kSize, 1e6, "MB"},
    {"gb", Unit::kSize, 1e9, "GB"},
    {"tb", Unit::kSize, 1e12, "TB"},
    {"kib", Unit::kSize, 1024, "KiB"},
    {"mib", Unit::kSize, 1048576, "MiB"},
    {"gib", Unit::kSize, 1073741824, "GiB"},
    {"flops", Unit::kSpeed, 1, "FLOP/s"},
    {"mflops", Unit::kSpeed, 1e6, "MFLOP/s"},
    {"gflops", Unit::kSpeed, 1e9, "GFLOP/s"},
    {"tflops", Unit::kSpeed, 1e12, "TFLOP/s"},
    {"mw", Unit::kPower, 1e-3, "milliwatts"},
    {"w", Unit::kPower, 1, "watts"},
    {"kw", Unit::kPower, 1e3, "kilowatts"},
    {"percent", Unit::kShare, 1e-2, "percent"},
    {"pct", Unit::kShare, 1e-2, "percent"},
    {"fraction", Unit::kShare, 1, "a share from 0 to 1"},
};

constexpr int kDeepestHome = 8;  // dots in the paths that are searched

// "upMbitS" and "up-mbit-s" to "up_mbit_s".
std::string snake_case(std::string_view name) {
  std::string snake;
  for (const char c : name) {
    if (std::isupper(static_cast<unsigned char>(c)) != 0) {
      if (!snake.empty() && snake.back() != '_') snake += '_';
      snake += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    } else {
      snake += c == '-' ? '_' : c;
    }
  }
  return snake;
}

std::string squashed(std::string_view word) {
  std::string letters;
  for (const char c : word) {
    if (c == '_' || c == '-') continue;
    letters += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return letters;
}

// The longest unit that the name ends in, and what stands before it.
std::pair<std::string, const Unit*> split_unit(const std::string& name) {
  const Unit* best = nullptr;
  for (const Unit& unit : kUnits) {
    if (name != unit.suffix && !name.ends_with("_" + std::string(unit.suffix))) continue;
    if (best == nullptr || unit.suffix.size() > best->suffix.size()) best = &unit;
  }
  if (best == nullptr) return {name, nullptr};
  const std::size_t rest = name.size() - best->suffix.size();
  return {name.substr(0, rest == 0 ? 0 : rest - 1), best};
}

std::optional<double> number_in(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// The field of the same stem in another unit, with the conversion; or of a name without its unit.
std::optional<FieldSuggestion> other_unit(std::string_view name, std::string_view value,
                                          const Descriptor& message) {
  const auto [stem, unit] = split_unit(snake_case(name));
  for (int i = 0; i < message.field_count(); ++i) {
    const std::string& field = message.field(i)->name();
    const auto [field_stem, field_unit] = split_unit(field);
    if (field_unit == nullptr || field_stem != stem) continue;
    std::string text =
        fmt::format("there is no such field; did you mean `{}` ({})?", field, field_unit->words);
    if (unit != nullptr && unit->kind == field_unit->kind && unit->factor != field_unit->factor) {
      const double factor = unit->factor / field_unit->factor;
      const std::optional<double> number = number_in(value);
      text += fmt::format(" {} {} is {:.6g}", number ? value : "1", unit->words,
                          number.value_or(1) * factor);
    }
    return FieldSuggestion{field, text};
  }
  return std::nullopt;
}

// Names that other programs give to fields of ours, and where those stand.
constexpr std::pair<std::string_view, std::string_view> kOtherNames[] = {
    {"clients", "platform.devices[].count"},
    {"num_clients", "platform.devices[].count"},
    {"client_count", "platform.devices[].count"},
    {"clients_per_round", "federation.selection.random.count"},
    {"num_rounds", "stop.rounds"},
    {"local_steps", "federation.local.steps"},
    {"local_epochs", "federation.local.epochs"},
    {"lr", "federation.local.learning_rate"},
    {"lora_rank", "model.adapter.rank"},
    {"lora_alpha", "model.adapter.alpha"},
    {"lora_dropout", "model.adapter.dropout"},
    {"target_modules", "model.adapter.targets"},
};

// A field of a scenario: its path, and the message that has it.
struct Home {
  std::string path;
  const Descriptor* message;
};

// Where in a scenario fields of this name stand, the outermost first.
std::vector<Home> homes_of(std::string_view name) {
  std::string wanted;  // the whole path, where another program's name tells it
  for (const auto& [other, path] : kOtherNames) {
    if (other == name) wanted = path;
  }
  const std::string field_name(wanted.empty() ? name : wanted.substr(wanted.rfind('.') + 1));
  std::vector<Home> homes;
  std::vector<Home> queue{{"", v1::Scenario::descriptor()}};
  for (std::size_t next = 0; next < queue.size(); ++next) {
    const auto [path, message] = queue[next];
    const std::string here = join_path(path, field_name);
    const bool found = message->FindFieldByName(field_name) != nullptr;
    if (found && (wanted.empty() || wanted == here)) homes.push_back({here, message});
    if (std::count(path.begin(), path.end(), '.') > kDeepestHome) continue;
    for (int i = 0; i < message->field_count(); ++i) {
      const FieldDescriptor* field = message->field(i);
      if (field->message_type() == nullptr) continue;
      const std::string suffix = field->is_repeated() ? "[]" : "";
      queue.push_back({join_path(path, field->name() + suffix), field->message_type()});
    }
  }
  return homes;
}

// "`a`, `b` or `c`".
std::string any_of_homes(const std::vector<Home>& homes) {
  std::string text;
  for (std::size_t i = 0; i < homes.size(); ++i) {
    if (i > 0) text += i + 1 == homes.size() ? " or " : ", ";
    text += "`" + homes[i].path + "`";
  }
  return text;
}

}  // namespace

int edit_distance(std::string_view a, std::string_view b) {
  const std::string x = squashed(a), y = squashed(b);
  std::vector<std::vector<int>> d(x.size() + 1, std::vector<int>(y.size() + 1));
  for (std::size_t i = 0; i <= x.size(); ++i) d[i][0] = static_cast<int>(i);
  for (std::size_t j = 0; j <= y.size(); ++j) d[0][j] = static_cast<int>(j);
  for (std::size_t i = 1; i <= x.size(); ++i) {
    for (std::size_t j = 1; j <= y.size(); ++j) {
      const int replace = d[i - 1][j - 1] + (x[i - 1] == y[j - 1] ? 0 : 1);
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, replace});
      if (i > 1 && j > 1 && x[i - 1] == y[j - 2] && x[i - 2] == y[j - 1]) {
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
      }
    }
  }
  return d[x.size()][y.size()];
}

std::optional<std::string> closest(std::string_view word,
                                   const std::vector<std::string>& candidates) {
  const int length = static_cast<int>(squashed(word).size());
  int limit = std::max(length <= 3 ? 1 : 2, length / 3);
  std::optional<std::string> best;
  for (const std::string& candidate : candidates) {
    const int distance = edit_distance(word, candidate);
    if (distance > limit || distance >= static_cast<int>(candidate.size())) continue;
    limit = distance - 1;
    best = candidate;
  }
  return best;
}

std::string in_quotes(std::string_view text) {
  return "\"" + google::protobuf::CEscape(std::string(text)) + "\"";
}

std::string list_of(const std::vector<std::string>& words) {
  return fmt::format("{}", fmt::join(words, ", "));
}

std::string suggest_name(std::string_view word, const std::vector<std::string>& candidates) {
  const std::optional<std::string> near = closest(word, candidates);
  const std::string known = candidates.empty() ? "there is none" : "known: " + list_of(candidates);
  return near ? fmt::format("did you mean `{}`? {}", *near, known) : known;
}

FieldSuggestion suggest_field(std::string_view name, std::string_view value,
                              const Descriptor& message) {
  if (const auto unit = other_unit(name, value, message)) return *unit;
  std::vector<std::string> fields;
  for (int i = 0; i < message.field_count(); ++i) fields.push_back(message.field(i)->name());
  const std::vector<Home> homes = homes_of(snake_case(name));
  std::optional<std::string> near = closest(name, fields);
  // The exact name of a field of another place is no slip of two letters.
  if (near && !homes.empty() && edit_distance(name, *near) > 1) near.reset();
  for (const Home& home : homes) {
    if (home.message == &message) near = home.path.substr(home.path.rfind('.') + 1);
  }
  if (near) {
    const Unit* unit = split_unit(*near).second;
    const std::string words = unit == nullptr ? "" : fmt::format(" ({})", unit->words);
    return {*near, fmt::format("there is no such field; did you mean `{}`{}?", *near, words)};
  }
  std::string text = "there is no such field here; ";
  if (!homes.empty()) text += fmt::format("it belongs to {}; ", any_of_homes(homes));
  text += fields.empty() ? "this block has no fields" : "known here: " + list_of(fields);
  return {"", text};
}

}  // namespace fedclock::scenario
