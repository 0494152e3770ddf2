#include "models/data/bpe.h"

#include <rapidcheck.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <map>
#include <set>
#include <thread>

#include "models/common/error.h"
#include "models/data/bpe_bytes.h"
#include "models/data/readers.h"
#include "models/data/utf8.h"
#include "tests/models/data/temporary_folder.h"

using namespace fedclock;
using namespace fedclock::data;
using Catch::Matchers::Contains;

namespace {

using Ids = std::vector<int32_t>;
using Names = std::vector<std::string>;
using Splits = std::vector<std::pair<std::string, std::string>>;

// Merges as pairs of pieces, spelt as in merges.txt.
Splits spelt_merges(const BpeTokenizer& tokenizer) {
  Splits splits;
  for (const auto& merge : tokenizer.merges()) {
    splits.emplace_back(tokenizer.vocabulary()[merge.left], tokenizer.vocabulary()[merge.right]);
  }
  return splits;
}

Names words_of(const std::string& text, BpeOptions options = {}) {
  Names words;
  BpeSplitter(options).for_each_word(text, [&](auto word) { words.emplace_back(word); });
  return words;
}

BpeTokenizer train(const Names& texts, int32_t vocabulary = 1000) {
  return train_bpe(texts, {vocabulary, false, false});
}

// A text over few characters, valid UTF-8 or not, so that merges are many.
rc::Gen<std::string> texts_of_few_characters() {
  const std::vector<std::string> characters = {
      "a", "b", "c", " ", "A", "1", "'", "\n", "\xC3\xA9", "\xC3", "\xFF", "\xE4\xB8\xAD"};
  return rc::gen::map(rc::gen::container<std::vector<std::string>>(rc::gen::elementOf(characters)),
                      [](const std::vector<std::string>& parts) {
                        std::string text;
                        for (const auto& part : parts) text += part;
                        return text;
                      });
}

// Byte-pair encoding as it is defined, without any cleverness: the pair of the smallest rank, the
// leftmost of equals, is merged until no pair is in the list.
Ids encode_slowly(const BpeTokenizer& tokenizer, const std::string& text) {
  std::map<std::string, int32_t> ids;
  for (int32_t id = 0; id < tokenizer.size(); ++id) ids[tokenizer.vocabulary()[id]] = id;
  Ids result;
  for (const std::string& word : words_of(text, tokenizer.options())) {
    Ids pieces;
    for (const char byte : word) pieces.push_back(ids[printable_of_bytes(std::string(1, byte))]);
    for (bool merged = true; merged;) {
      merged = false;
      for (const auto& merge : tokenizer.merges()) {
        for (size_t i = 0; !merged && i + 1 < pieces.size(); ++i) {
          if (pieces[i] != merge.left || pieces[i + 1] != merge.right) continue;
          pieces[i] = merge.result;
          pieces.erase(pieces.begin() + static_cast<std::ptrdiff_t>(i) + 1);
          merged = true;
        }
        if (merged) break;
      }
    }
    result.insert(result.end(), pieces.begin(), pieces.end());
  }
  return result;
}

// Training as it is defined: all pairs are counted anew for each merge.
Splits train_slowly(const Names& texts, size_t vocabulary) {
  std::vector<Names> words;
  for (const std::string& text : texts) {
    for (const std::string& word : words_of(text)) {
      words.emplace_back();
      for (const char byte : word) words.back().emplace_back(1, byte);
    }
  }
  std::set<std::string> pieces;
  Splits merges;
  while (pieces.size() + 261 < vocabulary) {
    std::map<std::pair<std::string, std::string>, int> counts;
    for (const Names& word : words) {
      for (size_t i = 0; i + 1 < word.size(); ++i) ++counts[{word[i], word[i + 1]}];
    }
    std::pair<std::string, std::string> best;
    int most = 1;
    for (const auto& [pair, count] : counts) {  // in byte order, so that the first of equals stays
      if (count > most) {
        best = pair;
        most = count;
      }
    }
    if (most < 2) break;
    for (Names& word : words) {
      for (size_t i = 0; i + 1 < word.size(); ++i) {
        if (word[i] != best.first || word[i + 1] != best.second) continue;
        word[i] += word[i + 1];
        word.erase(word.begin() + static_cast<std::ptrdiff_t>(i) + 1);
      }
    }
    pieces.insert(best.first + best.second);
    const auto spelt = std::pair(printable_of_bytes(best.first), printable_of_bytes(best.second));
    if (std::find(merges.begin(), merges.end(), spelt) == merges.end()) merges.push_back(spelt);
  }
  return merges;
}

void write_tiny(const TemporaryFolder& folder) {
  folder.write("vocab.json",
               R"({"<s>":0,"<pad>":1,"</s>":2,"<unk>":3,"<mask>":4,"l":5,"o":6,"w":7,"e":8,"r":9,)"
               R"("Ġ":10,"lo":11,"low":12,"er":13,"Ġlow":14,"ow":15})");
  folder.write("merges.txt", "#version: 0.2\nl o\nlo w\ne r\nĠ low\no w\n");
}

}  // namespace

