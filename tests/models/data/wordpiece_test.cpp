#include "models/data/wordpiece.h"

#include <rapidcheck.h>

#include <catch2/catch.hpp>

#include "models/common/error.h"
#include "models/data/bpe.h"
#include "tests/models/data/temporary_folder.h"

using namespace fedclock;
using namespace fedclock::data;
using Catch::Matchers::Contains;

namespace {

using Ids = std::vector<int32_t>;
using Names = std::vector<std::string>;

// Ids:                     0        1        2        3        4        5     6        7
const Names kVocabulary = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un", "##aff", "##able",
                           // 8   9     10     11    12   13   14    15    16      17
                           "the", "run", "##s", "##ning", ",", "!", "a", "##a", "cafe", "中"};

WordPieceTokenizer uncased() { return WordPieceTokenizer(kVocabulary, true); }
WordPieceTokenizer cased() { return WordPieceTokenizer(kVocabulary, false); }

}  // namespace

TEST_CASE("WordPiece ids worked out by hand") {
  const WordPieceTokenizer tokenizer = uncased();
  // "unaffable": the longest piece at the start is "un"; then "##aff" (not "##a"); then "##able".
  CHECK(tokenizer.encode("unaffable") == Ids{5, 6, 7});
  CHECK(tokenizer.encode("The runs, running!") == Ids{8, 9, 10, 12, 9, 11, 13});
  CHECK(tokenizer.encode("runs,the") == Ids{9, 10, 12, 8});
  // "unx": "un" fits, "##x" does not: the whole word is unknown.
  CHECK(tokenizer.encode("unx a") == Ids{1, 14});
  CHECK(tokenizer.encode("aaa") == Ids{14, 15, 15});
  CHECK(tokenizer.encode("CAFÉ café") == Ids{16, 16});
  CHECK(tokenizer.encode("a中a") == Ids{14, 17, 14});
  CHECK(tokenizer.encode(" \n").empty());
  CHECK(cased().encode("The the") == Ids{1, 8});
  CHECK(cased().encode("café") == Ids{1});
}

TEST_CASE("a vocabulary of whole words") {
  const std::vector<std::string> texts = {"The cat, the dog", "a cat!", "A dog? the"};
  // the 3, a 2, cat 2, dog 2, and "!", ",", "?" once each.
  const WordPieceTokenizer tokenizer = train_words(texts, 10, true);
  CHECK(tokenizer.size() == 10);
  CHECK(tokenizer.encode("the a cat dog !") == Ids{5, 6, 7, 8, 9});
  CHECK(tokenizer.encode("THE cats ?") == Ids{5, 1, 1});
  CHECK(tokenizer.mask() == 4);
  CHECK(train_words(texts, 100, true).size() == 12);
  // "the" and "The" are two words now: both twice or once, in byte order among equals.
  CHECK(train_words(texts, 100, false).encode("cat dog the The") == Ids{5, 6, 7, 12});

  const TemporaryFolder folder("words");
  tokenizer.save(folder.path());
  CHECK(load_tokenizer(folder.path())->digest() == tokenizer.digest());
}

TEST_CASE("WordPiece's words") {
  CHECK(uncased().words("Hello, WORLD[MASK]\t3.5$") ==
        Names{"hello", ",", "world", "[", "mask", "]", "3", ".", "5", "$"});
  CHECK(cased().words("Ça\u200Bva \u00A0ok") == Names{"Çava", "ok"});  // U+200B is a control
  CHECK(uncased().words("ÅNGSTRÖM Łódź Œuvre İ straße") ==
        Names{"angstrom", "łodz", "œuvre", "i", "straße"});
  CHECK(uncased().words("e\u0301te\u0301") == Names{"ete"});  // combining accents
  CHECK(cased().words("e\u0301") == Names{"e\u0301"});
  CHECK(uncased().words("Ёлка Ωmega ΆΛΦΑ") == Names{"елка", "ωmega", "αλφα"});
  CHECK(uncased().words("“quoted”—dash") == Names{"“", "quoted", "”", "—", "dash"});
  CHECK(uncased().words("日本") == Names{"日", "本"});
  CHECK(uncased().words(std::string("a\0b\x7F\xFF"
                                    "c",
                                    6)) == Names{"abc"});
}

