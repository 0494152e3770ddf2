// A learner whose numbers a test sets.
#pragma once

#include <map>
#include <memory>
#include <utility>

#include "models/common/error.h"
#include "models/learning/learner.h"

namespace fedclock::test {

class FakeLearner : public learning::Learner {
 public:
  // An update of which training_numbers() says this.
  learning::Value update(learning::TrainingNumbers numbers) {
    // Only a name: what a Node is, is the real learner's business.
    auto name = std::make_shared<char>();
    const learning::Value value(name, reinterpret_cast<learning::Node*>(name.get()));
    numbers_.emplace(value, std::move(numbers));
    return value;
  }

  // A value of which numbers() says this.
  learning::Value value(std::vector<double> numbers) {
    const learning::Value named = update({});
    plain_numbers_.emplace(named, std::move(numbers));
    return named;
  }

  learning::TrainingNumbers training_numbers(const learning::Value& update) override {
    ++asked;
    return numbers_.at(update);
  }

  bool has_numbers() const override { return true; }
  learning::Value initial(const learning::Share&, uint64_t) override { return {}; }
  learning::Value train(const learning::Value&, const learning::TrainJob&,
                        const std::vector<learning::Value>&) override {
    return {};
  }
  learning::Value apply(const learning::Function&, const std::vector<learning::Value>&,
                        const std::string&) override {
    return {};
  }
  learning::Value numbers_of(const learning::Value& update) override { return update; }
  learning::Value evaluate(const learning::Value&, learning::RowSource,
                           const learning::Rows&) override {
    return {};
  }
  learning::Metrics metrics(const learning::Value&) override { throw unknown(); }
  std::vector<double> numbers(const learning::Value& value) override {
    if (!plain_numbers_.contains(value)) throw unknown();
    return plain_numbers_.at(value);
  }
  Digest content_digest(const learning::Value&) override { throw unknown(); }
  void save(const learning::Value&, const std::filesystem::path&) override { throw unknown(); }
  learning::JobCounts counts() const override { return {}; }
  int64_t buffer_bytes() const override { return 0; }

  int asked = 0;  // times that training_numbers() was called

 private:
  static ProgrammerError unknown() { return ProgrammerError("the test has set no such number"); }

  std::map<learning::Value, learning::TrainingNumbers> numbers_;
  std::map<learning::Value, std::vector<double>> plain_numbers_;
};

}  // namespace fedclock::test