TEST_CASE("bytes and their printable characters are GPT-2's") {
  CHECK(printable_of_byte(' ') == "Ġ");   // U+0120: the blank is the 33rd byte that moves
  CHECK(printable_of_byte('\n') == "Ċ");  // U+010A
  CHECK(printable_of_byte('!') == "!");
  CHECK(printable_of_byte(0x00) == "Ā");  // U+0100
  CHECK(printable_of_byte(0x7F) == "ġ");  // U+0121
  CHECK(printable_of_byte(0xA0) == "ł");  // U+0142: 33 + 1 + 33 bytes moved up to it
  CHECK(printable_of_byte(0xAD) == "Ń");  // U+0143, the last one
  CHECK(printable_of_byte(0xC3) == "Ã");
  for (int byte = 0; byte < 256; ++byte) {
    const std::string bytes(1, static_cast<char>(byte));
    CHECK(bytes_of_printable(printable_of_bytes(bytes)) == bytes);
  }
  CHECK(!bytes_of_printable("中").has_value());
  CHECK(bytes_in_printable_order().front() == '!');
  CHECK(bytes_in_printable_order().back() == 0xAD);
}

TEST_CASE("GPT-2's pattern splits words") {
  CHECK(words_of("I'm at 3pm,  don't  ") ==
        Names{"I", "'m", " at", " 3", "pm", ",", " ", " don", "'t", "  "});
  CHECK(words_of("été\n\nici") == Names{"été", "\n", "\n", "ici"});
  // Bytes that are not UTF-8 are words of their own.
  CHECK(words_of("a\xFF\xFE b") == Names{"a", "\xFF", "\xFE", " b"});
  CHECK(words_of("").empty());
}

TEST_CASE("options of splitting") {
  CHECK(words_of("ÀÉ×ÞßZ", {.lowercase = true, .add_prefix_space = false}) ==
        Names{"àé", "×", "þßz"});
  CHECK(words_of("a b", {.lowercase = false, .add_prefix_space = true}) == Names{" a", " b"});
  CHECK(words_of(" a", {.lowercase = false, .add_prefix_space = true}) == Names{" a"});
  CHECK(words_of("", {.lowercase = false, .add_prefix_space = true}).empty());
}

TEST_CASE("ids of a tiny vocabulary, worked out by hand") {
  const TemporaryFolder folder("bpe");
  write_tiny(folder);
  const auto tokenizer = load_tokenizer(folder.path());
  REQUIRE(tokenizer->size() == 16);
  // "lower": l o w e r; rank 0 "l o": lo w e r; rank 1 "lo w": low e r; rank 2 "e r": low er.
  // " low": Ġ l o w; Ġ lo w; Ġ low; rank 3 "Ġ low": Ġlow.
  CHECK(tokenizer->encode("lower low") == Ids{12, 13, 14});
  // "wow": w o w; only "o w" (rank 4) applies: w ow.
  CHECK(tokenizer->encode("wow") == Ids{7, 15});
  // "x" is no piece: <unk>; so are the two bytes of "é".
  CHECK(tokenizer->encode("x") == Ids{3});
  CHECK(tokenizer->encode("é") == Ids{3, 3});
  CHECK(tokenizer->encode("low\xFF") == Ids{12, 3});
  CHECK(tokenizer->encode("").empty());
  CHECK(tokenizer->decode(Ids{0, 12, 13, 14, 2}) == "lower low");
  CHECK(tokenizer->start() == 0);
  CHECK(tokenizer->pad() == 1);
  CHECK(tokenizer->end() == 2);
  CHECK(tokenizer->unknown() == 3);
  CHECK(tokenizer->mask() == 4);
  CHECK_THROWS_AS(tokenizer->decode(Ids{16}), ProgrammerError);
}

