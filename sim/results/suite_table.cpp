#include "sim/results/suite_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <utility>

#include "sim/results/files.h"
#include "sim/results/text.h"

namespace fedclock::results {

namespace {

using TargetKey = std::pair<std::string, uint64_t>;  // setting and seed

// What the tables share.
struct Digested {
  Curves curves;
  std::vector<Judgement> judgements;    // one for each claim
  std::map<TargetKey, Target> targets;  // of the first claim about the setting
};

const v1::Claim* first_claim_about(const v1::Suite& suite, const scenario::SuitePlan& plan,
                                   const std::string& setting) {
  for (const v1::Claim& claim : suite.claims()) {
    const bool all = claim.settings().empty();
    const bool named = std::ranges::find(claim.settings(), setting) != claim.settings().end();
    const bool judged = std::ranges::find(plan.judged, setting) != plan.judged.end();
    if (all ? judged : named) return &claim;
  }
  return suite.claims().empty() ? nullptr : &suite.claims(0);
}

Digested digested(const SuiteReport& report) {
  Digested all;
  for (const SuiteRecord& record : report.records) {
    if (record.figures) all.curves[record.run] = record.figures->curve;
  }
  for (const v1::Claim& claim : report.suite.claims()) {
    all.judgements.push_back(judge(claim, report.plan, all.curves));
  }
  for (const std::string& setting : report.plan.settings) {
    const v1::Claim* claim = first_claim_about(report.suite, report.plan, setting);
    if (claim == nullptr) continue;
    const std::vector<std::string> baselines(claim->against().begin(), claim->against().end());
    for (const uint64_t seed : report.plan.seeds) {
      if (const auto target = target_of(all.curves, baselines, setting, seed)) {
        all.targets[{setting, seed}] = *target;
      }
    }
  }
  return all;
}

std::optional<Measurement> reached(const Digested& all, const SuiteRecord& record) {
  const auto target = all.targets.find({record.run.setting, record.run.seed});
  if (target == all.targets.end() || !record.figures) return std::nullopt;
  return record.figures->curve.reach(target->second.accuracy);
}

// --- claims

std::string kind_text(const v1::Claim& claim) {
  switch (claim.kind_case()) {
    case v1::Claim::kSpeedUp: return "speed-up";
    case v1::Claim::kAccuracyGain: return "accuracy gain";
    case v1::Claim::kTrafficSaving: return "traffic saving";
    case v1::Claim::KIND_NOT_SET: break;
  }
  return "";
}

std::string value_text(const v1::Claim& claim, const std::optional<double>& value) {
  if (!value) return "-";
  switch (claim.kind_case()) {
    case v1::Claim::kSpeedUp: return fmt::format("{:.2f}x", *value);
    case v1::Claim::kTrafficSaving: return fmt::format("{:.1f} %", 100 * *value);
    default: return fmt::format("{:+.4f}", *value);
  }
}

// Claim, setting, paper, measured, interval, seeds, best baseline, verdict.
std::vector<std::string> claim_row(const v1::Claim& claim, const std::string& number,
                                   const std::string& setting, const Estimate& measured,
                                   const std::string& best, const std::string& verdict) {
  const std::string interval = measured.low
                                   ? fmt::format("{} to {}", value_text(claim, measured.low),
                                                 value_text(claim, measured.high))
                                   : "-";
  return {number,
          setting,
          verdict,
          best,
          number.empty() ? "" : ">= " + value_text(claim, figure_of(claim)),
          (measured.at_most ? "at most " : "") + value_text(claim, measured.mean),
          interval,
          fmt::format("{}", measured.seeds)};
}

TextTable claim_table(const SuiteReport& report, const Digested& all) {
  TextTable table{.header = {"claim", "setting", "verdict", "best baseline", "paper", "measured",
                             "95 % interval", "seeds"},
                  .left = 4};
  for (int i = 0; i < report.suite.claims_size(); ++i) {
    const v1::Claim& claim = report.suite.claims(i);
    const Judgement& judgement = all.judgements[static_cast<size_t>(i)];
    std::string verdict = verdict_text(judgement.verdict);
    if (!judgement.reason.empty()) verdict += fmt::format(" ({})", judgement.reason);
    const bool one = judgement.settings.size() == 1;
    const std::string number = fmt::format("{}", i + 1);
    if (!one)
      table.rows.push_back(claim_row(claim, number, "all", judgement.measured, "", verdict));
    for (const Judgement::Row& row : judgement.settings) {
      table.rows.push_back(claim_row(claim, one ? number : "", row.setting, row.measured,
                                     fmt::format("{}", fmt::join(row.best, ", ")),
                                     one          ? verdict
                                     : row.learnt ? ""
                                                  : "nothing learnt"));
    }
  }
  return table;
}

// "1. The paper's sentence. (speed-up of a against b, c)"
std::string claim_list(const v1::Suite& suite) {
  std::string text;
  for (int i = 0; i < suite.claims_size(); ++i) {
    const v1::Claim& claim = suite.claims(i);
    text += fmt::format("{}. {} ({} of {} against {})\n", i + 1, claim.text(), kind_text(claim),
                        claim.of(), fmt::join(claim.against(), ", "));
  }
  return text;
}

// --- methods

// Of one method in one setting.
std::vector<const SuiteRecord*> done(const SuiteReport& report, const std::string& setting,
                                     const std::string& method) {
  std::vector<const SuiteRecord*> records;
  for (const SuiteRecord& record : report.records) {
    if (record.figures && record.run.setting == setting && record.run.method == method) {
      records.push_back(&record);
    }
  }
  return records;
}

// The mean of what is there, and over how many.
struct Mean {
  double value = 0;
  size_t count = 0;
};
Mean mean_over(const std::vector<const SuiteRecord*>& records,
               const std::function<std::optional<double>(const SuiteRecord&)>& value_of) {
  Mean mean;
  for (const SuiteRecord* record : records) {
    const std::optional<double> value = value_of(*record);
    if (!value) continue;
    mean.value += *value;
    ++mean.count;
  }
  if (mean.count > 0) mean.value /= static_cast<double>(mean.count);
  return mean;
}

std::string final_text(const std::vector<const SuiteRecord*>& records) {
  std::vector<double> values;
  for (const SuiteRecord* record : records) {
    if (const auto accuracy = record->figures->curve.final_accuracy()) values.push_back(*accuracy);
  }
  const Estimate estimate = estimate_of(values);
  if (!estimate.mean) return "-";
  if (!estimate.low) return fmt::format("{:.4f}", *estimate.mean);
  return fmt::format("{:.4f} +- {:.4f}", *estimate.mean, *estimate.high - *estimate.mean);
}

// "12 min 03 s", "12 min 03 s (2 of 3)", "never".
std::string over_those_that_reach(const Mean& mean, size_t of, const std::string& text) {
  if (of == 0) return "-";
  if (mean.count == 0) return "never";
  return mean.count == of ? text : fmt::format("{} ({} of {})", text, mean.count, of);
}

std::vector<std::string> method_row(const Digested& all, const std::string& setting,
                                    const std::string& method,
                                    const std::vector<const SuiteRecord*>& records) {
  const auto with_target = static_cast<size_t>(std::ranges::count_if(records, [&](const auto* r) {
    return all.targets.contains({r->run.setting, r->run.seed});
  }));
  const auto mean = [&](const auto& value_of) { return mean_over(records, value_of); };
  const Mean best = mean([](const SuiteRecord& r) { return r.figures->best_accuracy; });
  const Mean time = mean([&](const SuiteRecord& r) -> std::optional<double> {
    const auto there = reached(all, r);
    return there ? std::optional(there->simulated_s) : std::nullopt;
  });
  const Mean bytes = mean([&](const SuiteRecord& r) -> std::optional<double> {
    const auto there = reached(all, r);
    return there ? std::optional(static_cast<double>(there->bytes)) : std::nullopt;
  });
  const Mean traffic = mean([](const SuiteRecord& r) -> std::optional<double> {
    return static_cast<double>(r.figures->traffic.total());
  });
  const auto share = [&](double ClientTime::*part) {
    const Mean shares = mean([&](const SuiteRecord& r) -> std::optional<double> {
      const ClientTime& spent = r.figures->time;
      return spent.total_s() > 0 ? std::optional(spent.*part / spent.total_s()) : std::nullopt;
    });
    return shares.count > 0 ? fmt::format("{:.0f} %", 100 * shares.value) : "-";
  };
  return {setting,
          method,
          fmt::format("{}", records.size()),
          final_text(records),
          best.count > 0 ? fmt::format("{:.4f}", best.value) : "-",
          over_those_that_reach(time, with_target, duration_text(time.value)),
          over_those_that_reach(bytes, with_target, bytes_text(bytes.value)),
          traffic.count > 0 ? bytes_text(traffic.value) : "-",
          share(&ClientTime::compute_s),
          share(&ClientTime::transfer_s),
          share(&ClientTime::wait_s)};
}

TextTable method_table(const SuiteReport& report, const Digested& all) {
  TextTable table{
      .header = {"setting", "method", "runs", "final accuracy", "best", "time to target",
                 "traffic to target", "traffic", "computing", "transferring", "waiting"},
      .left = 2};
  for (const std::string& setting : report.plan.settings) {
    for (const std::string& method : report.plan.methods) {
      table.rows.push_back(method_row(all, setting, method, done(report, setting, method)));
    }
  }
  return table;
}

constexpr const char* kMethodNote =
    "Means over seeds, final accuracies with the half-width of their 95 % interval; the target is "
    "that of the first claim about the setting. Computing, transferring, waiting: shares of the "
    "clients' time in rounds.";

// --- what stands below

void add_once(std::vector<std::string>& list, const std::string& text) {
  if (std::ranges::find(list, text) == list.end()) list.push_back(text);
}

std::vector<std::string> all_of(
    const SuiteReport& report,
    const std::function<std::vector<std::string>(const RunFigures&)>& of) {
  std::vector<std::string> list;
  for (const SuiteRecord& record : report.records) {
    if (!record.figures) continue;
    for (const std::string& text : of(*record.figures)) add_once(list, text);
  }
  return list;
}

std::vector<std::string> assumptions(const SuiteReport& report) {
  std::vector<std::string> list(report.suite.assumptions().begin(),
                                report.suite.assumptions().end());
  for (const std::string& text :
       all_of(report, [](const RunFigures& figures) { return figures.assumptions; })) {
    add_once(list, text);
  }
  return list;
}

// What makes runs of one setting less comparable than they look.
std::vector<std::string> warnings(const SuiteReport& report) {
  std::vector<std::string> list;
  if (report.plan.quick) {
    list.emplace_back("Quick: a look at the suite with its `quick` changes, not the suite itself.");
  }
  const auto differ = [&](const char* what, const std::string RunFigures::*member) {
    for (const std::string& setting : report.plan.settings) {
      std::vector<std::string> values;
      for (const SuiteRecord& record : report.records) {
        if (record.figures && record.run.setting == setting) {
          add_once(values, (*record.figures).*member);
        }
      }
      if (values.size() < 2) continue;
      list.push_back(fmt::format("In {} not all runs have the same {}.", setting, what));
    }
  };
  differ("data", &RunFigures::data_digest);
  differ("learning model", &RunFigures::learning_model);
  differ("timed model", &RunFigures::timed_model);
  differ("kernels or libraries", &RunFigures::numerics);
  differ("metric in the place of accuracy", &RunFigures::metric);
  return list;
}

std::string counts_text(const SuiteReport& report) {
  std::map<std::string, int> counts;
  for (const SuiteRecord& record : report.records) ++counts[record.status];
  std::vector<std::string> words;
  for (const auto& [status, count] : counts) words.push_back(fmt::format("{} {}", count, status));
  const auto count = [](size_t number, const char* what) {
    return fmt::format("{} {}{}", number, what, number == 1 ? "" : "s");
  };
  return fmt::format("{} x {} x {}, {}: {}", count(report.plan.settings.size(), "setting"),
                     count(report.plan.methods.size(), "method"),
                     count(report.plan.seeds.size(), "seed"), count(report.records.size(), "run"),
                     fmt::join(words, ", "));
}

using Add = std::function<void(const std::string& heading, const std::vector<std::string>& items)>;

std::vector<std::string> described(const google::protobuf::RepeatedPtrField<v1::Variant>& variants,
                                   const std::vector<std::string>& taking_part) {
  std::vector<std::string> list;
  for (const v1::Variant& one : variants) {
    const bool runs = std::ranges::find(taking_part, one.name()) != taking_part.end();
    if (runs && !one.description().empty()) list.push_back(one.name() + ": " + one.description());
  }
  return list;
}

void add_lists(const SuiteReport& report, const Add& add) {
  add("Settings", described(report.suite.settings(), report.plan.settings));
  add("What the methods are", described(report.suite.methods(), report.plan.methods));
  if (!report.suite.claims().empty()) add("Rules", rules(accuracy_rule(report.suite)));
  add("Differences from the paper",
      {report.suite.differences().begin(), report.suite.differences().end()});
  add("Assumptions: figures without a public source", assumptions(report));
  add("Notes", all_of(report, [](const RunFigures& figures) { return figures.notes; }));
}

TextTable run_table(const SuiteReport& report) {
  TextTable table{.header = {"run", "status", "scenario digest", "adapter digest", "run digest"},
                  .left = 5};
  for (const SuiteRecord& record : report.records) {
    const RunFigures figures = record.figures.value_or(RunFigures());
    table.rows.push_back({record.run.name(), record.status, figures.scenario_digest,
                          figures.adapter_digest, figures.run_digest});
  }
  return table;
}

std::string number(const std::optional<double>& value) {
  return value ? fmt::format("{}", *value) : "";
}

std::string csv_row(const Digested& all, const SuiteRecord& record) {
  const RunFigures& f = *record.figures;
  const auto target = all.targets.find({record.run.setting, record.run.seed});
  const std::optional<double> accuracy =
      target == all.targets.end() ? std::nullopt : std::optional(target->second.accuracy);
  const std::optional<Measurement> there = reached(all, record);
  const std::string reaching =
      there ? fmt::format("{},{},{}", there->simulated_s, there->round, there->bytes) : ",,";
  return fmt::format("{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}", f.rounds, f.curve.total_s,
                     number(f.curve.final_accuracy()), number(f.best_accuracy), number(accuracy),
                     reaching, f.traffic.up, f.traffic.down, f.time.compute_s, f.time.transfer_s,
                     f.time.wait_s, number(f.joules), f.scenario_digest, f.adapter_digest,
                     f.run_digest);
}

}  // namespace

std::string suite_text(const SuiteReport& report) {
  const Digested all = digested(report);
  const std::string paper = report.suite.paper();
  std::string text =
      fmt::format("{}{}\n{}\n\n", report.suite.name(),
                  paper.empty() ? "" : " (paper: " + paper + ")", counts_text(report));
  if (!report.suite.claims().empty()) {
    text += claim_list(report.suite) + "\n" + aligned(claim_table(report, all)) + "\n";
  }
  text += aligned(method_table(report, all)) + kMethodNote + "\n";
  for (const std::string& warning : warnings(report)) text += warning + "\n";
  add_lists(report, [&](const std::string& heading, const std::vector<std::string>& items) {
    if (items.empty()) return;
    text += fmt::format("\n{}\n", heading);
    for (const std::string& item : items) text += fmt::format("  - {}\n", item);
  });
  return text;
}

std::string suite_markdown(const SuiteReport& report) {
  const Digested all = digested(report);
  const v1::Suite& suite = report.suite;
  std::string text = fmt::format("# {}{}\n\n", suite.name(), report.plan.quick ? " (quick)" : "");
  if (!suite.description().empty()) text += suite.description() + "\n\n";
  if (!suite.paper().empty()) text += fmt::format("Paper: {}. ", suite.paper());
  text += counts_text(report) + ".\n\n";
  for (const std::string& warning : warnings(report)) text += fmt::format("**{}**\n\n", warning);
  if (!suite.claims().empty()) {
    text += "## Claims\n" + claim_list(suite) + "\n" + markdown(claim_table(report, all)) + "\n";
  }
  text += "## Methods\n" + markdown(method_table(report, all)) + "\n" + kMethodNote + "\n";
  add_lists(report, [&](const std::string& heading, const std::vector<std::string>& items) {
    if (items.empty()) return;
    text += fmt::format("\n## {}\n", heading);
    for (const std::string& item : items) text += fmt::format("- {}\n", item);
  });
  text += "\n## Runs\n";
  const auto says = [&](const char* what, const std::string RunFigures::*member) {
    const auto values = all_of(report, [&](const RunFigures& figures) {
      return std::vector<std::string>{figures.*member};
    });
    if (!values.empty()) text += fmt::format("- {}: {}\n", what, fmt::join(values, " | "));
  };
  says("fedclock", &RunFigures::version);
  says("numbers from", &RunFigures::numerics);
  says("learns", &RunFigures::learning_model);
  says("is timed as", &RunFigures::timed_model);
  return text + "\n" + markdown(run_table(report));
}

std::string suite_csv(const SuiteReport& report) {
  const Digested all = digested(report);
  std::string text =
      "setting,method,seed,status,rounds,simulated_s,final_accuracy,best_accuracy,target_accuracy,"
      "time_to_target_s,rounds_to_target,bytes_to_target,bytes_up,bytes_down,compute_s,transfer_s,"
      "wait_s,joules,scenario_digest,adapter_digest,run_digest\n";
  for (const SuiteRecord& record : report.records) {
    text +=
        fmt::format("{},{},{},{},{}\n", record.run.setting, record.run.method, record.run.seed,
                    record.status, record.figures ? csv_row(all, record) : std::string(16, ','));
  }
  return text;
}

}  // namespace fedclock::results
