// WordPiece as in BERT (Devlin et al., arXiv 1810.04805) over a vocab.txt, one token a line.
//
// Basic tokenisation: control characters are dropped, CJK ideographs and punctuation characters
// are words of their own, the rest is split at white space; an uncased tokeniser folds upper case
// and strips accents (Latin-1, Latin Extended-A, plain Greek and Cyrillic letters, and all
// combining marks; other composed letters are kept as they are). Each word is then cut greedily:
// the longest piece of the vocabulary that the rest of the word starts with, written "##piece"
// inside of a word. A word that cannot be cut, or of more than 100 characters, is [UNK].
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/data/pattern.h"
#include "models/data/string_index.h"
#include "models/data/tokenizer.h"

namespace fedclock::data {

class WordPieceTokenizer : public Tokenizer {
 public:
  // `vocabulary`: the tokens in id order. Throws InputError when [UNK] is missing or a token is
  // there twice; `source` names the file in the message.
  WordPieceTokenizer(const std::vector<std::string>& vocabulary, bool lowercase,
                     const std::string& source = "vocab.txt");

  // Reads vocab.txt and, where it is there, tokenizer_config.json, whose key do_lower_case
  // defaults to true.
  static WordPieceTokenizer load(const std::filesystem::path& folder);

  std::vector<int32_t> encode(std::string_view text) const override;
  // Words with one blank between them; the spelling of the text is not kept.
  std::string decode(std::span<const int32_t> ids) const override;
  int32_t size() const override { return vocabulary_.size(); }
  void save(const std::filesystem::path& folder) const override;
  Digest digest() const override;

  // The words of a text before they are cut into pieces.
  std::vector<std::string> words(std::string_view text) const;

 private:
  void encode_word(const std::string& word, std::vector<int32_t>& ids) const;

  StringIndex vocabulary_;
  size_t longest_bytes_ = 0;  // of a token
  bool lowercase_;
  Pattern dropped_;  // characters that cleaning drops
  Pattern word_;
};

// A tokeniser of whole words: [PAD], [UNK], [CLS], [SEP], [MASK], then the most frequent words of
// the texts, of equally frequent ones the first in byte order. At most `vocabulary` tokens, at
// least the special ones. No piece continues a word: any other word is [UNK].
WordPieceTokenizer train_words(const std::vector<std::string>& texts, int32_t vocabulary,
                               bool lowercase);

}  // namespace fedclock::data
