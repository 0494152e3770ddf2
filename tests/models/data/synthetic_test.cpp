#include "models/data/synthetic.h"

#include <Eigen/Dense>
#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "models/common/error.h"

namespace fedclock::data {
namespace {

using Words = std::vector<std::string>;

Words words_of(const std::string& text) {
  std::istringstream in(text);
  Words words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

SyntheticSpec spec_of(int64_t rows, uint64_t seed = 1) {
  SyntheticSpec spec;
  spec.rows = rows;
  spec.seed = seed;
  return spec;
}

bool equal(const Dataset& a, const Dataset& b) {
  const auto same = [](const Row& x, const Row& y) {
    return x.text == y.text && x.pair == y.pair && x.response == y.response && x.label == y.label &&
           x.domain == y.domain;
  };
  return a.classes == b.classes &&
         std::equal(a.rows.begin(), a.rows.end(), b.rows.begin(), b.rows.end(), same);
}

TEST_CASE("synthetic: the same seed and purpose give the same rows") {
  const Dataset rows = synthetic_rows(spec_of(300), "train");
  CHECK(rows.rows.size() == 300);
  CHECK(equal(rows, synthetic_rows(spec_of(300), "train")));
  CHECK_FALSE(equal(rows, synthetic_rows(spec_of(300, 2), "train")));
  CHECK_FALSE(equal(rows, synthetic_rows(spec_of(300), "test")));
  CHECK(synthetic_corpus(spec_of(300)) == synthetic_corpus(spec_of(300)));
  CHECK(synthetic_corpus(spec_of(300)) != synthetic_corpus(spec_of(300, 2)));
  // The language is the same for every seed: classes mean the same.
  CHECK(rows.classes == synthetic_rows(spec_of(300, 2), "test").classes);
}

TEST_CASE("synthetic: classes and domains are equally frequent") {
  const Dataset dataset = synthetic_rows(spec_of(640), "train");
  REQUIRE(dataset.classes.size() == 8);
  CHECK(std::set<std::string>(dataset.classes.begin(), dataset.classes.end()).size() == 8);
  std::map<std::pair<std::string, int>, int> counts;
  for (const Row& row : dataset.rows) ++counts[{row.domain, row.label}];
  CHECK(counts.size() == 64);
  for (const auto& [key, count] : counts) {
    INFO(key.first << ", class " << key.second);
    CHECK(count == 10);
  }
  // Shuffled: the first rows are not the same class, or domain, in turn.
  std::set<int> labels;
  for (size_t i = 0; i < 64; i += 8)
    labels.insert(dataset.rows[i].label * 100 + dataset.rows[i].domain.back());
  CHECK(labels.size() > 3);
}

// --- the rule, read off the rows -----------------------------------------------------------------

// Words of all texts of a domain: the marks (and the question).
std::set<std::string> common_words(const Dataset& dataset) {
  std::set<std::string> common;
  for (const std::string& word : words_of(dataset.rows.front().text)) common.insert(word);
  for (const Row& row : dataset.rows) {
    const Words words = words_of(row.text);
    std::erase_if(common, [&](const std::string& word) {
      return std::find(words.begin(), words.end(), word) == words.end();
    });
  }
  return common;
}

std::string word_after(const Words& words, const std::string& mark) {
  const auto found = std::find(words.begin(), words.end(), mark);
  return found == words.end() || found + 1 == words.end() ? "" : *(found + 1);
}

// What is known of a domain when its rows are looked at.
struct Domain {
  std::string mark;                  // before the attribute that counts
  std::map<std::string, int> label;  // of each attribute word
};

// The mark after which the same word always has the same label.
std::map<std::string, Domain> read_rule(const Dataset& dataset) {
  std::set<std::string> marks = common_words(dataset);
  marks.erase("?");
  REQUIRE(marks.size() == 2);
  std::map<std::string, Domain> domains;
  for (const Row& row : dataset.rows) domains[row.domain];
  for (auto& [name, domain] : domains) {
    for (const std::string& mark : marks) {
      std::map<std::string, std::set<int>> labels;
      for (const Row& row : dataset.rows) {
        if (row.domain == name) labels[word_after(words_of(row.text), mark)].insert(row.label);
      }
      const bool decides = std::all_of(labels.begin(), labels.end(),
                                       [](const auto& entry) { return entry.second.size() == 1; });
      if (!decides) continue;
      CHECK(domain.mark.empty());  // only one of the two decides
      domain.mark = mark;
      for (const auto& [word, label] : labels) domain.label[word] = *label.begin();
    }
  }
  return domains;
}

TEST_CASE("synthetic: the label is the class of the attribute behind the domain's mark") {
  const Dataset dataset = synthetic_rows(spec_of(2560), "train");
  const auto domains = read_rule(dataset);
  REQUIRE(domains.size() == 8);
  std::map<std::string, int> marks;
  std::set<std::string> attributes;
  for (const auto& [name, domain] : domains) {
    INFO(name);
    ++marks[domain.mark];
    CHECK(domain.label.size() == 8);  // a word for each class
    std::set<int> labels;
    for (const auto& [word, label] : domain.label) {
      labels.insert(label);
      attributes.insert(word);
    }
    CHECK(labels.size() == 8);
  }
  CHECK(attributes.size() == 64);  // domains share no words ...
  REQUIRE(marks.size() == 2);      // ... but the marks, each of which counts in half of them
  CHECK(marks.begin()->second == 4);

  for (const Row& row : dataset.rows) {
    INFO(row.text);
    const Domain& domain = domains.at(row.domain);
    const Words words = words_of(row.text);
    REQUIRE(words.size() == 7);  // 4 attributes, 2 marks, the question
    CHECK(words.back() == "?");
    std::set<int> classes;
    for (const std::string& word : words) {
      if (domain.label.contains(word)) classes.insert(domain.label.at(word));
    }
    CHECK(classes.size() == 4);  // of different classes
    CHECK(domain.label.at(word_after(words, domain.mark)) == row.label);
    CHECK(row.response.empty());
    CHECK(row.pair.empty());
  }
}

TEST_CASE("synthetic: test rows follow the same rule, and so does another seed") {
  const auto domains = read_rule(synthetic_rows(spec_of(2560), "train"));
  for (const Row& row : synthetic_rows(spec_of(400, 9), "test").rows) {
    INFO(row.text);
    const Domain& domain = domains.at(row.domain);
    CHECK(domain.label.at(word_after(words_of(row.text), domain.mark)) == row.label);
  }
}

TEST_CASE("synthetic: the corpus answers its questions and names no class") {
  const Dataset dataset = synthetic_rows(spec_of(2560), "train");
  const auto domains = read_rule(dataset);
  const auto corpus = synthetic_corpus(spec_of(1000));
  CHECK(corpus.size() == 1000);
  for (const std::string& text : corpus) {
    INFO(text);
    const Words words = words_of(text);
    REQUIRE(words.size() == 8);
    CHECK(words[6] == "?");
    const auto domain = std::find_if(domains.begin(), domains.end(), [&](const auto& entry) {
      return entry.second.label.contains(words.back());
    });
    REQUIRE(domain != domains.end());
    CHECK(word_after(words, domain->second.mark) == words.back());
    for (const std::string& word : words) {
      CHECK(std::find(dataset.classes.begin(), dataset.classes.end(), word) ==
            dataset.classes.end());
    }
  }
}

TEST_CASE("synthetic: training rows, test rows and the corpus are different texts") {
  std::set<std::string> train, test;
  for (const Row& row : synthetic_rows(spec_of(2000), "train").rows) train.insert(row.text);
  for (const Row& row : synthetic_rows(spec_of(2000), "test").rows) test.insert(row.text);
  int64_t in_corpus = 0, in_test = 0;
  for (const std::string& text : synthetic_corpus(spec_of(2000))) {
    in_corpus += train.contains(text.substr(0, text.rfind(' ')));
  }
  for (const std::string& text : test) in_test += train.contains(text);
  // A domain has 8 x 7 x 6 x 5 orders of attributes and 4 x 3 places of the marks, 8 domains have
  // 161 280 texts: 2000 x 2000 / 161 280 = 25 of 2000 meet by chance.
  CHECK(train.size() > 1900);
  CHECK(in_corpus < 60);
  CHECK(in_test < 60);
}

TEST_CASE("synthetic: instruction rows answer with the class's name") {
  SyntheticSpec spec = spec_of(100);
  const Dataset plain = synthetic_rows(spec, "train");
  spec.form = SyntheticForm::kInstruction;
  const Dataset dataset = synthetic_rows(spec, "train");
  REQUIRE(dataset.rows.size() == 100);
  for (size_t i = 0; i < dataset.rows.size(); ++i) {
    const Row& row = dataset.rows[i];
    CHECK(row.response == dataset.classes.at(static_cast<size_t>(row.label)));
    CHECK(row.text == plain.rows[i].text);
    CHECK(row.label == plain.rows[i].label);
  }
}

TEST_CASE("synthetic: two classes and one domain, and sizes that are not possible") {
  SyntheticSpec spec = spec_of(20);
  spec.classes = 2;
  spec.domains = 1;
  const Dataset dataset = synthetic_rows(spec, "train");
  for (const Row& row : dataset.rows) CHECK(words_of(row.text).size() == 5);
  spec.classes = 1;
  CHECK_THROWS_AS(synthetic_rows(spec, "train"), ProgrammerError);
  CHECK_THROWS_AS(synthetic_rows(spec_of(0), "train"), ProgrammerError);
}

// --- what a linear model of words can do ---------------------------------------------------------

// Least squares (ridge) on features of a text for each class; -> accuracy on the test rows.
template <typename Features>
double probe(const Dataset& train, const Dataset& test, const Features& features) {
  std::map<std::string, int64_t> number;
  for (const Row& row : train.rows) {
    for (const std::string& name : features(row)) number.emplace(name, number.size());
  }
  const auto size = static_cast<int64_t>(number.size()) + 1;
  const auto row_of = [&](const Row& row) {
    Eigen::VectorXd x = Eigen::VectorXd::Zero(size);
    x(size - 1) = 1;  // the constant
    for (const std::string& name : features(row)) {
      if (number.contains(name)) x(number.at(name)) += 1;
    }
    return x;
  };
  Eigen::MatrixXd moments = 1e-3 * Eigen::MatrixXd::Identity(size, size);
  Eigen::MatrixXd targets = Eigen::MatrixXd::Zero(size, std::ssize(train.classes));
  for (const Row& row : train.rows) {
    const Eigen::VectorXd x = row_of(row);
    moments.selfadjointView<Eigen::Lower>().rankUpdate(x);
    targets.col(row.label) += x;
  }
  const Eigen::MatrixXd full = moments.selfadjointView<Eigen::Lower>();
  const Eigen::MatrixXd weights = full.ldlt().solve(targets);  // [features, classes]
  int64_t correct = 0;
  for (const Row& row : test.rows) {
    Eigen::Index best = 0;
    (weights.transpose() * row_of(row)).maxCoeff(&best);
    correct += best == row.label;
  }
  return static_cast<double>(correct) / static_cast<double>(test.rows.size());
}

TEST_CASE("synthetic: a bag of words is not enough, the word behind a mark is") {
  const Dataset train = synthetic_rows(spec_of(4000), "train");
  const Dataset test = synthetic_rows(spec_of(1000), "test");
  const double bag = probe(train, test, [](const Row& row) { return words_of(row.text); });
  // A text's words say which 4 of the 8 classes it can be: 1/4 at best; chance is 1/8.
  CHECK(bag < 0.45);
  CHECK(bag > 0.15);
  // Pairs of neighbouring words hold the answer, so the probe itself can learn.
  const double pairs = probe(train, test, [](const Row& row) {
    const Words words = words_of(row.text);
    Words pairs;
    for (size_t i = 0; i + 1 < words.size(); ++i) pairs.push_back(words[i] + " " + words[i + 1]);
    return pairs;
  });
  CHECK(pairs > 0.95);
}

}  // namespace
}  // namespace fedclock::data
