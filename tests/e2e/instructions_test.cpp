// Tasks that are answered in words.
#include <catch2/catch.hpp>

#include <fstream>
#include <string>

#include "sim/results/files.h"
#include "tests/e2e/program.h"

namespace fedclock::test {
namespace {

using Catch::Matchers::Contains;

TEST_CASE("a decoder learns to answer instructions") {
  const Workplace here;
  const Ran ran = here.run(
      "run " + tiny_scenario() +
      " --set task.synthetic.form=INSTRUCTION --set model.pretrain.architecture.kind=DECODER"
      " --set model.pretrain.steps=60 --set 'model.adapter.targets=[Q,V,GATE,DOWN]' --out a");
  INFO(ran.err);
  REQUIRE(ran.code == 0);
  const v1::Result result = results::read_result(here / "a");
  CHECK(result.rounds(3).loss() < result.rounds(0).loss());
  CHECK_FALSE(result.has_metric());
}

// Five animals, each of which likes one thing; the answer is a sentence.
std::string likings(int rows) {
  const char* animals[] = {"cat", "dog", "cow", "bird", "fox"};
  const char* things[] = {"mice", "bones", "hay", "seeds", "hens"};
  std::string text;
  for (int i = 0; i < rows; ++i) {
    const std::string animal = animals[i % 5], thing = things[i % 5];
    text += "{\"animal\":\"" + animal + "\",\"number\":" + std::to_string(i) +
            ",\"answer\":\"the " + animal + " likes " + thing + "\"}\n";
  }
  return text;
}

TEST_CASE("a decoder learns to write responses, which are scored by ROUGE-L") {
  const Workplace here;
  std::ofstream(here / "train.jsonl") << likings(120);
  std::ofstream(here / "test.jsonl") << likings(10);
  const std::string command =
      "run " + tiny_scenario() +
      " --data . --set 'task={files:{train:\"train.jsonl\" test:\"test.jsonl\" "
      "label_field:\"animal\" instruction:{prompt:\"{number} : what does the {animal} like ? \" "
      "response_field:\"answer\" max_response_tokens:6}} max_tokens:20}'"
      " --set 'model.pretrain.files={files:[\"train.jsonl\"]}'"
      " --set model.pretrain.architecture.kind=DECODER --set model.pretrain.steps=200"
      " --set 'model.adapter.targets=[Q,V,GATE,DOWN]' --set federation.local.steps=20";
  const Ran ran = here.run(command + " --out a");
  INFO(ran.err);
  REQUIRE(ran.code == 0);
  const v1::Result result = results::read_result(here / "a");
  CHECK(result.metric() == "rouge_l");
  CHECK(result.rounds(3).loss() < result.rounds(0).loss());
  CHECK(result.rounds(0).accuracy() < 0.1);
  CHECK(result.rounds(3).accuracy() > 0.9);
  CHECK(result.rounds(3).accuracy() <= 1);
  CHECK_THAT(ran.out, Contains("ROUGE-L"));
  // The same bits by two workers, and whatever the store had.
  REQUIRE(here.run(command + " --no-store --workers 2 --out b").code == 0);
  CHECK(read_file(here / "a/result.pb") == read_file(here / "b/result.pb"));
}

TEST_CASE("soft prompts: learnt, merged, sent and exported") {
  const Workplace here;
  const std::string method = GENERATE("fedprompt", "fedptuning");
  const Ran ran = here.run(
      "run " + tiny_scenario() + " --set method=" + method +
      " --set task.synthetic.form=INSTRUCTION --set model.pretrain.architecture.kind=DECODER"
      " --set model.pretrain.steps=60 --set federation.assignment.prompt.tokens=4"
      " --set federation.local.learning_rate=0.05 --set federation.selection={all:{}} --out a");
  INFO(ran.err);
  REQUIRE(ran.code == 0);
  const v1::Result result = results::read_result(here / "a");
  CHECK(result.rounds(3).loss() < result.rounds(0).loss());
  // Everyone sends what everyone is sent; P-tuning's encoder is most of it.
  const v1::ClientRound& client = result.rounds(1).clients(0);
  CHECK(client.bytes_up() == client.bytes_down());
  CHECK((client.bytes_up() > 4000) == (method == "fedptuning"));
  CHECK(client.depth() == 0);
  const std::string config = read_file(here / "a/final_adapter/adapter_config.json");
  CHECK_THAT(config, Contains("PROMPT_TUNING") && Contains("\"num_virtual_tokens\": 4"));
  const std::string cost = here.run("cost a/scenario.textproto").out;
  CHECK_THAT(cost, Contains("a prompt of 4 tokens more"));
  size_t lines = 0;  // one for each group of devices
  for (size_t at = cost.find("  yes\n"); at != std::string::npos; at = cost.find("  yes\n", at + 1))
    ++lines;
  CHECK(lines == 2);
}

}  // namespace
}  // namespace fedclock::test
