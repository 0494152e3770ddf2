// Prompts and responses from the fields of files.
#include "models/data/instructions.h"

#include <catch2/catch.hpp>

#include "models/common/error.h"
#include "models/data/readers.h"
#include "tests/models/data/temporary_folder.h"

using namespace fedclock;
using namespace fedclock::data;
using Catch::Matchers::Contains;

namespace {

std::string filled(const std::string& prompt, const std::string& shorter = "") {
  const Instructions instructions({.prompt = prompt, .short_prompt = shorter});
  const auto fields = [](const std::string& name) -> std::optional<std::string> {
    if (name == "a") return "one";
    if (name == "empty") return "";
    return std::nullopt;
  };
  return instructions.prompt(fields, "rows.jsonl", 7);
}

}  // namespace

TEST_CASE("prompts: fields and braces") {
  CHECK(filled("say {a}, {a}!") == "say one, one!");
  CHECK(filled("{{{a}}} and {{a}}") == "{one} and {a}");
  CHECK(filled("[{empty}]") == "[]");
  CHECK(filled("{a} with {empty}", "{a} alone") == "one alone");
  CHECK(filled("{a}", "short") == "one");
  CHECK_THROWS_WITH(filled("{b}"), Contains("rows.jsonl:7: field 'b'") && Contains("prompt"));
  CHECK_THROWS_WITH(filled("{a"), Contains("not closed"));
  CHECK_THROWS_WITH(filled("a}"), Contains("was not opened"));
  CHECK_THROWS_WITH(filled("{}"), Contains("hold no name"));
  CHECK_THROWS_WITH(filled("{a}", "{"), Contains("task.files.instruction.short_prompt"));
  CHECK(mistake_in_prompt("{a} {{b}}").empty());
  CHECK_THAT(mistake_in_prompt("{a"), Contains("write {field} for") && Contains("{{ or }}"));
}

TEST_CASE("instructions: the class's name is the response, or a field is") {
  const TemporaryFolder folder("instructions");
  TableSpec spec;
  spec.file = folder.write("a.jsonl",
                           "{\"p\":\"it rains\",\"h\":\"it is wet\",\"label\":0}\n"
                           "{\"p\":\"it rains\",\"h\":\"it is dry\",\"label\":1}\n");
  spec.classes = {"Yes", "No"};
  spec.instruction.prompt = "If {p}, then {h}?\n";
  const Dataset named = read_table(spec);
  CHECK(named.rows[1].text == "If it rains, then it is dry?\n");
  CHECK(named.rows[0].response == "Yes");
  CHECK(named.rows[1].response == "No");
  CHECK(named.rows[1].label == 1);
  CHECK_FALSE(named.open_responses);
  spec.instruction.response_field = "h";
  const Dataset open = read_table(spec);
  CHECK(open.open_responses);
  CHECK(open.rows[0].response == "it is wet");
  CHECK(open.rows[0].label == 0);
  Dataset closed = open;
  closed.open_responses = false;
  CHECK(content_digest(open).hex() != content_digest(closed).hex());
  spec.instruction.response_field = "x";
  CHECK_THROWS_WITH(read_table(spec),
                    Contains("a.jsonl:1") && Contains("'x'") && Contains("response_field"));
  spec.file = folder.write("b.tsv", "p\th\tlabel\nwet\t\t0\n");
  spec.instruction.response_field = "h";
  CHECK_THROWS_WITH(read_table(spec), Contains("b.tsv:2") && Contains("write a response"));
  spec.instruction.response_field = "";
  CHECK(read_table(spec).rows[0].text == "If wet, then ?\n");
  spec.instruction.prompt = "{q}";
  CHECK_THROWS_WITH(read_table(spec), Contains("b.tsv:2: field 'q'"));
}

TEST_CASE("instructions: fields of a joined table") {
  const TemporaryFolder folder("instructions");
  TableSpec spec;
  spec.file = folder.write("rows.jsonl",
                           "{\"task\":\"t1\",\"input\":\"x\",\"output\":\"y\"}\n"
                           "{\"task\":\"t2\",\"input\":\"z\",\"output\":\"w\"}\n");
  spec.label_field = "task";
  const std::string first = "{\"task\":\"t1\",\"definition\":\"Do.\",\"input\":\"hidden\"}\n";
  spec.instruction = {.prompt = "{definition} {input}",
                      .short_prompt = "",
                      .response_field = "output",
                      .join_file = folder.write(
                          "tasks.jsonl", first + "{\"task\":\"t2\",\"definition\":\"Don't.\"}\n"),
                      .join_field = "task"};
  const Dataset rows = read_table(spec);
  CHECK(rows.rows[0].text == "Do. x");  // the row's own field goes before the joined one
  CHECK(rows.rows[1].text == "Don't. z");
  CHECK((rows.classes == std::vector<std::string>{"t1", "t2"}));
  spec.instruction.join_file = folder.write("tasks.csv", "task,definition\nt1,Do.\nt2,\"A, b\"\n");
  CHECK(read_table(spec).rows[1].text == "A, b z");
  spec.instruction.join_file = folder.write("few.jsonl", first);
  CHECK_THROWS_WITH(read_table(spec),
                    Contains("rows.jsonl:2: field 'task'") && Contains("few.jsonl"));
  spec.instruction.join_file = folder.write("twice.jsonl", first + first);
  CHECK_THROWS_WITH(read_table(spec), Contains("twice.jsonl:2") && Contains("stands there twice"));
  spec.instruction.join_file =
      folder.write("list.jsonl", first + "{\"task\":\"t2\",\"definition\":[\"A\"]}\n");
  CHECK_THROWS_WITH(read_table(spec),
                    Contains("list.jsonl:2: field 'definition'") && Contains("is no text"));
  spec.instruction.join_field = "input";
  spec.instruction.join_file = folder.write("no_key.jsonl", "{\"task\":\"t1\"}\n");
  CHECK_THROWS_WITH(read_table(spec), Contains("no_key.jsonl:1") && Contains("join.field"));
}

TEST_CASE("instructions: labels of open responses need no training row") {
  const TemporaryFolder folder("instructions");
  TableSpec spec;
  spec.file = folder.write("train.jsonl", "{\"task\":\"t1\",\"input\":\"x\",\"output\":\"y\"}\n");
  const auto test =
      folder.write("test.jsonl", "{\"task\":\"t2\",\"input\":\"z\",\"output\":\"w\"}\n");
  spec.label_field = "task";
  spec.instruction.prompt = "{input}";
  CHECK_THROWS_WITH(read_train_and_test(spec, test), Contains("no training row"));
  spec.instruction.response_field = "output";
  CHECK(read_train_and_test(spec, test).test.rows[0].label == 1);
}
