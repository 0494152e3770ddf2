// The synthetic task family: who holds what, asked at the end.
//
// A domain d has words of its own: kNouns nouns and, for each class c, kSynonyms attribute words.
// A text states kFacts facts `noun verb attribute` about different nouns, with attributes of
// different classes, in random order, and ends with a question `? noun`. Its label is the class of
// the attribute that the question's noun has. The words of a text say which kFacts classes occur,
// not which of them is asked for: a bag of words can do little better than 1 / kFacts, and a model
// has to bind nouns to attributes by position and to look the question's noun up.
//
// The pretraining corpus holds the same kind of texts followed by the attribute that answers them,
// so that a base learns to bind and look up; which words belong to which class it never sees.
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
