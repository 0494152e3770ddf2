// The synthetic task family: which of four words is meant.
//
// A domain d has a word of its own for each class. A text is four words of its domain, of four
// different classes in random order; one of them stands behind mark 0 and another behind mark 1. In
// even domains mark 0 points at the word that counts, in odd domains mark 1; the label is that
// word's class. The words of a text say which four classes occur and that both marks do, not which
// word is marked by which: a bag of words can do no better than 1/4. A model has to tell the domain
// from the words, bind each mark to the word behind it, and choose between the two.
//
// The pretraining corpus holds the same kind of texts followed by the word that counts, so that a
// base learns to bind and choose; which words belong to which class it never sees.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/data/row.h"

namespace fedclock::data {

enum class SyntheticForm { kClassification, kInstruction };

struct SyntheticSpec {
  SyntheticForm form = SyntheticForm::kClassification;
  int domains = 8;
  int classes = 8;
  int64_t rows = 0;
  uint64_t seed = 1;
};

// Classes are equally frequent; so are domains. In the instruction form the response is the class's
// name. `purpose` separates train and test rows of one seed.
Dataset synthetic_rows(const SyntheticSpec& spec, const std::string& purpose);

// Texts with their answers, without labels.
std::vector<std::string> synthetic_corpus(const SyntheticSpec& spec);

}  // namespace fedclock::data
