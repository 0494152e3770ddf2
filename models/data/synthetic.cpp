#include "models/data/synthetic.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "models/common/error.h"
#include "models/common/random.h"

namespace fedclock::data {

namespace {

constexpr int kAttributes = 4;  // in a text
constexpr int kMarks = 2;

// Pronounceable words, a function of a number alone: the language is the same for every seed.
std::string word(int64_t number) {
  constexpr std::string_view kConsonants = "bdfgklmnprstvz";
  constexpr std::string_view kVowels = "aeiou";
  std::string text;
  for (int syllable = 0; syllable < 3; ++syllable) {
    text += kConsonants[number % 14];
    number /= 14;
    text += kVowels[number % 5];
    number /= 5;
  }
  return text;
}

// Steps through the words in a fixed scattered order, so that domains do not share syllables.
std::string scattered_word(int64_t index) {
  constexpr int64_t kWords = 70LL * 70 * 70;
  constexpr int64_t kStride = 104729;  // a prime that does not divide kWords
  return word((index + 1) * kStride % kWords);
}

constexpr int kWordsPerDomain = 1000;  // room for the words of the largest family

std::string mark(int index) { return scattered_word(index); }

std::string attribute(int domain, int label) {
  return scattered_word(kMarks + domain * kWordsPerDomain + label);
}

std::string class_name(int label) { return scattered_word(-2 - label + 70LL * 70 * 70); }

struct Story {
  std::string text;  // ends with the question
  std::string answer;
  int domain = 0;
  int label = 0;
};

// Classes in turn within each domain, so that both are equally frequent.
Story make_story(const SyntheticSpec& spec, int64_t row, Random& random) {
  Story story;
  story.domain = static_cast<int>(row % spec.domains);
  story.label = static_cast<int>(row / spec.domains % spec.classes);
  const auto count = static_cast<size_t>(std::min(kAttributes, spec.classes));
  std::vector<int> labels;
  for (int c = 0; c < spec.classes; ++c) {
    if (c != story.label) labels.push_back(c);
  }
  random.shuffle(labels);
  const size_t marked = random.below(count);  // place of the attribute that counts
  size_t other = random.below(count - 1);     // place of the one with the other mark
  if (other >= marked) ++other;
  labels.insert(labels.begin() + static_cast<int64_t>(marked), story.label);
  const int own_mark = story.domain % kMarks;
  for (size_t i = 0; i < count; ++i) {
    if (i == marked) story.text += mark(own_mark) + " ";
    if (i == other) story.text += mark(1 - own_mark) + " ";
    story.text += attribute(story.domain, labels[i]) + " ";
  }
  story.text += "?";
  story.answer = attribute(story.domain, story.label);
  return story;
}

void check(const SyntheticSpec& spec) {
  ensure(spec.domains >= 1 && spec.domains <= 64, "1 to 64 synthetic domains");
  ensure(spec.classes >= 2 && spec.classes <= 32, "2 to 32 synthetic classes");
  ensure(spec.rows >= 1, "at least one synthetic row");
}

}  // namespace

Dataset synthetic_rows(const SyntheticSpec& spec, const std::string& purpose) {
  check(spec);
  Dataset dataset;
  for (int c = 0; c < spec.classes; ++c) dataset.classes.push_back(class_name(c));
  std::vector<int64_t> order(spec.rows);
  for (int64_t i = 0; i < spec.rows; ++i) order[i] = i;
  Random(spec.seed, "synthetic order " + purpose).shuffle(order);
  for (int64_t i : order) {
    Random random(spec.seed, "synthetic " + purpose, i);
    const Story story = make_story(spec, i, random);
    Row row;
    row.text = story.text;
    row.label = story.label;
    row.domain = fmt::format("domain{:02}", story.domain);
    if (spec.form == SyntheticForm::kInstruction) row.response = class_name(story.label);
    dataset.rows.push_back(std::move(row));
  }
  return dataset;
}

std::vector<std::string> synthetic_corpus(const SyntheticSpec& spec) {
  check(spec);
  std::vector<std::string> texts;
  for (int64_t i = 0; i < spec.rows; ++i) {
    Random random(spec.seed, "synthetic corpus", i);
    const Story story = make_story(spec, i, random);
    texts.push_back(story.text + " " + story.answer);
  }
  return texts;
}

}  // namespace fedclock::data
