// Rows as token ids, ready for batches: encoded once, shared by all jobs, never changed.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/data/row.h"
#include "models/data/tokenizer.h"
#include "models/nn/transformer.h"

namespace fedclock::learning {

struct EncodedRow {
  std::vector<int32_t> ids;    // special tokens and a soft prompt's (below 0) included
  std::vector<int32_t> types;  // 0 for the first text, 1 for the second
  int label = -1;
  int32_t response_begin = -1;  // index of the response's first token; -1: no response

  // Only of rows with a response.
  int64_t response_tokens() const { return static_cast<int64_t>(ids.size()) - response_begin; }
};

struct EncodedSet {
  std::vector<EncodedRow> rows;
  int64_t classes = 0;
  // Token ids of each class's answer, for rows with responses that are classes' names; empty
  // otherwise.
  std::vector<std::vector<int32_t>> answers;
  // Of rows with responses of their own: these, whole; empty otherwise. And how many tokens one
  // has at most, its end included.
  std::vector<std::string> references;
  int64_t max_response_tokens = 0;

  bool has_open_responses() const { return !references.empty(); }
  bool has_responses() const { return !answers.empty() || has_open_responses(); }
};

// Cuts rows to max_tokens. Rows with a response become `start prompt response end`, the prompt
// cut from its beginning where there is no room; the classes' names are the answers. Responses of
// their own are cut to max_response_tokens, the end included, for which every prompt leaves room.
// Where the base knows fewer than two token types (RoBERTa one, GPT-2 none), all tokens are of
// type 0. A soft prompt's tokens stand before each row, beyond max_tokens.
EncodedSet encode(const data::Dataset& dataset, const data::Tokenizer& tokenizer,
                  int64_t max_tokens, int64_t token_types, int64_t max_response_tokens = 0,
                  int64_t prompt_tokens = 0);

// Pointers to these rows of the set.
std::vector<const EncodedRow*> rows_of(const EncodedSet& set, std::span<const int32_t> rows);

// Pads to the longest of the chosen rows. [rows, tokens]
nn::Batch make_batch(std::span<const EncodedRow* const> rows, int32_t pad);

}  // namespace fedclock::learning
