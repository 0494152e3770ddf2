// task.files.validation_rows, from the files to the data of a run.
#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "models/common/error.h"
#include "models/data/readers.h"
#include "sim/experiment/experiment.h"
#include "tests/e2e/program.h"
#include "tests/models/data/temporary_folder.h"

namespace fedclock::experiment {
namespace {

using Catch::Matchers::Contains;

// "train 7" has label 7 % 2.
std::string jsonl(const char* name, int rows) {
  std::string text;
  for (int i = 0; i < rows; ++i) {
    text += fmt::format("{{\"text\":\"{} {}\",\"label\":{}}}\n", name, i, i % 2);
  }
  return text;
}

class Files {
 public:
  Files() : folder_("validation") {
    spec_.file = folder_.write("train.jsonl", jsonl("train", 200));
    test_file_ = folder_.write("test.jsonl", jsonl("test", 30));
  }

  // The tiny scenario on them.
  Experiment experiment(const std::string& more) const {
    Options options;
    options.data_folder = folder_.path();
    options.timing_only = true;
    const std::string task = fmt::format(
        "task={{files:{{train:\"train.jsonl\" test:\"test.jsonl\" {}}} max_tokens:16}}", more);
    return Experiment(
        scenario::load_and_validate(
            test::tiny_scenario(),
            {.overrides = {task, "model.pretrain.files={files:\"train.jsonl\" fields:\"text\"}"},
             .library = {}}),
        options);
  }
  data::TrainAndTest read() const { return data::read_train_and_test(spec_, test_file_); }

 private:
  TemporaryFolder folder_;
  data::TableSpec spec_;
  std::filesystem::path test_file_;
};

std::string digest_of(const data::TrainAndTest& data) {
  return DigestBuilder()
      .add(data::content_digest(data.train))
      .add(data::content_digest(data.test))
      .finish()
      .hex();
}

TEST_CASE("validation rows take the place of the test rows, and nobody trains on them") {
  const Files files;
  data::TrainAndTest data = files.read();
  REQUIRE(data.train.rows.size() == 200);
  CHECK(files.experiment("").description().data_digest() == digest_of(data));
  CHECK(files.experiment("validation_rows:0").description().data_digest() == digest_of(data));

  data.test = data::hold_out(data.train, 40, 1);
  Experiment validated = files.experiment("validation_rows:40");
  CHECK(validated.description().data_digest() == digest_of(data));
  CHECK(validated.train().rows.size() == 160);
  size_t dealt = 0;
  for (const auto& rows : validated.partition()) dealt += rows.size();
  CHECK(dealt == 160);
  std::vector<std::string> texts;
  for (const data::Row& row : data.test.rows) texts.push_back(row.text);
  for (const data::Row& row : validated.train().rows) {
    CHECK(std::find(texts.begin(), texts.end(), row.text) == texts.end());
  }
  for (const std::string& text : texts) CHECK(text.starts_with("train "));

  // The seed is the task's; draws of fewer rows come after that, of both.
  data = files.read();
  data.test = data::hold_out(data.train, 40, 9);
  CHECK(files.experiment("validation_rows:40 seed:9").description().data_digest() ==
        digest_of(data));
  data::sample_rows(data.train, 100, 9);
  data::sample_rows(data.test, 20, 10);
  CHECK(files.experiment("validation_rows:40 seed:9 max_train_rows:100 max_test_rows:20")
            .description()
            .data_digest() == digest_of(data));
}

TEST_CASE("validation rows: too many of them are an error at the files") {
  const Files files;
  CHECK_THROWS_WITH(files.experiment("validation_rows:200"),
                    Contains("task.files") && Contains("200 rows are to be held out of 200"));
  CHECK_THROWS_AS(files.experiment("validation_rows:-1"), InputError);
}

}  // namespace
}  // namespace fedclock::experiment
