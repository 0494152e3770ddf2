#include "models/data/readers.h"

#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <iterator>

#include "models/common/error.h"
#include "tests/models/data/temporary_folder.h"

using namespace fedclock;
using namespace fedclock::data;
using Catch::Matchers::Contains;

namespace {

TableSpec spec_of(const std::filesystem::path& file) {
  TableSpec spec;
  spec.file = file;
  return spec;
}

// The message of the InputError that reading throws; empty if it throws none.
std::string error_of(const TableSpec& spec) {
  try {
    read_table(spec);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

std::vector<int> labels_of(const Dataset& dataset) {
  std::vector<int> labels;
  for (const Row& row : dataset.rows) labels.push_back(row.label);
  return labels;
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("JSON Lines with integer labels") {
  const TemporaryFolder folder("readers");
  // A byte-order mark, \r\n, an empty line and no line end at the end.
  const auto file = folder.write("a.jsonl",
                                 "\xEF\xBB\xBF{\"text\":\"caf\\u00e9\",\"label\":2}\r\n\n"
                                 "{\"text\":\"b\",\"label\":0}");
  const Dataset dataset = read_table(spec_of(file));
  REQUIRE(dataset.rows.size() == 2);
  CHECK(dataset.rows[0].text == "caf\xC3\xA9");
  CHECK(dataset.rows[0].pair.empty());
  CHECK(labels_of(dataset) == std::vector{2, 0});
  CHECK(dataset.classes == Names{"0", "1", "2"});
}

TEST_CASE("JSON Lines with pairs, string labels and domains") {
  const TemporaryFolder folder("readers");
  TableSpec spec =
      spec_of(folder.write("a.jsonl", R"({"p":"one","h":"two","gold":"no","task":"t1"})"
                                      "\n"
                                      R"({"p":"three","h":"","gold":"maybe","task":7})"
                                      "\n"));
  spec.text_field = "p";
  spec.pair_field = "h";
  spec.label_field = "gold";
  spec.domain_field = "task";
  const Dataset dataset = read_table(spec);
  CHECK(dataset.classes == Names{"maybe", "no"});  // alphabetical
  CHECK(labels_of(dataset) == std::vector{1, 0});
  CHECK(dataset.rows[0].pair == "two");
  CHECK(dataset.rows[0].domain == "t1");
  CHECK(dataset.rows[1].pair.empty());
  CHECK(dataset.rows[1].domain == "7");
}

TEST_CASE("rows of some domains alone, whose labels are then all there are") {
  const TemporaryFolder folder("readers");
  std::string text;
  for (const char* task : {"t1", "t2", "t3", "t1"}) {
    text += fmt::format(R"({{"text":"a","label":"of {}","task":"{}"}})", task, task) + "\n";
  }
  text += "{\"task\":\"t2\"}\n";  // of another domain: whatever else it lacks
  TableSpec spec = spec_of(folder.write("a.jsonl", text));
  spec.domain_field = "task";
  spec.domains = {"t3", "t1"};
  const Dataset dataset = read_table(spec);
  CHECK(dataset.classes == Names{"of t1", "of t3"});
  CHECK(labels_of(dataset) == std::vector{0, 1, 0});
  spec.domains = {"t1", "t4"};
  CHECK_THAT(error_of(spec), Contains("no row is of \"t4\""));
}

TEST_CASE("named classes give the order, for strings and for integers") {
  const TemporaryFolder folder("readers");
  TableSpec spec = spec_of(folder.write("a.jsonl",
                                        "{\"text\":\"a\",\"label\":\"no\"}\n"
                                        "{\"text\":\"b\",\"label\":\"yes\"}\n"
                                        "{\"text\":\"c\",\"label\":1}\n"));
  spec.classes = {"yes", "no", "never seen"};
  const Dataset dataset = read_table(spec);
  CHECK(labels_of(dataset) == std::vector{1, 0, 1});
  CHECK(dataset.classes == spec.classes);

  // In TSV and CSV, what is a name and a number is a name.
  spec.file = folder.write("a.tsv", "text\tlabel\na\t1\nb\t2\nc\t0\n");
  spec.classes = {"2", "1"};
  CHECK(labels_of(read_table(spec)) == std::vector{1, 0, 0});
}

TEST_CASE("TSV has no quoting") {
  const TemporaryFolder folder("readers");
  const auto file = folder.write("a.tsv", "label\ttext\r\n1\t\"a\" b, c\r\n0\td\r\n");
  const Dataset dataset = read_table(spec_of(file));
  REQUIRE(dataset.rows.size() == 2);
  CHECK(dataset.rows[0].text == "\"a\" b, c");
  CHECK(dataset.rows[1].text == "d");
  CHECK(labels_of(dataset) == std::vector{1, 0});
  CHECK(dataset.classes == Names{"0", "1"});
}

TEST_CASE("CSV with quotes, commas and line ends inside of fields") {
  const TemporaryFolder folder("readers");
  const auto file = folder.write("a.csv",
                                 "\"text\",label\r\n"
                                 "\"one, \"\"two\"\"\nthree\",x\r\n"
                                 "\r\n"
                                 "plain \"inside\",\"y\"\n");
  const Dataset dataset = read_table(spec_of(file));
  REQUIRE(dataset.rows.size() == 2);
  CHECK(dataset.rows[0].text == "one, \"two\"\nthree");
  CHECK(dataset.rows[1].text == "plain \"inside\"");
  CHECK(dataset.classes == Names{"x", "y"});
  CHECK(labels_of(dataset) == std::vector{0, 1});
}

TEST_CASE("an untyped column of labels is of integers only if all values are") {
  const TemporaryFolder folder("readers");
  const auto file = folder.write("a.csv", "text,label\na,10\nb,x\nc,9\n");
  const Dataset dataset = read_table(spec_of(file));
  CHECK(dataset.classes == Names{"10", "9", "x"});  // byte order of strings
  CHECK(labels_of(dataset) == std::vector{0, 2, 1});
}

TEST_CASE("train and test share one list of classes") {
  const TemporaryFolder folder("readers");
  const auto train = folder.write("train.csv", "text,label\na,b\nc,d\ng,a\n");
  const auto test = folder.write("test.csv", "text,label\ne,d\nf,a\n");
  const TrainAndTest both = read_train_and_test(spec_of(train), test);
  CHECK(both.train.classes == Names{"a", "b", "d"});
  CHECK(both.test.classes == both.train.classes);
  CHECK(labels_of(both.train) == std::vector{1, 2, 0});
  CHECK(labels_of(both.test) == std::vector{2, 0});
}

TEST_CASE("a class without training row is refused where the scenario does not name it") {
  const TemporaryFolder folder("readers");
  const auto error = [&](std::string_view train, std::string_view test, const Names& classes) {
    TableSpec spec = spec_of(folder.write("train.tsv", "text\tlabel\n" + std::string(train)));
    spec.classes = classes;
    const auto test_file = folder.write("test.tsv", "text\tlabel\n" + std::string(test));
    try {
      read_train_and_test(spec, test_file);
    } catch (const InputError& caught) {
      return std::string(caught.what());
    }
    return std::string();
  };
  CHECK(error("a\t0\nb\t1\n", "a\t0\n", {}).empty());
  // From 1, and with a hole.
  CHECK_THAT(
      error("a\t1\nb\t2\n", "a\t1\n", {}),
      Contains("train.tsv: field 'label': class 0 has no training row: labels count from 0"));
  CHECK_THAT(error("a\t0\nb\t2\n", "a\t0\n", {}), Contains("class 1 has no training row"));
  // In the test file only: line 3, behind the header and a row.
  CHECK_THAT(error("a\tno\nb\tyes\n", "a\tno\nb\tmixed\n", {}),
             Contains("train.tsv: field 'label': class \"mixed\" has no training row, it occurs "
                      "only in ") &&
                 Contains("test.tsv:3:") && Contains("task.files.classes"));
  CHECK_THAT(error("a\t0\nb\t1\n", "a\t2\n", {}),
             Contains("class \"2\" has no training row") && Contains("test.tsv:2:"));
  // Named classes may be empty.
  CHECK(error("a\tno\nb\tyes\n", "a\tmixed\n", {"no", "yes", "mixed", "never"}).empty());
  CHECK(error("a\t1\nb\t2\n", "a\t1\n", {"0", "1", "2"}).empty());
}

TEST_CASE("a table that is not UTF-8 is refused at its line") {
  const TemporaryFolder folder("readers");
  // 0xE9 is an e with acute accent in Latin-1.
  const auto tsv = folder.write("a.tsv", "text\tlabel\nb\t0\ncaf\xE9\t1\n");
  CHECK_THAT(error_of(spec_of(tsv)), Contains("a.tsv:3: is not UTF-8 (byte 0xe9)"));
  const auto csv = folder.write("a.csv", "text,label\ncaf\xE9,1\n");
  CHECK_THAT(error_of(spec_of(csv)), Contains("a.csv:2: is not UTF-8"));
  const auto json = folder.write("a.jsonl", "{\"text\":\"caf\xE9\",\"label\":0}\n");
  CHECK_THAT(error_of(spec_of(json)), Contains("a.jsonl:1: is not UTF-8"));
  CHECK_THROWS_WITH(read_corpus({csv}, {}, 0), Contains("a.csv:2: is not UTF-8"));
  // A character that the limit of bytes cuts in two is left out with its line.
  const auto cut = folder.write("b.csv", "text\nab\ncaf\xC3\xA9\n");
  CHECK(read_corpus({cut}, {}, 12) == Names{"ab"});
  CHECK(read_corpus({cut}, {}, 0) == Names{"ab", "caf\xC3\xA9"});
}

TEST_CASE("a table with the ending of another is told so") {
  const TemporaryFolder folder("readers");
  CHECK_THAT(error_of(spec_of(folder.write("a.csv", "text\tlabel\na\t0\n"))),
             Contains("field 'text'") && Contains("is it a .tsv?"));
  CHECK_THAT(error_of(spec_of(folder.write("a.csv", "text\tlabel\na, b, c\t0\n"))),
             Contains("a.csv:2: 3 fields, but the header has 1") && Contains("is it a .tsv?"));
  CHECK_THAT(error_of(spec_of(folder.write("a.tsv", "text,label\na,0\n"))),
             Contains("is it a .csv?"));
  CHECK_THAT(error_of(spec_of(folder.write("b.csv", "txt,label\na,0\n"))), !Contains("is it a"));
}

TEST_CASE("rows without labels") {
  const TemporaryFolder folder("readers");
  TableSpec spec = spec_of(folder.write("a.tsv", "text\tother\na\t1\n"));
  spec.label_field = "";
  const Dataset dataset = read_table(spec);
  CHECK(labels_of(dataset) == std::vector{-1});
  CHECK(dataset.classes.empty());
}

TEST_CASE("a missing file names the file, the folder and the ways to choose another") {
  const std::string error = error_of(spec_of("/tmp/no-such-folder/rows.jsonl"));
  for (const char* part :
       {"'rows.jsonl'", "'/tmp/no-such-folder'", "`folder`", "--data DIR", "FEDCLOCK_DATA"}) {
    CHECK_THAT(error, Contains(part));
  }
}

TEST_CASE("errors in rows name file, line, field and value") {
  const TemporaryFolder folder("readers");
  struct Case {
    const char *name, *content, *place, *part;
  };
  const auto bad = GENERATE(values<Case>({
      {"a.jsonl", "{\"text\":\"a\",\"label\":0}\nnonsense\n", ":2:", "not JSON"},
      {"a.jsonl", "[1]\n", ":1:", "not an object"},
      {"a.jsonl", "{\"label\":0}\n", ":1: field 'text':", "the row has 'label'"},
      {"a.jsonl", "\n{\"text\":3,\"label\":0}\n", ":2: field 'text':", "value '3'"},
      {"a.jsonl", "{\"text\":\"\",\"label\":0}\n", ":1: field 'text':", "value ''"},
      {"a.jsonl", "{\"text\":\"a\"}\n", ":1: field 'label':", "task.files.label_field"},
      {"a.jsonl", "{\"text\":\"a\",\"label\":1.5}\n", ":1: field 'label':", "value '1.5'"},
      {"a.jsonl", "{\"text\":\"a\",\"label\":null}\n", ":1: field 'label':", "value 'null'"},
      {"a.jsonl", "{\"text\":\"a\",\"label\":-1}\n", ":1: field 'label':", "label '-1'"},
      {"a.jsonl", "{\"text\":\"a\",\"label\":18446744073709551615}\n",
       ":1: field 'label':", "label '18446744073709551615'"},
      {"a.jsonl", "{\"text\":\"a\",\"label\":\"x\"}\n{\"text\":\"a\",\"label\":1}\n",
       ":2: field 'label':", "other labels are strings such as 'x'"},
      {"a.tsv", "text\tlabel\na\t0\nb\n", ":3:", "1 fields, but the header has 2"},
      {"a.tsv", "text\tclass\na\t0\n", ":1: field 'label':", "the header has 'text', 'class'"},
      {"a.tsv", "text\ttext\na\t0\n", ":1: field 'text':", "twice"},
      {"a.csv", "text,label\n\"a\nb\",0\n,1\n", ":4: field 'text':", "value ''"},
      {"a.csv", "text,label\na,\n", ":2: field 'label':", "label ''"},
      {"a.csv", "text,label\na,0\n\"b,1\n", ":3:", "does not close"},
      {"a.csv", "text,label\n\"a\"b,0\n", ":2:", "follows a closing quote"},
      {"a.csv", "text,label\na,10000\n", ":2: field 'label':", "0 to 9999"},
      {"a.csv", "text,label\n", "a.csv:", "no rows"},
      {"a.xml", "<a/>", "a.xml:", "unknown kind of file '.xml'"},
  }));
  const auto file = folder.write(bad.name, bad.content);
  const std::string error = error_of(spec_of(file));
  INFO(bad.content);
  CHECK_THAT(error, Contains((std::string(bad.place).starts_with(':') ? bad.name : "") +
                             std::string(bad.place)));
  CHECK_THAT(error, Contains(bad.part));
}

TEST_CASE("labels outside of the named classes") {
  const TemporaryFolder folder("readers");
  TableSpec spec = spec_of(folder.write("a.jsonl", "{\"text\":\"a\",\"label\":2}\n"));
  spec.classes = {"yes", "no"};
  CHECK_THAT(error_of(spec),
             Contains("a.jsonl:1: field 'label': label '2'") && Contains("labels 0 to 1"));
  spec.file = folder.write("b.jsonl", "{\"text\":\"a\",\"label\":\"1\"}\n");
  CHECK_THAT(error_of(spec),
             Contains("b.jsonl:1: field 'label': label '1'") && Contains("'yes', 'no'"));
  spec.classes = {"yes", "yes"};
  CHECK_THAT(error_of(spec), Contains("task.files.classes: 'yes' is there twice"));
}

TEST_CASE("a sample of rows keeps file order and depends on the seed alone") {
  Dataset all;
  for (int i = 0; i < 100; ++i) all.rows.push_back({std::to_string(i), "", "", i, ""});
  Dataset some = all, again = all, other = all, none_left_out = all;
  sample_rows(some, 30, 1);
  sample_rows(again, 30, 1);
  sample_rows(other, 30, 2);
  sample_rows(none_left_out, 0, 1);
  CHECK(none_left_out.rows.size() == 100);
  sample_rows(none_left_out, 101, 1);
  CHECK(none_left_out.rows.size() == 100);
  const std::vector<int> labels = labels_of(some);
  REQUIRE(labels.size() == 30);
  CHECK(std::is_sorted(labels.begin(), labels.end()));
  CHECK(std::adjacent_find(labels.begin(), labels.end()) == labels.end());
  CHECK(some.rows[29].text == std::to_string(labels[29]));
  CHECK(labels_of(again) == labels);
  CHECK(labels_of(other) != labels);
}

TEST_CASE("rows held out are those that are taken out, both in file order") {
  Dataset all;
  all.classes = {"no", "yes"};
  for (int i = 0; i < 100; ++i) all.rows.push_back({std::to_string(i), "", "", i, ""});
  Dataset left = all, again = all, other = all;
  const Dataset held = hold_out(left, 30, 1);
  CHECK(held.classes == all.classes);
  CHECK(left.classes == all.classes);
  const std::vector<int> out = labels_of(held), in = labels_of(left);
  REQUIRE(out.size() == 30);
  REQUIRE(in.size() == 70);
  CHECK(std::is_sorted(out.begin(), out.end()));
  CHECK(std::is_sorted(in.begin(), in.end()));
  std::vector<int> both;
  std::merge(out.begin(), out.end(), in.begin(), in.end(), std::back_inserter(both));
  CHECK(both == labels_of(all));
  for (const Dataset* part : {&held, static_cast<const Dataset*>(&left)}) {
    for (const Row& row : part->rows) CHECK(row.text == std::to_string(row.label));
  }
  CHECK(labels_of(hold_out(again, 30, 1)) == out);
  CHECK(labels_of(again) == in);
  CHECK(labels_of(hold_out(other, 30, 2)) != out);
  // Not those that sample_rows() draws of the same seed.
  Dataset sampled = all;
  sample_rows(sampled, 30, 1);
  CHECK(labels_of(sampled) != out);
}

TEST_CASE("rows held out leave at least one") {
  Dataset rows;
  for (int i = 0; i < 5; ++i) rows.rows.push_back({std::to_string(i), "", "", i, ""});
  for (const int64_t count : {5, 6}) {
    CHECK_THROWS_WITH(hold_out(rows, count, 1),
                      Contains(std::to_string(count) + " rows") && Contains("of 5"));
    CHECK(labels_of(rows) == std::vector{0, 1, 2, 3, 4});
  }
  const Dataset held = hold_out(rows, 4, 1);
  CHECK(held.rows.size() == 4);
  CHECK(rows.rows.size() == 1);
}

TEST_CASE("a corpus of plain text and tables") {
  const TemporaryFolder folder("readers");
  const auto plain = folder.write("a.txt", "\xEF\xBB\xBFone\r\n\r\n  \ntwo");
  const auto rows = folder.write("b.jsonl",
                                 "{\"z\":\"three\",\"label\":4,\"a\":\"\"}\n"
                                 "{\"q\":\"four\",\"z\":\"five\"}\n");
  const auto table = folder.write("c.csv", "id,z\n1,\"six\nseven\"\n2,8.5\n");
  CHECK(read_corpus({plain, rows, table}, {}, 0) ==
        Names{"one", "two", "three", "four", "five", "six\nseven"});
  CHECK(read_corpus({rows, table}, {"z", "q"}, 0) ==
        Names{"three", "five", "four", "six\nseven", "8.5"});
  CHECK_THROWS_WITH(read_corpus({rows, table}, {"z", "nowhere"}, 0),
                    Contains("field 'nowhere'") && Contains("model.pretrain.files.fields"));
}

TEST_CASE("a corpus that is cut ends with the last whole line") {
  const TemporaryFolder folder("readers");
  const auto plain = folder.write("a.txt", "one\ntwo\nthree\n");
  CHECK(read_corpus({plain}, {}, 10) == Names{"one", "two"});
  CHECK(read_corpus({plain}, {}, 8) == Names{"one", "two"});
  CHECK(read_corpus({plain}, {}, 14) == Names{"one", "two", "three"});
  // Cut inside of a quoted field.
  const auto table = folder.write("c.csv", "z\n\"a\nb\"\n\"c\nd\"\n");
  CHECK(read_corpus({table}, {}, 12) == Names{"a\nb"});
}

TEST_CASE("AG News as it is in the data folder") {
  const char* data = std::getenv("FEDCLOCK_DATA");
  if (data == nullptr ||
      !std::filesystem::exists(std::filesystem::path(data) / "ag_news_train.jsonl")) {
    WARN("skipped: FEDCLOCK_DATA names no folder with ag_news_train.jsonl");
    return;
  }
  const std::filesystem::path folder = data;
  const TrainAndTest both =
      read_train_and_test(spec_of(folder / "ag_news_train.jsonl"), folder / "ag_news_test.jsonl");
  CHECK(both.train.rows.size() == 14989);
  CHECK(both.test.rows.size() == 3000);
  CHECK(both.train.classes == Names{"0", "1", "2", "3"});
  const auto labels = labels_of(both.test);
  for (int label = 0; label < 4; ++label) {
    CHECK(std::count(labels.begin(), labels.end(), label) == 750);
  }
}
