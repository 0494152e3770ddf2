#include "models/learning/encoded.h"

#include <algorithm>

#include "models/common/error.h"
#include "models/nn/soft_prompt.h"

namespace fedclock::learning {

namespace {

// `start prompt response`, the prompt's last tokens where it has more than `room`.
EncodedRow after_prompt(const data::Row& row, const data::Tokenizer& tokenizer, int64_t room,
                        const std::vector<int32_t>& response) {
  const std::vector<int32_t> prompt = tokenizer.encode(row.text);
  const int64_t kept = std::min(std::ssize(prompt), room);
  EncodedRow encoded;
  encoded.ids.push_back(tokenizer.start());
  encoded.ids.insert(encoded.ids.end(), prompt.end() - kept, prompt.end());
  encoded.response_begin = static_cast<int32_t>(encoded.ids.size());
  encoded.ids.insert(encoded.ids.end(), response.begin(), response.end());
  encoded.types.assign(encoded.ids.size(), 0);
  return encoded;
}

// `longest_answer`: tokens of the longest of the classes' answers, for which there must be room
// too, because evaluation puts each of them behind the prompt.
EncodedRow encode_answer(const data::Row& row, const data::Tokenizer& tokenizer, int64_t max_tokens,
                         size_t longest_answer) {
  std::vector<int32_t> response = tokenizer.encode(row.response);
  const auto fixed =
      static_cast<int64_t>(std::max(response.size(), longest_answer)) + 2;  // start and end
  if (fixed > max_tokens) {
    throw InputError("the response \"" + row.response +
                     "\" alone is longer than task.max_tokens (" + std::to_string(max_tokens) +
                     "): raise max_tokens");
  }
  response.push_back(tokenizer.end());
  return after_prompt(row, tokenizer, max_tokens - fixed, response);
}

EncodedRow encode_open_response(const data::Row& row, const data::Tokenizer& tokenizer,
                                int64_t max_tokens, int64_t max_response_tokens) {
  std::vector<int32_t> response = tokenizer.encode(row.response);
  response.push_back(tokenizer.end());
  if (std::ssize(response) > max_response_tokens) {
    response.resize(static_cast<size_t>(max_response_tokens));
  }
  return after_prompt(row, tokenizer, max_tokens - 1 - max_response_tokens, response);
}

void put_before(EncodedRow& row, int64_t prompt_tokens) {
  std::vector<int32_t> prompt;
  for (int64_t p = 0; p < prompt_tokens; ++p) prompt.push_back(nn::prompt_id(p));
  row.ids.insert(row.ids.begin(), prompt.begin(), prompt.end());
  row.types.insert(row.types.begin(), prompt.size(), 0);
  if (row.response_begin >= 0) row.response_begin += static_cast<int32_t>(prompt_tokens);
}

}  // namespace

EncodedSet encode(const data::Dataset& dataset, const data::Tokenizer& tokenizer,
                  int64_t max_tokens, int64_t token_types, int64_t max_response_tokens,
                  int64_t prompt_tokens) {
  EncodedSet set;
  set.classes = static_cast<int64_t>(dataset.classes.size());
  set.rows.reserve(dataset.rows.size());
  const bool open = dataset.open_responses;
  const bool responses = std::any_of(dataset.rows.begin(), dataset.rows.end(),
                                     [](const data::Row& row) { return !row.response.empty(); });
  if (open) {
    ensure(max_response_tokens >= 1 && max_response_tokens < max_tokens,
           "no room for a prompt or for a response");
    set.max_response_tokens = max_response_tokens;
  }
  size_t longest_answer = 0;
  if (responses && !open) {
    for (const std::string& name : dataset.classes) {
      set.answers.push_back(tokenizer.encode(name));
      longest_answer = std::max(longest_answer, set.answers.back().size());
    }
  }
  for (const data::Row& row : dataset.rows) {
    ensure(row.label >= 0 && row.label < set.classes, "a row without one of the classes");
    EncodedRow encoded;
    if (open) {
      encoded = encode_open_response(row, tokenizer, max_tokens, max_response_tokens);
      set.references.push_back(row.response);
    } else if (responses) {
      encoded = encode_answer(row, tokenizer, max_tokens, longest_answer);
    } else {
      data::EncodedRow text = data::encode_row(tokenizer, row, static_cast<int32_t>(max_tokens));
      encoded.ids = std::move(text.ids);
      encoded.types = std::move(text.types);
      if (token_types < 2) std::fill(encoded.types.begin(), encoded.types.end(), 0);
    }
    put_before(encoded, prompt_tokens);
    encoded.label = row.label;
    set.rows.push_back(std::move(encoded));
  }
  return set;
}

std::vector<const EncodedRow*> rows_of(const EncodedSet& set, std::span<const int32_t> rows) {
  std::vector<const EncodedRow*> chosen;
  chosen.reserve(rows.size());
  for (int32_t row : rows) chosen.push_back(&set.rows.at(row));
  return chosen;
}

nn::Batch make_batch(std::span<const EncodedRow* const> rows, int32_t pad) {
  ensure(!rows.empty(), "an empty batch");
  const auto count = static_cast<int64_t>(rows.size());
  int64_t tokens = 0;
  for (const EncodedRow* row : rows) {
    tokens = std::max(tokens, static_cast<int64_t>(row->ids.size()));
  }
  nn::Batch batch;
  batch.ids = at::full({count, tokens}, static_cast<int64_t>(pad), at::kLong);
  batch.types = at::zeros({count, tokens}, at::kLong);
  batch.real = at::zeros({count, tokens}, at::kBool);
  auto* ids = batch.ids.data_ptr<int64_t>();
  auto* types = batch.types.data_ptr<int64_t>();
  auto* real = batch.real.data_ptr<bool>();
  bool padded = false;
  for (int64_t r = 0; r < count; ++r) {
    const EncodedRow& row = *rows[r];
    const auto length = static_cast<int64_t>(row.ids.size());
    std::copy(row.ids.begin(), row.ids.end(), ids + r * tokens);
    std::copy(row.types.begin(), row.types.end(), types + r * tokens);
    std::fill_n(real + r * tokens, length, true);
    padded = padded || length < tokens;
  }
  if (!padded) batch.real = at::Tensor();
  return batch;
}

}  // namespace fedclock::learning
