// Baselines and checks as files that other programs read.
#include <fmt/format.h>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>

#include <fstream>
#include <sstream>

#include "models/common/error.h"
#include "sim/results/check.h"

namespace fedclock::results {

namespace {

std::string xml(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&': escaped += "&amp;"; break;
      case '<': escaped += "&lt;"; break;
      case '>': escaped += "&gt;"; break;
      case '"': escaped += "&quot;"; break;
      case '\n': escaped += "&#10;"; break;
      default: escaped += static_cast<unsigned char>(c) < 0x20 ? ' ' : c; break;
    }
  }
  return escaped;
}

// What GitHub's workflow commands ask for; in properties colons and commas too.
std::string github(const std::string& text, bool property) {
  std::string escaped;
  for (const char c : text) {
    const bool escape = c == '%' || c == '\r' || c == '\n' || (property && (c == ':' || c == ','));
    escaped += escape ? fmt::format("%{:02X}", static_cast<unsigned char>(c)) : std::string(1, c);
  }
  return escaped;
}

std::string line_of(const google::protobuf::Message& message,
                    const google::protobuf::TextFormat::Printer& printer) {
  std::string line;
  ensure(printer.PrintToString(message, &line), "a baseline cannot be written");
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line;
}

// The first problem of a text, with its line.
class FirstProblem : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, google::protobuf::io::ColumnNumber column,
                const std::string& message) override {
    if (text.empty()) text = fmt::format("{}:{}: {}", line + 1, column + 1, message);
  }
  std::string text;
};

}  // namespace

std::string junit_xml(const std::vector<CheckedRun>& runs, const std::string& error) {
  size_t failures = 0;
  std::string cases;
  if (!error.empty()) {
    cases += fmt::format(
        "    <testcase classname=\"fedclock.check\" name=\"check\">\n"
        "      <error message=\"{}\"/>\n    </testcase>\n",
        xml(error));
  }
  for (const CheckedRun& run : runs) {
    cases += fmt::format("    <testcase classname=\"fedclock.check\" name=\"{}\"", xml(run.name));
    if (run.moved.empty()) {
      cases += "/>\n";
      continue;
    }
    ++failures;
    cases +=
        fmt::format(">\n      <failure message=\"{}\">{}</failure>\n    </testcase>\n",
                    xml(run.moved.front()), xml(fmt::format("{}", fmt::join(run.moved, "\n"))));
  }
  return fmt::format(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n"
      "  <testsuite name=\"fedclock check\" tests=\"{}\" failures=\"{}\" errors=\"{}\">\n{}"
      "  </testsuite>\n</testsuites>\n",
      runs.size() + (error.empty() ? 0 : 1), failures, error.empty() ? 0 : 1, cases);
}

std::string github_annotations(const std::vector<CheckedRun>& runs,
                               const std::filesystem::path& baseline, const std::string& error) {
  std::string lines;
  if (!error.empty()) {
    lines += fmt::format("::error file={},title=fedclock check::{}\n",
                         github(baseline.string(), true), github(error, false));
  }
  for (const CheckedRun& run : runs) {
    if (run.moved.empty()) continue;
    lines += fmt::format("::error file={},title={}::{}\n", github(baseline.string(), true),
                         github("fedclock check: " + run.name, true),
                         github(fmt::format("{}", fmt::join(run.moved, "\n")), false));
  }
  return lines;
}

v1::Baseline read_baseline(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::error_code ignored;
  if (!in || std::filesystem::is_directory(file, ignored)) {
    throw InputError(fmt::format(
        "{}: cannot be read: name the baseline with --baseline FILE, or write it with --update",
        file.string()));
  }
  std::stringstream text;
  text << in.rdbuf();
  FirstProblem problem;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&problem);
  v1::Baseline baseline;
  if (!parser.ParseFromString(text.str(), &baseline)) {
    throw InputError(
        fmt::format("{}:{}: this is no baseline of fedclock check: name one with --baseline FILE, "
                    "or a new file with --update",
                    file.string(), problem.text));
  }
  const double tolerance = baseline.native_tolerance();
  if (!(tolerance >= 0 && tolerance <= 1)) {
    throw InputError(
        fmt::format("{}: native_tolerance: {}: must be from 0 to 1", file.string(), tolerance));
  }
  if (baseline.runs().empty()) {
    throw InputError(
        fmt::format("{}: no run is kept in it: write it anew with --update", file.string()));
  }
  return baseline;
}

std::string baseline_text(const v1::Baseline& baseline) {
  google::protobuf::TextFormat::Printer printer;
  printer.SetUseShortRepeatedPrimitives(true);
  std::string text =
      "# proto-file: sim/results/baseline.proto\n# proto-message: Baseline\n#\n"
      "# Written by `fedclock check --update`.\n";
  v1::Baseline head = baseline;
  head.clear_runs();
  std::string part;
  ensure(printer.PrintToString(head, &part), "a baseline cannot be written");
  text += part;
  printer.SetSingleLineMode(true);
  for (const v1::BaselineRun& run : baseline.runs()) {
    v1::BaselineRun facts = run;
    facts.clear_rounds();
    text += "runs {\n  " + line_of(facts, printer) + "\n";
    for (const v1::BaselineRound& round : run.rounds()) {
      text += "  rounds { " + line_of(round, printer) + " }\n";
    }
    text += "}\n";
  }
  return text;
}

}  // namespace fedclock::results