TEST_CASE("words of more than 100 characters are unknown") {
  CHECK(uncased().encode(std::string(100, 'a')).size() == 100);
  CHECK(uncased().encode(std::string(101, 'a')) == Ids{1});
  // Characters, not bytes: 100 of two bytes each.
  Names vocabulary = kVocabulary;
  vocabulary.insert(vocabulary.end(), {"ß", "##ß"});
  std::string word;
  for (int i = 0; i < 100; ++i) word += "ß";
  CHECK(WordPieceTokenizer(vocabulary, true).encode(word).size() == 100);
}

TEST_CASE("WordPiece decodes to words") {
  const WordPieceTokenizer tokenizer = uncased();
  CHECK(tokenizer.decode(Ids{2, 5, 6, 7, 12, 1, 9, 11, 3, 0}) == "unaffable , [UNK] running");
  CHECK_THROWS_AS(tokenizer.decode(Ids{-1}), ProgrammerError);
}

TEST_CASE("WordPiece takes any bytes") {
  const WordPieceTokenizer tokenizer = uncased();
  CHECK(rc::check([&] {
    for (const int32_t id : tokenizer.encode(*rc::gen::arbitrary<std::string>())) {
      RC_ASSERT(id >= 0 && id < tokenizer.size());
    }
  }));
}

TEST_CASE("WordPiece's special tokens") {
  const WordPieceTokenizer tokenizer = uncased();
  CHECK(tokenizer.pad() == 0);
  CHECK(tokenizer.unknown() == 1);
  CHECK(tokenizer.start() == 2);
  CHECK(tokenizer.end() == 3);
  CHECK(tokenizer.mask() == 4);
  CHECK(!tokenizer.is_special(5));
  CHECK(WordPieceTokenizer({"[UNK]"}, true).start() == -1);
  CHECK_THROWS_WITH(WordPieceTokenizer({"a"}, true), Contains("[UNK] is missing"));
  CHECK_THROWS_WITH(WordPieceTokenizer({"[UNK]", "a", "a"}, true),
                    Contains("vocab.txt:3: token 'a' is there twice"));
}

TEST_CASE("WordPiece saved and loaded is the same") {
  const TemporaryFolder folder("wordpiece");
  cased().save(folder.path());
  const auto loaded = load_tokenizer(folder.path());
  CHECK(loaded->digest() == cased().digest());
  CHECK(loaded->digest() != uncased().digest());
  CHECK(loaded->encode("The the") == Ids{1, 8});
  std::filesystem::remove(folder.path() / "tokenizer_config.json");
  CHECK(load_tokenizer(folder.path())->digest() == uncased().digest());  // BERT's default
}

TEST_CASE("rows become token ids") {
  const WordPieceTokenizer tokenizer = uncased();
  Row row;
  row.text = "the run";
  const EncodedRow single = encode_row(tokenizer, row, 10);
  CHECK(single.ids == Ids{2, 8, 9, 3});
  CHECK(single.types == Ids{0, 0, 0, 0});
  row.pair = "a";
  const EncodedRow pair = encode_row(tokenizer, row, 10);
  CHECK(pair.ids == Ids{2, 8, 9, 3, 14, 3});
  CHECK(pair.types == Ids{0, 0, 0, 0, 1, 1});
}

TEST_CASE("rows that are too long lose the end of the longer text") {
  const WordPieceTokenizer tokenizer = uncased();
  Row row;
  row.text = "the the the the run";
  CHECK(encode_row(tokenizer, row, 5).ids == Ids{2, 8, 8, 8, 3});
  row.pair = "run a !";
  // 5 + 3 tokens into 8 - 3 places: 4 + 3, 3 + 3, then, equal, the pair: 3 + 2.
  CHECK(encode_row(tokenizer, row, 8).ids == Ids{2, 8, 8, 8, 3, 9, 14, 3});
  CHECK(encode_row(tokenizer, row, 3).ids == Ids{2, 3, 3});
  CHECK_THROWS_AS(encode_row(tokenizer, row, 2), ProgrammerError);
  // Without special tokens all places are the text's.
  const BpeTokenizer plain({"a", "<unk>"}, {}, {});
  row = {"aaa", "aa", "", -1, ""};
  CHECK(encode_row(plain, row, 3).ids == Ids{0, 0, 0});
  CHECK(encode_row(plain, row, 3).types == Ids{0, 0, 1});
}
