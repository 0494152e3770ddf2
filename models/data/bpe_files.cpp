// Byte-level BPE's files: vocab.json, merges.txt and tokenizer_config.json.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "models/common/error.h"
#include "models/data/bpe.h"
#include "models/data/text_file.h"
#include "models/data/tokenizer_files.h"

namespace fedclock::data {

namespace {

using nlohmann::json;

std::vector<std::string> read_vocabulary(const std::filesystem::path& path) {
  const json object = read_json_object(path);
  std::vector<std::string> vocabulary(object.size());
  std::vector<bool> taken(object.size(), false);
  for (const auto& [piece, id] : object.items()) {
    const bool fits =
        id.is_number_unsigned() && id.get<uint64_t>() < object.size() && !taken[id.get<uint64_t>()];
    if (!fits) {
      throw InputError(fmt::format("{}: piece {} has the id {}: ids must be 0 to {}, each once",
                                   path.string(), shown(piece), id.dump(), object.size() - 1));
    }
    taken[id.get<uint64_t>()] = true;
    vocabulary[id.get<uint64_t>()] = piece;
  }
  return vocabulary;
}

std::vector<BpeTokenizer::Merge> read_merges(const std::filesystem::path& path,
                                             const std::vector<std::string>& vocabulary) {
  StringIndex pieces;
  for (const std::string& piece : vocabulary) pieces.insert(piece);
  std::vector<BpeTokenizer::Merge> merges;
  for_each_line(read_text_file(path), [&](std::string_view line, int64_t number) {
    if (line.empty() || (number == 1 && line.starts_with("#version"))) return;
    const size_t blank = line.find(' ');
    if (blank == line.npos || line.find(' ', blank + 1) != line.npos) {
      throw InputError(
          fmt::format("{}:{}: {} is not a merge: write two pieces with a blank between",
                      path.string(), number, shown(line)));
    }
    const std::string left(line.substr(0, blank)), right(line.substr(blank + 1));
    for (const std::string& piece : {left, right, left + right}) {
      if (pieces.find(piece) >= 0) continue;
      throw InputError(
          fmt::format("{}:{}: piece {} is not in vocab.json: take both files from the "
                      "same tokeniser",
                      path.string(), number, shown(piece)));
    }
    merges.push_back({pieces.find(left), pieces.find(right), pieces.find(left + right)});
  });
  return merges;
}

}  // namespace

BpeTokenizer BpeTokenizer::load(const std::filesystem::path& folder) {
  for (const char* name : {"vocab.json", "merges.txt"}) {
    if (std::filesystem::exists(folder / name)) continue;
    throw InputError(fmt::format("{}: missing: byte-level BPE needs vocab.json and merges.txt",
                                 (folder / name).string()));
  }
  std::vector<std::string> vocabulary = read_vocabulary(folder / "vocab.json");
  std::vector<Merge> merges = read_merges(folder / "merges.txt", vocabulary);
  const std::filesystem::path config = folder / "tokenizer_config.json";
  const BpeOptions options{read_flag(config, "do_lower_case", false),
                           read_flag(config, "add_prefix_space", false)};
  BpeTokenizer tokenizer(std::move(vocabulary), std::move(merges), options);
  for (const int32_t id : tokenizer.byte_ids_) {
    if (id >= 0) continue;
    throw InputError(
        fmt::format("{}: neither a piece for every byte nor <unk>: take the files of a "
                    "byte-level tokeniser",
                    (folder / "vocab.json").string()));
  }
  return tokenizer;
}

void BpeTokenizer::save(const std::filesystem::path& folder) const {
  std::string vocabulary;
  for (int32_t id = 0; id < size(); ++id) {
    vocabulary += fmt::format("{}{}:{}", id == 0 ? '{' : ',', json(vocabulary_[id]).dump(), id);
  }
  write_file(folder / "vocab.json", vocabulary + "}\n");

  std::string merges = "#version: 0.2\n";
  for (const Merge& merge : merges_) {
    merges += vocabulary_[merge.left] + ' ' + vocabulary_[merge.right] + '\n';
  }
  write_file(folder / "merges.txt", merges);

  nlohmann::ordered_json config;
  config["tokenizer_class"] = special_.mask >= 0 ? "RobertaTokenizer" : "GPT2Tokenizer";
  config["do_lower_case"] = options_.lowercase;
  config["add_prefix_space"] = options_.add_prefix_space;
  const std::pair<const char*, int32_t> named[] = {
      {"bos_token", start()}, {"cls_token", start()},   {"eos_token", end()},  {"sep_token", end()},
      {"pad_token", pad()},   {"unk_token", unknown()}, {"mask_token", mask()}};
  for (const auto& [name, id] : named) {
    if (id >= 0) config[name] = vocabulary_[id];
  }
  write_file(folder / "tokenizer_config.json", config.dump(2) + '\n');
}

}  // namespace fedclock::data
