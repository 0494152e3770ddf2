// Rows of a task: what one client learns from and what the server tests on.
#pragma once

#include <string>
#include <vector>

#include "models/common/digest.h"

namespace fedclock::data {

struct Row {
  std::string text;
  std::string pair;      // second text of a pair; empty: a single text
  std::string response;  // the answer of an instruction row; empty: a row to classify
  int label = -1;        // position in Dataset::classes; -1: none
  std::string domain;    // domain or task, for the partition by domain; empty: none
};

struct Dataset {
  std::vector<Row> rows;             // in file order
  std::vector<std::string> classes;  // names, in label order
  // Responses are of their own, and not the names of the classes.
  bool open_responses = false;
};

// Name of the content: texts, labels, domains and class names, in order.
Digest content_digest(const Dataset& set);

}  // namespace fedclock::data