TEST_CASE("the earlier merge wins, the leftmost of equals") {
  // 0 a, 1 b, 2 c, 3 bc, 4 ab, 5 aa
  const BpeTokenizer tokenizer({"a", "b", "c", "bc", "ab", "aa"}, {{1, 2, 3}, {0, 1, 4}, {0, 0, 5}},
                               {});
  CHECK(tokenizer.encode("abc") == Ids{0, 3});  // "b c" before "a b", though further right
  CHECK(tokenizer.encode("abab") == Ids{4, 4});
  CHECK(tokenizer.encode("aaa") == Ids{5, 0});
  CHECK(tokenizer.encode("aaab") == Ids{5, 4});  // "a b" (rank 1) first: a a ab, then aa ab
  CHECK(tokenizer.pad() == -1);
}

TEST_CASE("GPT-2's vocabulary has one special token") {
  const BpeTokenizer tokenizer({"a", "<|endoftext|>"}, {}, {});
  CHECK(tokenizer.start() == 1);
  CHECK(tokenizer.end() == 1);
  CHECK(tokenizer.mask() == -1);
  CHECK(tokenizer.pad() == -1);
}

TEST_CASE("training derived by hand") {
  // Words: "ab", " ab", " abc", "b", once each. Pairs: (a, b) 3, (Ġ, a) 2, (b, c) 1: merge "a b".
  // Then (Ġ, ab) 2, (ab, c) 1: merge "Ġ ab". Then (Ġab, c) 1: no pair occurs twice.
  const BpeTokenizer tokenizer = train({"ab ab abc", "b"});
  CHECK(spelt_merges(tokenizer) == Splits{{"a", "b"}, {"Ġ", "ab"}});
  REQUIRE(tokenizer.size() == 263);
  CHECK(tokenizer.vocabulary()[0] == "<s>");
  CHECK(tokenizer.vocabulary()[4] == "<mask>");
  CHECK(tokenizer.vocabulary()[5] == "!");
  // 'a' is the 65th printable character from '!' on: 5 + (0x61 - 0x21) = 69.
  CHECK(tokenizer.encode("a abb") == Ids{69, 262, 70});
  CHECK(tokenizer.vocabulary()[261] == "ab");
}

TEST_CASE("equally frequent pairs are merged in byte order") {
  // Words: "cd", " cd", " ab" twice. Pairs that occur twice: (c, d), (Ġ, a), (a, b). The blank is
  // the smallest byte (though "Ġ" is a large character): "Ġ a". Then (Ġa, b) and (c, d): "Ġa b";
  // then "c d". (Ġ, cd) occurs once.
  CHECK(spelt_merges(train({"cd cd ab ab"})) == Splits{{"Ġ", "a"}, {"Ġa", "b"}, {"c", "d"}});
}

TEST_CASE("training stops at the vocabulary's size") {
  const BpeTokenizer tokenizer = train({"cd cd ab ab"}, 262);
  CHECK(tokenizer.size() == 262);
  CHECK(spelt_merges(tokenizer) == Splits{{"Ġ", "a"}});
  CHECK_THROWS_WITH(train({"a"}, 260), Contains("260") && Contains("at least 261"));
  CHECK(train({}, 300).size() == 261);
}

TEST_CASE("training is what the definition says, for any text") {
  CHECK(rc::check([] {
    const auto texts = *rc::gen::container<Names>(texts_of_few_characters());
    const auto vocabulary = *rc::gen::inRange(261, 300);
    const BpeTokenizer tokenizer = train(texts, vocabulary);
    RC_ASSERT(spelt_merges(tokenizer) == train_slowly(texts, static_cast<size_t>(vocabulary)));
  }));
}

TEST_CASE("encoding is what the definition says, for any text") {
  CHECK(rc::check([] {
    const BpeTokenizer tokenizer = train(*rc::gen::container<Names>(texts_of_few_characters()));
    const auto text = *texts_of_few_characters();
    RC_ASSERT(tokenizer.encode(text) == encode_slowly(tokenizer, text));
  }));
}

TEST_CASE("decoding gives back any bytes") {
  const BpeTokenizer tokenizer = train({"the cat sat on the mat, the end. été été aaaa aaaa"});
  CHECK(rc::check([&] {
    const auto bytes = *rc::gen::arbitrary<std::string>();
    RC_ASSERT(tokenizer.decode(tokenizer.encode(bytes)) == bytes);
  }));
  CHECK(rc::check([&] {
    std::string text;
    for (const auto code : *rc::gen::container<std::vector<int>>(rc::gen::inRange(1, 0x110000))) {
      if (code < 0xD800 || code >= 0xE000) append_utf8(text, static_cast<char32_t>(code));
    }
    RC_ASSERT(valid_utf8_bytes(text) == text.size());
    RC_ASSERT(tokenizer.decode(tokenizer.encode(text)) == text);
  }));
}

