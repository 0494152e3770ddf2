// Tokenisers: text to token ids and back. Two kinds, chosen by the files of a folder in Hugging
// Face's layout: byte-level BPE (vocab.json, merges.txt) and WordPiece (vocab.txt).
// All member functions are const without hidden state: safe from any number of threads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/common/digest.h"
#include "models/data/row.h"

namespace fedclock::data {

// Ids of the special tokens; -1 where the vocabulary has none.
struct SpecialTokens {
  int32_t pad = -1;
  int32_t unknown = -1;
  int32_t start = -1;  // [CLS] or <s>
  int32_t end = -1;    // [SEP] or </s>
  int32_t mask = -1;
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // Ids of the text's pieces, without special tokens. Any bytes are taken, valid UTF-8 or not.
  virtual std::vector<int32_t> encode(std::string_view text) const = 0;
  // Text of the ids; special tokens are left out. Throws ProgrammerError for an id outside of
  // [0, size()).
  virtual std::string decode(std::span<const int32_t> ids) const = 0;
  // Tokens in the vocabulary; ids are 0 to size() - 1.
  virtual int32_t size() const = 0;
  // Writes the tokeniser's files, over those that are there; makes the folder.
  virtual void save(const std::filesystem::path& folder) const = 0;
  // Name of the content: equal for tokenisers that do the same.
  virtual Digest digest() const = 0;

  int32_t pad() const { return special_.pad; }
  int32_t unknown() const { return special_.unknown; }
  int32_t start() const { return special_.start; }
  int32_t end() const { return special_.end; }
  int32_t mask() const { return special_.mask; }
  bool is_special(int32_t id) const;

 protected:
  Tokenizer() = default;
  explicit Tokenizer(const SpecialTokens& special) : special_(special) {}
  Tokenizer(Tokenizer&&) = default;
  Tokenizer& operator=(Tokenizer&&) = default;

  SpecialTokens special_;
};

// Reads vocab.json and merges.txt, or vocab.txt, and tokenizer_config.json where it is there.
// Throws InputError when the folder has neither or a file is wrong.
std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& folder);

enum class TokenizerKind {
  kBpe,    // byte-level BPE (see BpeTokenizer): nothing is unknown
  kWords,  // whole words (see train_words): a rarer word is [UNK]
};
struct TokenizerTraining {
  TokenizerKind kind = TokenizerKind::kBpe;
  int32_t vocabulary = 8000;  // at most as many tokens
  bool lowercase = true;
};
std::unique_ptr<Tokenizer> train_tokenizer(const std::vector<std::string>& texts,
                                           const TokenizerTraining& training);

// A row as the model reads it: `start text end` with types 0, or `start text end pair end` with
// types 0 up to the first end and 1 after it. Special tokens the vocabulary lacks are left out.
struct EncodedRow {
  std::vector<int32_t> ids;    // [tokens]
  std::vector<int32_t> types;  // [tokens]
};
// At most max_tokens tokens, special ones included; tokens are taken off the end of the longer of
// the two texts, off the pair where they are equal. The row's response is not encoded. Throws
// ProgrammerError when max_tokens does not hold the special tokens.
EncodedRow encode_row(const Tokenizer& tokenizer, const Row& row, int32_t max_tokens);

}  // namespace fedclock::data
