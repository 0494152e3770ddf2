// Checks of the task: its rows, and how they are spread over the clients.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <set>

#include "models/data/instructions.h"
#include "sim/scenario/check.h"
#include "sim/scenario/suggest.h"

namespace fedclock::scenario {
namespace {

constexpr double kMostRows = 1e7;
constexpr double kNoLimit = std::numeric_limits<double>::infinity();

void check_synthetic(const Fields& synthetic) {
  synthetic.within("domains", 1, 64);
  synthetic.within("classes", 2, 32);
  synthetic.within("train_rows", 1, kMostRows, "all of them are held in memory");
  synthetic.within("test_rows", 1, kMostRows, "without test rows there is no accuracy");
}

void check_distinct(const google::protobuf::RepeatedPtrField<std::string>& names,
                    const std::string& path, std::string_view why, Problems& problems) {
  std::set<std::string> seen;
  for (int i = 0; i < names.size(); ++i) {
    if (seen.insert(names[i]).second) continue;
    problems.add(item_path(path, i), in_quotes(names[i]),
                 fmt::format("stands in the list twice; {}", why));
  }
}

void check_file_task(const v1::FileTask& task, const Fields& files, Problems& problems) {
  const std::vector<std::string> endings = {".jsonl", ".tsv", ".csv"};
  check_file_name(files, "train", task.train(), endings);
  check_file_name(files, "test", task.test(), endings);
  if (task.has_train() && task.train() == task.test()) {
    files.problem("test", "is the training file too; accuracy needs rows that were not trained on");
  }
  files.at_least("max_train_rows", 0, "0 means all rows");
  files.at_least("max_test_rows", 0, "0 means all rows");
  files.at_least("validation_rows", 0, "0 means that the test rows are tested");
  if (task.text_field().empty()) files.problem("text_field", "must name a field of the files");
  if (task.label_field().empty()) {
    files.problem("label_field", "must name a field of the files: rows need labels");
  }
  if (task.has_pair_field() && task.pair_field() == task.text_field()) {
    files.problem("pair_field", "is the field of the first text; name the second text's field");
  }
  if (task.domains_size() > 0 && task.domain_field().empty()) {
    files.problem("domains", "needs `domain_field`, the field of a row's domain");
  }
  check_distinct(task.domains(), files.path("domains"), "each is used once", problems);
  if (task.classes_size() == 1) files.problem("classes", "one class leaves nothing to learn");
  check_distinct(task.classes(), files.path("classes"), "each class has one name", problems);
}

void check_instruction(const v1::Task& task, const Fields& files) {
  if (!task.files().has_instruction()) return;
  const v1::Instruction& instruction = task.files().instruction();
  const Fields fields = files.child("instruction");
  if (fields.require("prompt", "write a text with {fields} of the rows") &&
      instruction.prompt().empty()) {
    fields.problem("prompt", "is empty: write a text with {fields} of the rows");
  }
  for (const auto& [name, text] : {std::pair("prompt", instruction.prompt()),
                                   std::pair("short_prompt", instruction.short_prompt())}) {
    const std::string mistake = data::mistake_in_prompt(text);
    if (!mistake.empty()) fields.problem(name, mistake);
  }
  for (const char* text : {"text_field", "pair_field"}) {
    if (!files.has(text)) continue;
    files.problem(text, "is not used: instruction.prompt says what of a row is read; remove one");
  }
  if (fields.has("response_field") && instruction.response_field().empty()) {
    fields.problem("response_field",
                   "must name a field of the files; leave it out for the name of "
                   "the row's class");
  }
  if (!fields.has("response_field") && fields.has("max_response_tokens")) {
    fields.problem("max_response_tokens",
                   "is about responses of their own, and these are names of classes: remove it, or "
                   "write response_field");
  }
  if (task.max_tokens() >= 4) {
    fields.within("max_response_tokens", 1, task.max_tokens() - 2,
                  "prompts need some of task.max_tokens too");
  }
  if (!fields.has("join")) return;
  const Fields join = fields.child("join");
  check_file_name(join, "file", instruction.join().file(), {".jsonl", ".tsv", ".csv"});
  join.require("field", "name the field of both files that holds the key");
}

// The smallest share of all rows must go round: clients x min_rows <= rows.
void check_rows_go_round(const v1::Scenario& scenario, const Fields& source,
                         std::string_view rows_field) {
  const int64_t rows = static_cast<int64_t>(source.number(rows_field));
  const int64_t clients = client_count(scenario);
  const int64_t least = std::max<int64_t>(1, scenario.task().partition().min_rows());
  if (rows < 1 || clients * least <= rows) return;
  const std::string message = fmt::format(
      "{} rows are too few: {} clients with at least {} rows each need {}; raise `{}`, or lower "
      "`task.partition.min_rows` or the number of devices",
      rows, clients, least, clients * least, rows_field);
  source.problem(rows_field, message);
}

void check_partition(const v1::Task& task, const Fields& partition) {
  partition.at_least("min_rows", 1, "a client without rows cannot train");
  const v1::Partition& kind = task.partition();
  if (kind.has_dirichlet()) {
    const Fields dirichlet = partition.child("dirichlet");
    if (dirichlet.require("alpha", "write a concentration above 0, such as 0.5; small is skewed")) {
      dirichlet.within("alpha", 1e-6, 1e6, "0.1 is very skewed, 100 nearly even");
    }
  }
  if (kind.has_pathological()) {
    const Fields pathological = partition.child("pathological");
    const int classes =
        task.has_synthetic() ? task.synthetic().classes() : task.files().classes_size();
    const double most = classes > 0 ? classes : kNoLimit;
    if (pathological.require("classes_per_client", "write how many classes a client has")) {
      if (classes > 0) {
        pathological.within("classes_per_client", 1, most, "the task has no more classes");
      } else {
        pathological.at_least("classes_per_client", 1);
      }
    }
  }
  if (kind.has_domain() && task.has_files() && task.files().domain_field().empty()) {
    partition.problem("domain", "needs `task.files.domain_field`, the field of a row's domain");
  }
}

}  // namespace

void check_task(const v1::Scenario& scenario, Problems& problems) {
  const Fields all(scenario, "", problems);
  if (!all.require("task", "write task { synthetic {} } or task { files { ... } }")) return;
  const Fields task = all.child("task");
  if (scenario.task().has_synthetic()) {
    check_synthetic(task.child("synthetic"));
    check_rows_go_round(scenario, task.child("synthetic"), "train_rows");
  } else if (scenario.task().has_files()) {
    check_file_task(scenario.task().files(), task.child("files"), problems);
    check_instruction(scenario.task(), task.child("files"));
    check_rows_go_round(scenario, task.child("files"), "max_train_rows");
  } else if (!problems.covers("task.synthetic") && !problems.covers("task.files")) {
    problems.add("task", "not set", "has no rows; write `synthetic {}` or `files { ... }` in it");
  }
  if (scenario.task().has_partition()) check_partition(scenario.task(), task.child("partition"));
  const v1::Architecture& architecture = scenario.model().pretrain().architecture();
  if (scenario.model().has_pretrain() && architecture.max_tokens() >= 4) {
    const double longest = architecture.max_tokens();
    if (task.has("max_tokens")) {
      task.within("max_tokens", 4, longest, "the model's longest sequence is the limit");
    } else if (task.number("max_tokens") > longest) {
      problems.add("task.max_tokens", fmt::format("{} (the default)", task.number("max_tokens")),
                   fmt::format("must be from 4 to {}, the model's longest sequence", longest));
    }
  } else {
    task.at_least("max_tokens", 4);
  }
  task.within("client_test_fraction", 0, 0.9, "it is a share of 1, not a percentage");
  task.within("auxiliary_fraction", 0, 0.9, "it is a share of 1, not a percentage");
}

}  // namespace fedclock::scenario