TEST_CASE("a very long word is encoded in good time") {
  const BpeTokenizer tokenizer = train({"aaaa aaaa aaaaaaaa aaaaaaaa"});
  const std::string word(1'000'000, 'a');
  CHECK(tokenizer.decode(tokenizer.encode(word)) == word);
}

TEST_CASE("threads may share a tokeniser") {
  const BpeTokenizer tokenizer = train({"the cat sat on the mat", "the dog sat on the cat"});
  const std::string text = "the dog and the cat sat on the mat";
  const Ids expected = tokenizer.encode(text);
  std::vector<int> wrong(4, 0);
  std::vector<std::thread> threads;
  for (int& count : wrong) {
    threads.emplace_back([&] {
      for (int i = 0; i < 500; ++i) count += tokenizer.encode(text) != expected;
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(wrong == std::vector<int>(4, 0));
}

TEST_CASE("saved and loaded, a tokeniser is the same") {
  const TemporaryFolder folder("bpe");
  const BpeTokenizer tokenizer =
      train_bpe({"The Cat, the cat: \"the\" CAT\n été"}, {270, true, true});
  tokenizer.save(folder.path() / "deep" / "er");
  const auto loaded = load_tokenizer(folder.path() / "deep" / "er");
  CHECK(loaded->digest() == tokenizer.digest());
  CHECK(loaded->size() == tokenizer.size());
  const std::string text = "The \"cat\" ÉTÉ \xFF\n";
  CHECK(loaded->encode(text) == tokenizer.encode(text));
  CHECK(loaded->decode(loaded->encode(text)) == " the \"cat\" été \xFF\n");
  // An option is part of the content.
  const BpeTokenizer cased(tokenizer.vocabulary(), tokenizer.merges(), {false, true});
  CHECK(cased.digest() != tokenizer.digest());
}

TEST_CASE("errors in a BPE tokeniser's files") {
  const TemporaryFolder folder("bpe");
  const auto error = [&] {
    try {
      load_tokenizer(folder.path());
    } catch (const InputError& thrown) {
      return std::string(thrown.what());
    }
    return std::string();
  };
  CHECK_THAT(error(), Contains("no tokeniser") && Contains("vocab.txt"));
  write_tiny(folder);
  CHECK(error().empty());
  std::filesystem::remove(folder.path() / "merges.txt");
  CHECK_THAT(error(), Contains("merges.txt: missing"));
  folder.write("merges.txt", "#version: 0.2\nl o\nl e\n");
  CHECK_THAT(error(), Contains("merges.txt:3: piece 'le'"));
  folder.write("merges.txt", "l o w\n");
  CHECK_THAT(error(), Contains("merges.txt:1: 'l o w' is not a merge"));
  folder.write("merges.txt", "");
  folder.write("tokenizer_config.json", R"({"do_lower_case":"yes"})");
  CHECK_THAT(error(), Contains("field 'do_lower_case': value \"yes\""));
  std::filesystem::remove(folder.path() / "tokenizer_config.json");
  folder.write("vocab.json", R"({"a":0,"b":2})");
  CHECK_THAT(error(), Contains("vocab.json: piece 'b' has the id 2"));
  folder.write("vocab.json", R"({"a":0,"b":1})");
  CHECK_THAT(error(), Contains("neither a piece for every byte nor <unk>"));
  folder.write("vocab.json", R"({"a":0,)");
  CHECK_THAT(error(), Contains("not JSON"));
}

TEST_CASE("real text makes the round trip") {
  const char* data = std::getenv("FEDCLOCK_DATA");
  const std::filesystem::path folder = data == nullptr ? "" : data;
  if (!std::filesystem::exists(folder / "corpus_tinystories_train.txt")) {
    WARN("skipped: FEDCLOCK_DATA names no folder with corpus_tinystories_train.txt");
    return;
  }
  const Names texts = read_corpus({folder / "corpus_tinystories_train.txt"}, {}, 0);
  const BpeTokenizer tokenizer = train(texts, 2000);
  CHECK(tokenizer.size() == 2000);
  CHECK(tokenizer.digest() == train(texts, 2000).digest());
  size_t bytes = 0, tokens = 0, lost = 0;
  for (const std::string& text : texts) {
    const Ids ids = tokenizer.encode(text);
    bytes += text.size();
    tokens += ids.size();
    lost += tokenizer.decode(ids) != text;
  }
  CHECK(lost == 0);
  CHECK(tokens * 3 < bytes);
}
