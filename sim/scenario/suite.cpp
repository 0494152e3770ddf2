#include "sim/scenario/suite.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>

#include "models/common/error.h"
#include "sim/scenario/bind.h"
#include "sim/scenario/check.h"
#include "sim/scenario/methods.h"
#include "sim/scenario/suggest.h"
#include "sim/scenario/syntax.h"
#include "sim/scenario/validate.h"

namespace fedclock::scenario {
namespace {

namespace fs = std::filesystem;

using Variants = google::protobuf::RepeatedPtrField<v1::Variant>;
using Names = google::protobuf::RepeatedPtrField<std::string>;

constexpr int kLeastSeeds = 3;

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Each once, without those that are missing.
std::vector<std::string> names_of(const Variants& variants) {
  std::vector<std::string> names;
  for (const v1::Variant& variant : variants) {
    if (!variant.name().empty() && !contains(names, variant.name())) {
      names.push_back(variant.name());
    }
  }
  return names;
}

// The fields of a suite, each checked on its own and against the others.
class SuiteChecker {
 public:
  SuiteChecker(const Suite& suite, Problems& problems)
      : suite_(suite),
        values_(suite.suite),
        settings_(names_of(values_.settings())),
        methods_(names_of(values_.methods())),
        problems_(problems) {}

  void check() {
    const Fields fields(values_, "", problems_);
    fields.within("smoothing_s", 0, 1e9);
    if (values_.best_so_far() && values_.smoothing_s() > 0) {
      fields.problem("smoothing_s", "is not used with best_so_far: remove one of the two");
    }
    check_name(fields, "name", values_.name());
    if (fields.require("base", "name the scenario file that all runs have in common")) {
      check_file("base", values_.base());
    }
    fields.require("settings", "write settings { name: \"default\" }, for the base as it is");
    fields.require("methods", "write methods { name: \"fedit\" set: 'method=\"fedit\"' }");
    check_variants("settings", values_.settings());
    check_variants("methods", values_.methods());
    check_seeds();
    for (int i = 0; i < values_.claims_size(); ++i) {
      check_claim(values_.claims(i), fields.item("claims", i));
    }
    if (values_.has_quick()) {
      check_quick(fields.child("quick"));
    } else if (suite_.quick) {
      fields.require("quick", "--quick needs what it changes: quick { seeds: 1 set: ... }");
    }
  }

 private:
  void check_name(const Fields& fields, std::string_view field, const std::string& name) {
    const bool plain = name.find_first_not_of(
                           "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") ==
                       std::string::npos;
    if (plain && !name.empty() && name[0] != '.') return;
    add(fields.path(field), in_quotes(name),
        "names a folder: write it with letters (a to z), digits, '-', '_' and '.' only, not '.' "
        "first");
  }

  void check_file(const std::string& path, const std::string& name) {
    const fs::path file = suite_.beside(name);
    std::error_code ignored;
    if (!name.ends_with(".textproto") && !name.ends_with(".json")) {
      add(path, in_quotes(name),
          "the file's name must end in .textproto (Protobuf's text format) or .json");
    } else if (!fs::is_regular_file(file, ignored)) {
      add(path, in_quotes(name),
          fmt::format("there is no file {}: paths count from the suite's folder", file.string()));
    }
  }

  void check_set(const std::string& path, const Names& overrides) {
    for (int i = 0; i < overrides.size(); ++i) {
      const std::string& text = overrides.Get(i);
      const std::string field = text.substr(0, text.find('='));
      if (field != "seed" && field != "name") continue;
      add(item_path(path, i), in_quotes(text),
          fmt::format("the suite sets `{}` of every run; {}", field,
                      field == "seed" ? "list the seeds in `seeds`" : "leave it out"));
    }
  }

  void check_variants(const std::string& list, const Variants& variants) {
    std::set<std::string> seen;
    for (int i = 0; i < variants.size(); ++i) {
      const v1::Variant& variant = variants.Get(i);
      const Fields fields(variant, item_path(list, i), problems_);
      if (!fields.require("name", "it stands in tables, claims and folders")) continue;
      check_name(fields, "name", variant.name());
      if (!seen.insert(variant.name()).second) {
        add(fields.path("name"), in_quotes(variant.name()),
            fmt::format("two {} have this name; give one of them another", list));
      }
      if (variant.has_file()) check_file(fields.path("file"), variant.file());
      check_set(fields.path("set"), variant.set());
    }
  }

  template <typename Seeds>
  void check_once(const std::string& path, const Seeds& seeds) {
    std::set<uint64_t> seen;
    for (int i = 0; i < seeds.size(); ++i) {
      if (seen.insert(seeds.Get(i)).second) continue;
      add(item_path(path, i), fmt::format("{}", seeds.Get(i)),
          "this seed stands there twice; remove one");
    }
  }

