// Checks of the model: its base, the base's pretraining and the adapters.
#include <fmt/format.h>

#include <algorithm>

#include <limits>
#include <set>

#include "sim/scenario/check.h"
#include "sim/scenario/suggest.h"

namespace fedclock::scenario {
namespace {

constexpr double kNoLimit = std::numeric_limits<double>::infinity();
constexpr int kSmallestVocabulary = 300;  // the 256 bytes, the special tokens and some merges

void check_heads(const v1::Architecture& shape, const Fields& architecture) {
  if (shape.heads() < 1 || shape.width() < 1) return;
  if (shape.width() % shape.heads() != 0) {
    architecture.problem(
        "width", fmt::format("must be a multiple of the {} heads; {} or {} are", shape.heads(),
                             shape.width() / shape.heads() * shape.heads(),
                             (shape.width() / shape.heads() + 1) * shape.heads()));
  } else if (shape.kind() == v1::Architecture::DECODER && shape.width() / shape.heads() % 2 != 0) {
    architecture.problem("width", fmt::format("gives heads of width {}; a decoder's rotary "
                                              "positions need an even width of heads",
                                              shape.width() / shape.heads()));
  }
  if (!shape.has_kv_heads() || !architecture.at_least("kv_heads", 1)) return;
  if (shape.heads() % shape.kv_heads() != 0) {
    architecture.problem("kv_heads", fmt::format("must divide the {} heads", shape.heads()));
  } else if (shape.kind() == v1::Architecture::ENCODER && shape.kv_heads() != shape.heads()) {
    architecture.problem("kv_heads", "an encoder has no grouped queries; leave it out");
  }
}

void check_architecture(const v1::Pretraining& pretraining, const Fields& architecture) {
  const v1::Architecture& shape = pretraining.architecture();
  architecture.require("kind", "write ENCODER (BERT-like) or DECODER (Llama-like)");
  if (shape.kind() == v1::Architecture::DECODER &&
      shape.norms() == v1::Architecture::AFTER_BLOCKS) {
    architecture.problem("norms", "a decoder's norms stand before its blocks; leave it out");
  }
  if (architecture.require("layers", "write how many layers, such as 6")) {
    architecture.within("layers", 1, 200);
  }
  if (architecture.require("width", "write the residual stream's width, such as 128")) {
    architecture.within("width", 1, 65536);
  }
  if (architecture.require("heads", "write how many attention heads, such as 4")) {
    architecture.within("heads", 1, 1024);
  }
  check_heads(shape, architecture);
  architecture.at_least("ffn_width", 1);
  architecture.within("max_tokens", 4, 1000000);
  const int tokens = pretraining.tokenizer().vocabulary();
  if (architecture.has("vocabulary") && shape.vocabulary() < tokens) {
    architecture.problem("vocabulary", fmt::format("must be at least {}, the tokens of the "
                                                   "tokeniser; leave it out to have just as many",
                                                   tokens));
  }
}

// The corpus of the training texts of a file task, as a scenario would write it.
std::string corpus_of(const v1::FileTask& task) {
  std::string text = "files { ";
  if (task.has_folder()) text += fmt::format("folder: {} ", in_quotes(task.folder()));
  text += fmt::format("files: {}", in_quotes(task.train()));
  if (task.has_instruction()) return text + " }";
  text += fmt::format(" fields: {}", in_quotes(task.text_field()));
  if (!task.pair_field().empty()) text += fmt::format(" fields: {}", in_quotes(task.pair_field()));
  return text + " }";
}

void check_synthetic_corpus(const v1::Scenario& scenario, const Fields& pretrain) {
  if (scenario.task().has_files()) {
    pretrain.problem("synthetic", fmt::format("has none of the words of the task's files; write "
                                              "`{}` in its place, or other texts",
                                              corpus_of(scenario.task().files())));
    return;
  }
  const Fields corpus = pretrain.child("synthetic");
  corpus.within("rows", 1, 1e7, "all of them are held in memory");
  if (!scenario.task().has_synthetic()) return;
  const v1::SyntheticTask& task = scenario.task().synthetic();
  for (const auto& [name, value] : {std::pair<const char*, int>{"domains", task.domains()},
                                    std::pair<const char*, int>{"classes", task.classes()}}) {
    if (corpus.number(name) == value) continue;
    corpus.problem(name, fmt::format("must be {0}, as in task.synthetic.{1}: other texts would not "
                                     "prepare the base for the task (the corpus has {2})",
                                     value, name, corpus.number(name)));
  }
}

void check_file_corpus(const v1::FileCorpus& files, const Fields& corpus, Problems& problems) {
  corpus.require("files", "name text files of the data folder");
  corpus.at_least("max_bytes_per_file", 0, "0 means all bytes");
  std::set<std::string> names;
  for (int i = 0; i < files.files_size(); ++i) {
    const std::string& name = files.files(i);
    bool known = false;
    for (const char* ending : {".txt", ".jsonl", ".tsv", ".csv"}) {
      known = known || name.ends_with(ending);
    }
    const std::string path = item_path(corpus.path("files"), i);
    if (!known) problems.add(path, in_quotes(name), "must end in .txt, .jsonl, .tsv or .csv");
    if (!names.insert(name).second) problems.add(path, in_quotes(name), "stands in the list twice");
  }
}

void check_pretraining(const v1::Scenario& scenario, const Fields& pretrain, Problems& problems) {
  const v1::Pretraining& base = scenario.model().pretrain();
  double longest = kNoLimit;
  if (pretrain.require("architecture", "write the model's shape: kind, layers, width, heads")) {
    check_architecture(base, pretrain.child("architecture"));
    longest = base.architecture().max_tokens();
  }
  if (base.has_synthetic()) {
    check_synthetic_corpus(scenario, pretrain);
  } else if (base.has_files()) {
    check_file_corpus(base.files(), pretrain.child("files"), problems);
  } else if (!problems.covers("model.pretrain.synthetic") &&
             !problems.covers("model.pretrain.files")) {
    problems.add("model.pretrain", "not set",
                 "has no text to learn from; write `synthetic {}` or `files { ... }` in it");
  }
  if (base.has_tokenizer()) {
    pretrain.child("tokenizer")
        .within("vocabulary", kSmallestVocabulary, 1000000,
                "the 256 bytes and the special tokens are part of it");
  }
  if (pretrain.require("steps", "write how many optimiser steps, such as 600")) {
    pretrain.at_least("steps", 1);
  }
  pretrain.at_least("batch_size", 1);
  // Where it is not set, the default is cut to architecture.max_tokens.
  pretrain.within("sequence_tokens", 4, longest, "architecture.max_tokens is the limit");
  pretrain.above("mask_fraction", 0, 0.9, "it is a share of 1, not a percentage");
  pretrain.above("learning_rate", 0, 1);
  pretrain.within("weight_decay", 0, 1);
}

void check_adapter(const v1::Scenario& scenario, const Fields& adapter, Problems& problems) {
  const v1::Model& model = scenario.model();
  const v1::Architecture& base = model.pretrain().architecture();
  check_rank(scenario, adapter);
  adapter.above("alpha", 0, kNoLimit, "the usual choice is twice the rank");
  if (const double dropout = adapter.number("dropout"); dropout >= 1) {
    const std::string hint =
        dropout > 1 ? unit_hint(dropout, 100, 0, 0.99, "percent", "a share of 1") : "";
    adapter.problem("dropout", "must be from 0 to below 1: it is a probability" + hint);
  }
  adapter.at_least("dropout", 0);
  const std::string targets = adapter.path("targets");
  const bool misread = std::ranges::any_of(
      problems.list(), [&](const Problem& problem) { return problem.path.starts_with(targets); });
  if (model.adapter().targets_size() == 0 && problems.is_written(targets) && !misread) {
    problems.add(targets, "[]",
                 "must name a map, such as Q, or be left out for Q and V; to tune the head alone, "
                 "set federation.assignment.uniform.depth to 0");
  }
  std::set<int> seen;
  for (int i = 0; i < model.adapter().targets_size(); ++i) {
    const v1::Target target = model.adapter().targets(i);
    const std::string path = item_path(adapter.path("targets"), i);
    if (!seen.insert(target).second) {
      problems.add(path, v1::Target_Name(target), "stands in the list twice; remove one");
    }
    if (target == v1::GATE && base.kind() == v1::Architecture::ENCODER) {
      problems.add(path, "GATE",
                   "an encoder has no gate, only a decoder's SwiGLU has; remove it, or use UP");
    }
  }
}

}  // namespace

void check_model(const v1::Scenario& scenario, Problems& problems) {
  const Fields all(scenario, "", problems);
  if (!all.require("model", "write model { pretrain { ... } } or model { folder: \"...\" }")) {
    return;
  }
  const Fields model = all.child("model");
  if (scenario.model().has_pretrain()) {
    check_pretraining(scenario, model.child("pretrain"), problems);
  } else if (scenario.model().has_folder()) {
    if (scenario.model().folder().empty()) model.problem("folder", "must name a folder");
  } else if (!problems.covers("model.pretrain") && !problems.covers("model.folder")) {
    problems.add("model", "not set", "has no base; write `pretrain { ... }` or `folder` in it");
  }
  if (scenario.model().has_adapter()) {
    check_adapter(scenario, model.child("adapter"), problems);
  }
  if (scenario.model().pretrain().architecture().kind() != v1::Architecture::ENCODER ||
      !has_responses(scenario.task())) {
    return;
  }
  const std::string what =
      "an encoder writes no answers; set model.pretrain.architecture.kind to DECODER, or ";
  if (scenario.task().has_synthetic()) {
    const Fields synthetic(scenario.task().synthetic(), "task.synthetic", problems);
    synthetic.problem("form", what + "the form to CLASSIFICATION");
  } else {
    const Fields files(scenario.task().files(), "task.files", problems);
    files.problem("instruction", what + "leave it out");
  }
}

}  // namespace fedclock::scenario
