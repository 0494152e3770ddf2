#include <fmt/format.h>
#include <google/protobuf/text_format.h>

#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <sstream>
#include <utility>

#include "models/common/error.h"
#include "sim/results/files.h"
#include "sim/results/report_data.h"
#include "sim/scenario/methods.h"
#include "tools/fedclock/commands.h"
#include "tools/fedclock/result_folders.h"

// report_page.S
extern "C" const char fedclock_report_page[], fedclock_report_page_end[];

namespace fedclock::tools {

namespace {

namespace fs = std::filesystem;

struct ReportOptions {
  std::vector<std::string> folders;
  std::string out = "report.html";
  std::optional<double> target;
};

// The scenario as it was run, which stands on its own.
v1::Scenario scenario_of(const std::string& text, const fs::path& file) {
  v1::Scenario scenario;
  google::protobuf::TextFormat::Parser parser;
  parser.AllowUnknownField(true);  // of another version
  if (parser.ParseFromString(text, &scenario)) return scenario;
  throw InputError(file.string() + ": is no scenario: run it again, with --overwrite");
}

// What tells runs apart that are not of one seed alone.
std::string without_seed(v1::Scenario scenario) {
  scenario.clear_seed();
  scenario.clear_name();
  return scenario.SerializeAsString();
}

std::string text_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) throw InputError(file.string() + ": cannot be read: it belongs to the run's result");
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

// What names a run among others: the last part of its folder that they do not all have.
std::string name_of(const fs::path& given, const ResultFolder& folder, size_t folders) {
  const std::string own = fs::absolute(given).lexically_normal().filename().string();
  const std::string base = own.empty() ? given.string() : own;
  if (folder.name == ".") return base;
  const std::string of_suite = "runs/";  // where a suite keeps its runs
  const bool in_suite = folder.name.starts_with(of_suite);
  const std::string name = folder.name.substr(in_suite ? of_suite.size() : 0);
  return folders == 1 ? name : base + "/" + name;
}

// A run's name without its seed, which stands in a folder's name as sweeps and suites write it:
// "a/seed-3", "up_mbit_s=5,seed=3".
std::string without_seed(std::string name, uint64_t seed) {
  const std::string number = fmt::format("{}", seed);
  for (const std::string& part : {"/seed-" + number, ",seed=" + number}) {
    if (name.ends_with(part)) name.resize(name.size() - part.size());
  }
  const size_t inside = name.find("seed=" + number + ",");
  if (inside != std::string::npos && (inside == 0 || name[inside - 1] == ',')) {
    name.erase(inside, number.size() + 6);
  }
  return name;
}

// A series is called by its method, or by its first run where others have that method too.
void name_series(std::vector<results::ReportRun>& runs, const std::vector<std::string>& kinds) {
  std::map<std::string, std::set<std::string>> kinds_of_method;
  for (size_t i = 0; i < runs.size(); ++i) kinds_of_method[runs[i].method].insert(kinds[i]);
  std::map<std::string, std::string> labels;  // of each kind
  std::set<std::string> taken;
  for (size_t i = 0; i < runs.size(); ++i) {
    std::string label = runs[i].method;
    if (kinds_of_method.at(label).size() > 1) {
      label = without_seed(runs[i].name, runs[i].seed);
    }
    const auto [own, is_new] = labels.emplace(kinds[i], label);
    if (is_new && !taken.insert(label).second) {  // another kind is called so
      taken.insert(own->second = runs[i].name);
    }
    runs[i].series = own->second;
  }
}

std::vector<results::ReportRun> runs_of(const ReportOptions& options) {
  std::vector<results::ReportRun> runs;
  std::vector<std::string> kinds;
  std::set<std::string> names;
  std::set<std::pair<std::string, uint64_t>> seeds;  // of each kind
  std::set<fs::path> seen;
  for (const std::string& given : options.folders) {
    for (const ResultFolder& folder : results_in(given)) {
      if (!seen.insert(fs::weakly_canonical(folder.path)).second) continue;
      results::ReportRun& run = runs.emplace_back();
      run.result = results::read_result(folder.path);
      run.folder = folder.path.generic_string();
      run.name = name_of(given, folder, options.folders.size());
      if (!names.insert(run.name).second) run.name = run.folder;
      names.insert(run.name);
      run.scenario_text = text_of(folder.path / "scenario.textproto");
      const v1::Scenario scenario =
          scenario_of(run.scenario_text, folder.path / "scenario.textproto");
      run.method = scenario::method_text(scenario);
      run.seed = scenario.seed();
      std::string kind = without_seed(scenario);
      if (!run.result.learned()) kind += "/clock";  // no seed of runs that learn
      // The same seed twice is another series, not two seeds.
      if (!seeds.insert({kind, run.seed}).second) kind += "/" + run.name;
      kinds.push_back(kind);
    }
  }
  name_series(runs, kinds);
  return runs;
}

// As a script: nothing in it ends the script. In JSON, < stands in texts alone.
std::string script_text(const std::string& json) {
  std::string text;
  for (const char c : json) {
    if (c == '<') {
      text += "\\u003c";
    } else {
      text += c;
    }
  }
  return text;
}

std::string page_of(const std::string& data) {
  const std::string_view page(fedclock_report_page,
                              static_cast<size_t>(fedclock_report_page_end - fedclock_report_page));
  constexpr std::string_view kPlace = "<!--fedclock:data-->";
  const size_t place = page.find(kPlace);
  ensure(place != std::string_view::npos, "a page without a place for its data");
  return fmt::format("{}<script>window.FEDCLOCK = {};</script>{}", page.substr(0, place),
                     script_text(data), page.substr(place + kPlace.size()));
}

void report(const ReportOptions& options) {
  const std::vector<results::ReportRun> runs = runs_of(options);
  const std::string page = page_of(results::report_data(runs, FEDCLOCK_VERSION, options.target));
  results::write_file(options.out, page);
  fmt::print("{}: {} run{}, {:.1f} MB\n", options.out, runs.size(), runs.size() == 1 ? "" : "s",
             static_cast<double>(page.size()) / 1e6);
}

}  // namespace

void add_report(CLI::App& program) {
  auto options = std::make_shared<ReportOptions>();
  CLI::App* command = program.add_subcommand(
      "report",
      "Write one page, which needs no network, with the figures of one run or of several: "
      "accuracies, where the time went, who did what when");
  command->add_option("DIR", options->folders, "Folders of finished runs, sweeps or suites")
      ->required();
  command->add_option("-o,--out", options->out, "The page")->capture_default_str();
  add_target_option(*command, options->target,
                    "Accuracy to be reached, 0 to 1 [default: the highest that all runs reach]");
  command->callback([options] { report(*options); });
}

}  // namespace fedclock::tools