  void check_seeds() {
    check_once("seeds", values_.seeds());
    const int count = values_.seeds_size();
    if (count >= kLeastSeeds) return;
    if (suite_.quick && (count > 0 || values_.quick().seeds_size() > 0)) return;
    if (values_.claims().empty() && count > 0) return;
    add("seeds", count == 0 ? "not set" : fmt::format("{} of them", count),
        "at least 3 are needed: an interval from fewer says nothing; write seeds: [1, 2, 3]");
  }

  void check_known(const std::string& path, const std::string& name,
                   const std::vector<std::string>& known, std::string_view kind) {
    if (contains(known, name)) return;
    add(path, in_quotes(name),
        fmt::format("is no {} of this suite; {}", kind, suggest_name(name, known)));
  }

  void check_list(const std::string& path, const Names& names,
                  const std::vector<std::string>& known, std::string_view kind) {
    std::set<std::string> seen;
    for (int i = 0; i < names.size(); ++i) {
      check_known(item_path(path, i), names.Get(i), known, kind);
      if (seen.insert(names.Get(i)).second) continue;
      add(item_path(path, i), in_quotes(names.Get(i)), "stands there twice; remove one");
    }
  }

  void check_claim(const v1::Claim& claim, const Fields& fields) {
    fields.require("text", "write the paper's sentence");
    if (fields.require("of", "name the method that the claim is about")) {
      check_known(fields.path("of"), claim.of(), methods_, "method");
    }
    fields.require("against", "name the methods that it is compared with");
    check_list(fields.path("against"), claim.against(), methods_, "method");
    for (int i = 0; i < claim.against_size(); ++i) {
      if (!claim.has_of() || claim.against(i) != claim.of()) continue;
      add(item_path(fields.path("against"), i), in_quotes(claim.of()),
          "is the method that the claim is about; name others");
    }
    check_list(fields.path("settings"), claim.settings(), settings_, "setting");
    check_kind(claim, fields);
  }

  void check_kind(const v1::Claim& claim, const Fields& fields) {
    const auto figure = [&](std::string_view kind) {
      const Fields chosen = fields.child(kind);
      chosen.require("at_least", "write the paper's figure");
      return chosen;
    };
    constexpr const char* kShare = "; a share is 1 at most: four percentage points are 0.04";
    switch (claim.kind_case()) {
      case v1::Claim::kSpeedUp: figure("speed_up").above("at_least", 0, 10000); return;
      case v1::Claim::kAccuracyGain:
        figure("accuracy_gain").within("at_least", -1, 1, kShare);
        return;
      case v1::Claim::kTrafficSaving:
        figure("traffic_saving").within("at_least", -100, 1, kShare);
        return;
      case v1::Claim::KIND_NOT_SET: break;
    }
    if (problems_.covers(fields.path("kind"))) return;
    for (const char* kind : {"speed_up", "accuracy_gain", "traffic_saving"}) {
      if (problems_.covers(fields.path(kind))) return;
    }
    add(fields.path("kind"), "not set",
        "is required; write one of speed_up { at_least: 2 }, accuracy_gain { at_least: 0.01 }, "
        "traffic_saving { at_least: 0.3 }");
  }

  void check_quick(const Fields& fields) {
    const v1::Quick& quick = values_.quick();
    check_list(fields.path("settings"), quick.settings(), settings_, "setting");
    check_list(fields.path("methods"), quick.methods(), methods_, "method");
    check_once(fields.path("seeds"), quick.seeds());
    check_set(fields.path("set"), quick.set());
  }

  void add(const std::string& path, const std::string& value, const std::string& message) {
    if (!problems_.covers(path)) problems_.add(path, value, message);
  }

  const Suite& suite_;
  const v1::Suite& values_;
  std::vector<std::string> settings_, methods_;
  Problems& problems_;
};

int index_of(const Variants& variants, const std::string& name) {
  const auto found = std::find_if(variants.begin(), variants.end(),
                                  [&](const v1::Variant& v) { return v.name() == name; });
  ensure(found != variants.end(), "a run of a suite names a variant that the suite does not have");
  return static_cast<int>(found - variants.begin());
}

// Those that take part: named ones, else all but the extended ones, which come in with --extended.
std::vector<std::string> chosen(const Variants& variants, const Names& named, bool extended) {
  std::vector<std::string> names;
  for (const v1::Variant& variant : variants) {
    const bool is_named = std::find(named.begin(), named.end(), variant.name()) != named.end();
    if (named.empty() ? extended || !variant.extended() : is_named) names.push_back(variant.name());
  }
  return names;
}

// What makes a run of the base, with the places in the suite.
class Changes {
 public:
  Changes(const Suite& suite, LoadOptions& options) : suite_(suite), options_(options) {}

