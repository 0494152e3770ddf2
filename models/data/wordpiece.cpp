#include "models/data/wordpiece.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <utility>

#include "models/common/error.h"
#include "models/data/text_file.h"
#include "models/data/tokenizer_files.h"
#include "models/data/utf8.h"

namespace fedclock::data {

namespace {

constexpr int kLongestWord = 100;  // characters, as in BERT

// What lower-casing and then dropping the accents of the canonical decomposition makes of a block
// of characters (Unicode 15).
struct FoldedBlock {
  char32_t first;
  std::u32string_view folded;
};
constexpr FoldedBlock kLatin = {0xC0,
                                U"aaaaaaæceeeeiiiiðnooooo×øuuuuyþß"
                                U"aaaaaaæceeeeiiiiðnooooo÷øuuuuyþy"
                                U"aaaaaaccccccccddđđeeeeeeeeeegggg"
                                U"gggghhħħiiiiiiiiiıĳĳjjkkĸllllllŀ"
                                U"ŀłłnnnnnnŉŋŋooooooœœrrrrrrssssss"
                                U"ssttttŧŧuuuuuuuuuuuuwwyyyzzzzzzſ"};
constexpr FoldedBlock kGreek = {0x386,
                                U"α·εηι\u038Bο\u038Dυωιαβγδεζηθικλμνξοπρ\u03A2στυ"
                                U"φχψωιυαεηιυαβγδεζηθικλμνξοπρςστυ"
                                U"φχψωιυουωϗ"};
constexpr FoldedBlock kCyrillic = {0x400,
                                   U"ееђгєѕііјљњћкиуџабвгдежзииклмноп"
                                   U"рстуфхцчшщъыьэюяабвгдежзииклмноп"
                                   U"рстуфхцчшщъыьэюяееђгєѕііјљњћкиуџ"};

char32_t folded(char32_t code) {
  if (code >= 'A' && code <= 'Z') return code + 0x20;
  for (const FoldedBlock* block : {&kLatin, &kGreek, &kCyrillic}) {
    if (code >= block->first && code - block->first < block->folded.size()) {
      return block->folded[code - block->first];
    }
  }
  return code;
}

// The ideographs that BERT sets apart.
constexpr const char* kIdeographs =
    R"(\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{20000}-\x{2A6DF}\x{2A700}-\x{2B73F})"
    R"(\x{2B740}-\x{2B81F}\x{2B820}-\x{2CEAF}\x{F900}-\x{FAFF}\x{2F800}-\x{2FA1F})";
// Unicode's punctuation, and the ASCII symbols that BERT takes for it.
constexpr const char* kPunctuation = R"(\p{P}$+<=>^`|~)";

// A punctuation character, an ideograph, or the longest run of other characters.
std::string word_expression() {
  return fmt::format("[{0}{1}]|[^\\s{0}{1}]+", kPunctuation, kIdeographs);
}

// Controls other than white space, and what stands for bytes that could not be decoded.
std::string dropped_expression(bool lowercase) {
  return fmt::format(R"((?![\t\n\r])[\p{{C}}\x{{FFFD}}{}])", lowercase ? R"(\p{Mn})" : "");
}

bool is_plain_ascii(std::string_view text) {
  for (const char byte : text) {
    const auto code = static_cast<unsigned char>(byte);
    if (code >= 0x7F || (code < 0x20 && byte != '\t' && byte != '\n' && byte != '\r')) return false;
  }
  return true;
}

// The valid characters of a text, folded if asked for.
std::string valid_characters(std::string_view text, bool fold) {
  std::string valid;
  while (!text.empty()) {
    const Utf8Character character = first_character(text);
    if (character.bytes > 0) append_utf8(valid, fold ? folded(character.code) : character.code);
    text.remove_prefix(std::max<size_t>(1, character.bytes));
  }
  return valid;
}

int characters_in(std::string_view text) {
  int characters = 0;
  for (const char byte : text) characters += (static_cast<unsigned char>(byte) & 0xC0) != 0x80;
  return characters;
}

bool is_inside_of_character(std::string_view text, size_t at) {
  return at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80;
}

}  // namespace

WordPieceTokenizer::WordPieceTokenizer(const std::vector<std::string>& vocabulary, bool lowercase,
                                       const std::string& source)
    : lowercase_(lowercase), dropped_(dropped_expression(lowercase)), word_(word_expression()) {
  for (const std::string& token : vocabulary) {
    const int32_t id = vocabulary_.size();
    if (vocabulary_.insert(token) != id) {
      throw InputError(
          fmt::format("{}:{}: token {} is there twice: take the file of a trained model", source,
                      id + 1, shown(token)));
    }
    longest_bytes_ = std::max(longest_bytes_, token.size());
  }
  special_ = {vocabulary_.find("[PAD]"), vocabulary_.find("[UNK]"), vocabulary_.find("[CLS]"),
              vocabulary_.find("[SEP]"), vocabulary_.find("[MASK]")};
  if (special_.unknown < 0) {
    throw InputError(source + ": token [UNK] is missing: take the vocab.txt of a BERT model");
  }
}

std::vector<std::string> WordPieceTokenizer::words(std::string_view text) const {
  std::string clean;
  if (is_plain_ascii(text)) {
    clean = text;
    if (lowercase_) {
      for (char& byte : clean) byte = static_cast<char>(folded(static_cast<unsigned char>(byte)));
    }
  } else {
    const std::string valid = valid_characters(text, lowercase_);
    std::string_view rest = valid;
    dropped_.for_each_match(valid, [&](std::string_view match) {
      clean += rest.substr(0, static_cast<size_t>(match.data() - rest.data()));
      rest.remove_prefix(static_cast<size_t>(match.data() + match.size() - rest.data()));
    });
    clean += rest;
  }
  std::vector<std::string> words;
  word_.for_each_match(clean, [&](std::string_view word) { words.emplace_back(word); });
  return words;
}

void WordPieceTokenizer::encode_word(const std::string& word, std::vector<int32_t>& ids) const {
  const size_t ids_before = ids.size();
  std::string piece;
  size_t begin = 0;
  bool fits = characters_in(word) <= kLongestWord;
  while (fits && begin < word.size()) {
    size_t end = std::min(word.size(), begin + longest_bytes_);
    int32_t id = -1;
    for (; end > begin; --end) {
      if (is_inside_of_character(word, end)) continue;
      piece.assign(begin > 0 ? "##" : "");
      piece.append(word, begin, end - begin);
      id = vocabulary_.find(piece);
      if (id >= 0) break;
    }
    fits = id >= 0;
    ids.push_back(id);
    begin = end;
  }
  if (fits) return;
  ids.resize(ids_before);
  ids.push_back(unknown());
}

std::vector<int32_t> WordPieceTokenizer::encode(std::string_view text) const {
  std::vector<int32_t> ids;
  for (const std::string& word : words(text)) encode_word(word, ids);
  return ids;
}

std::string WordPieceTokenizer::decode(std::span<const int32_t> ids) const {
  std::string text;
  for (const int32_t id : ids) {
    ensure(id >= 0 && id < size(), "a token id outside of the vocabulary");
    if (is_special(id) && id != unknown()) continue;
    const std::string_view token = vocabulary_[id];
    if (token.starts_with("##") && !text.empty()) {
      text += token.substr(2);
    } else {
      if (!text.empty()) text += ' ';
      text += token;
    }
  }
  return text;
}

WordPieceTokenizer WordPieceTokenizer::load(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "vocab.txt";
  std::vector<std::string> vocabulary;
  for_each_line(read_text_file(path),
                [&](std::string_view line, int64_t) { vocabulary.emplace_back(line); });
  const bool lowercase = read_flag(folder / "tokenizer_config.json", "do_lower_case", true);
  return WordPieceTokenizer(vocabulary, lowercase, path.string());
}

void WordPieceTokenizer::save(const std::filesystem::path& folder) const {
  std::string lines;
  for (const std::string& token : vocabulary_.strings()) lines += token + '\n';
  write_file(folder / "vocab.txt", lines);
  nlohmann::ordered_json config;
  config["tokenizer_class"] = "BertTokenizer";
  config["do_lower_case"] = lowercase_;
  write_file(folder / "tokenizer_config.json", config.dump(2) + '\n');
}

WordPieceTokenizer train_words(const std::vector<std::string>& texts, int32_t vocabulary,
                               bool lowercase) {
  std::vector<std::string> tokens = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
  const WordPieceTokenizer splitter(tokens, lowercase);
  std::map<std::string, int64_t> counts;
  for (const std::string& text : texts) {
    for (const std::string& word : splitter.words(text)) ++counts[word];
  }
  std::vector<std::pair<std::string, int64_t>> words(counts.begin(), counts.end());
  std::ranges::stable_sort(words, std::greater{}, [](const auto& word) { return word.second; });
  for (const auto& [word, count] : words) {
    if (std::ssize(tokens) >= vocabulary) break;
    tokens.push_back(word);
  }
  return WordPieceTokenizer(tokens, lowercase);
}

Digest WordPieceTokenizer::digest() const {
  DigestBuilder builder;
  builder.add("WordPiece").add(lowercase_).add(int64_t{size()});
  for (const std::string& token : vocabulary_.strings()) builder.add(token);
  return builder.finish();
}

}  // namespace fedclock::data
