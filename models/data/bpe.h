// Byte-level byte-pair encoding as in GPT-2 and RoBERTa (Radford et al. 2019; Sennrich et al.,
// arXiv 1508.07909), in Hugging Face's file layout.
//
// A text is split into words by GPT-2's published pattern. A word is the list of its bytes, each
// a piece; then, as long as two neighbouring pieces are in the list of merges, the pair that is
// earliest in the list (the leftmost one of equals) becomes one piece. Every byte is a piece, so
// nothing is unknown and decode(encode(x)) == x for all bytes x (unless lower case is folded or a
// blank is put before). vocab.json and merges.txt spell bytes as printable characters: a byte that
// is a printable Latin-1 character other than the blank as itself, the others, in byte order, as
// U+0100, U+0101, ... ("Ġ" is the blank).
//
// Training starts from the bytes and merges the most frequent pair of neighbours of all words,
// weighted by how often a word occurs; of equally frequent ones the pair whose pieces are smaller
// in byte order.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/data/pattern.h"
#include "models/data/string_index.h"
#include "models/data/tokenizer.h"

namespace fedclock::data {

struct BpeOptions {
  // Upper case is folded before splitting: ASCII and Latin-1 letters.
  bool lowercase = false;
  // A text that does not begin with a blank gets one, so that its first word is like the others.
  bool add_prefix_space = false;
};

// Splits a text into the words within which pieces are merged. Bytes that are not UTF-8 are words
// of one byte. The words put together are the text, after the options' changes.
class BpeSplitter {
 public:
  explicit BpeSplitter(BpeOptions options);
  void for_each_word(std::string_view text,
                     const std::function<void(std::string_view)>& visit) const;

 private:
  BpeOptions options_;
  Pattern pattern_;
};

class BpeTokenizer : public Tokenizer {
 public:
  // Ids of two pieces and of the piece that they become.
  struct Merge {
    int32_t left = 0, right = 0, result = 0;
  };

  // `vocabulary`: the pieces in id order, spelt as in vocab.json, without repetition; `merges`:
  // the first one has precedence. Special tokens are found by name: <s>, <pad>, </s>, <unk>,
  // <mask>, or GPT-2's <|endoftext|> as start and end.
  BpeTokenizer(std::vector<std::string> vocabulary, std::vector<Merge> merges, BpeOptions options);

  // Reads vocab.json, merges.txt and, where it is there, tokenizer_config.json, whose keys
  // do_lower_case and add_prefix_space default to false.
  static BpeTokenizer load(const std::filesystem::path& folder);

  std::vector<int32_t> encode(std::string_view text) const override;
  std::string decode(std::span<const int32_t> ids) const override;
  int32_t size() const override { return static_cast<int32_t>(vocabulary_.size()); }
  void save(const std::filesystem::path& folder) const override;
  Digest digest() const override;

  const std::vector<std::string>& vocabulary() const { return vocabulary_; }
  const std::vector<Merge>& merges() const { return merges_; }
  BpeOptions options() const { return options_; }

 private:
  struct Continuation {  // what may follow a piece
    int32_t right, rank, result;
  };
  struct Scratch;

  void index_merges();
  void index_words();
  const Continuation* find_merge(int32_t left, int32_t right) const;
  void encode_word(std::string_view word, Scratch& scratch, std::vector<int32_t>& ids) const;

  std::vector<std::string> vocabulary_;  // spelt as in vocab.json
  std::vector<Merge> merges_;            // by rank
  BpeOptions options_;
  BpeSplitter splitter_;
  std::vector<std::string> bytes_;           // of each piece
  std::array<int32_t, 256> byte_ids_{};      // unknown() where a byte is no piece
  std::vector<int32_t> first_continuation_;  // [size + 1] positions in continuations_
  std::vector<Continuation> continuations_;  // by left piece, then by right piece
  StringIndex words_;                        // words that are encoded as one piece ...
  std::vector<int32_t> word_ids_;            // ... and that piece
};

struct BpeTraining {
  int32_t vocabulary = 8000;  // tokens, special ones and the 256 bytes included: at least 261
  bool lowercase = true;
  bool add_prefix_space = false;
};

// The vocabulary is <s>, <pad>, </s>, <unk>, <mask> (ids 0 to 4), the 256 bytes in the order of
// their printable characters, then the merged pieces in the order of merging. It is smaller than
// asked for when no pair is left that occurs twice. Throws InputError for a vocabulary below 261.
BpeTokenizer train_bpe(const std::vector<std::string>& texts, const BpeTraining& training);

}  // namespace fedclock::data