  void add(const std::string& path, const std::string& text) {
    options_.overrides.push_back(text);
    options_.override_places.push_back(
        fmt::format("{}: {}", suite_.locations.find(path).text(), path));
  }
  void add_all(const std::string& path, const Names& texts) {
    for (int i = 0; i < texts.size(); ++i) add(item_path(path, i), texts.Get(i));
  }
  void add_variant(const std::string& list, const Variants& variants, const std::string& name) {
    const int index = index_of(variants, name);
    const v1::Variant& variant = variants.Get(index);
    if (variant.has_file()) options_.over.push_back(suite_.beside(variant.file()));
    add_all(join_path(item_path(list, index), "set"), variant.set());
  }

 private:
  const Suite& suite_;
  LoadOptions& options_;
};

}  // namespace

fs::path Suite::beside(const std::string& name) const {
  return (file.parent_path() / name).lexically_normal();
}

Suite load_suite(const fs::path& file, bool quick) {
  Suite suite{.suite = {}, .locations = {}, .file = file, .quick = quick};
  Problems problems;
  const Location whole{file.string(), 0, 0};
  const std::optional<ReadFile> read = read_scenario_file(file.string(), whole, "", problems);
  if (!read) problems.throw_if_any();
  suite.locations.set("", whole);
  Binder(read->source, suite.locations, problems).merge(read->root, "", suite.suite);
  if (!suite.suite.has_name()) suite.suite.set_name(file.stem().string());
  problems.use(suite.locations);
  SuiteChecker(suite, problems).check();
  problems.throw_if_any();
  return suite;
}

std::string SuiteRun::name() const { return fmt::format("{}/{}/seed-{}", setting, method, seed); }

SuitePlan plan_suite(const Suite& suite, bool extended) {
  const v1::Suite& values = suite.suite;
  const v1::Quick quick = suite.quick ? values.quick() : v1::Quick();
  SuitePlan plan;
  plan.quick = suite.quick;
  plan.settings = chosen(values.settings(), quick.settings(), extended);
  plan.methods = chosen(values.methods(), quick.methods(), extended);
  for (const std::string& name : plan.settings) {
    if (!values.settings(index_of(values.settings(), name)).extended()) plan.judged.push_back(name);
  }
  const auto& seeds = quick.seeds_size() > 0 ? quick.seeds() : values.seeds();
  plan.seeds.assign(seeds.begin(), seeds.end());
  for (const uint64_t seed : plan.seeds) {
    for (const std::string& setting : plan.settings) {
      for (const std::string& method : plan.methods) plan.runs.push_back({setting, method, seed});
    }
  }
  if (plan.runs.empty()) {
    throw InputError(fmt::format(
        "{}: extended: true: all settings or all methods are extended, so that nothing runs; give "
        "--extended, or leave `extended` out in one of them",
        suite.file.string()));
  }
  return plan;
}

namespace {

// What a suite that judges by clients' own rows asks of each run.
void check_own_rows(const v1::Scenario& scenario, Problems& problems) {
  if (scenario.evaluation().clients_every_rounds() == 0) {
    problems.add("evaluation.clients_every_rounds", "0",
                 "the suite's own_rows judges by what is measured there: write how many rounds lie "
                 "between two measurements");
  }
  if (scenario.task().client_test_fraction() == 0) {
    problems.add("task.client_test_fraction", "0",
                 "the suite's own_rows judges by rows that clients have held out: write 0.1");
  }
}

}  // namespace

Loaded load_run(const Suite& suite, const SuiteRun& run, const fs::path& library,
                Problems& problems) {
  const v1::Suite& values = suite.suite;
  LoadOptions options;
  options.library = library;
  Changes changes(suite, options);
  changes.add_variant("settings", values.settings(), run.setting);
  changes.add_variant("methods", values.methods(), run.method);
  if (suite.quick) changes.add_all("quick.set", values.quick().set());
  changes.add("seeds", fmt::format("seed={}", run.seed));
  changes.add("name", fmt::format("name={}-{}-{}", values.name(), run.setting, run.method));
  Loaded loaded = load_scenario(suite.beside(values.base()), options, problems);
  expand_method(loaded, problems);
  validate(loaded, problems);
  if (values.own_rows()) check_own_rows(loaded.scenario, problems);
  return loaded;
}

}  // namespace fedclock::scenario
