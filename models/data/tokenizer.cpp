#include "models/data/tokenizer.h"

#include <fmt/format.h>

#include "models/common/error.h"
#include "models/data/bpe.h"
#include "models/data/wordpiece.h"

namespace fedclock::data {

bool Tokenizer::is_special(int32_t id) const {
  return id >= 0 && (id == special_.pad || id == special_.unknown || id == special_.start ||
                     id == special_.end || id == special_.mask);
}

std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& folder) {
  if (std::filesystem::exists(folder / "vocab.json")) {
    return std::make_unique<BpeTokenizer>(BpeTokenizer::load(folder));
  }
  if (std::filesystem::exists(folder / "vocab.txt")) {
    return std::make_unique<WordPieceTokenizer>(WordPieceTokenizer::load(folder));
  }
  throw InputError(
      fmt::format("{}: no tokeniser: put vocab.json and merges.txt (byte-level BPE) or "
                  "vocab.txt (WordPiece) there",
                  folder.string()));
}

std::unique_ptr<Tokenizer> train_tokenizer(const std::vector<std::string>& texts,
                                           const TokenizerTraining& training) {
  if (training.kind == TokenizerKind::kWords) {
    return std::make_unique<WordPieceTokenizer>(
        train_words(texts, training.vocabulary, training.lowercase));
  }
  return std::make_unique<BpeTokenizer>(train_bpe(texts, {.vocabulary = training.vocabulary,
                                                          .lowercase = training.lowercase,
                                                          .add_prefix_space = true}));
}

EncodedRow encode_row(const Tokenizer& tokenizer, const Row& row, int32_t max_tokens) {
  std::vector<int32_t> text = tokenizer.encode(row.text);
  std::vector<int32_t> pair;
  const bool paired = !row.pair.empty();
  if (paired) pair = tokenizer.encode(row.pair);

  const bool has_start = tokenizer.start() >= 0, has_end = tokenizer.end() >= 0;
  const int64_t special = (has_start ? 1 : 0) + (has_end ? (paired ? 2 : 1) : 0);
  const int64_t room = max_tokens - special;
  ensure(room >= 0, "max_tokens does not hold the special tokens");
  while (std::ssize(text) + std::ssize(pair) > room) {
    (text.size() > pair.size() ? text : pair).pop_back();
  }

  EncodedRow encoded;
  if (has_start) encoded.ids.push_back(tokenizer.start());
  encoded.ids.insert(encoded.ids.end(), text.begin(), text.end());
  if (has_end) encoded.ids.push_back(tokenizer.end());
  encoded.types.assign(encoded.ids.size(), 0);
  if (paired) {
    encoded.ids.insert(encoded.ids.end(), pair.begin(), pair.end());
    if (has_end) encoded.ids.push_back(tokenizer.end());
    encoded.types.resize(encoded.ids.size(), 1);
  }
  return encoded;
}

}  // namespace fedclock::data
