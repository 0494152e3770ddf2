// Tiny tasks and bases for the tests of learning. Include after models/nn/torch.h and Catch2.
#pragma once

#include <cstdint>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "models/common/random.h"
#include "models/data/bpe.h"
#include "models/learning/base.h"
#include "models/learning/evaluate.h"
#include "models/learning/train.h"
#include "models/nn/torch.h"
#include "models/nn/transformer.h"

namespace fedclock::learning {

inline nn::Architecture tiny_architecture(nn::Kind kind, int64_t vocabulary) {
  return kind == nn::Kind::kEncoder ? nn::encoder_architecture(2, 16, 2, 24, 24, vocabulary)
                                    : nn::decoder_architecture(2, 16, 2, 1, 24, 24, vocabulary);
}

// Wide enough that a frozen base tells its tokens apart.
inline nn::TensorMap tiny_weights(const nn::Architecture& architecture) {
  nn::TensorMap weights = nn::random_weights(architecture, 3);
  Random random(3, "test: tiny weights");
  for (auto& [name, tensor] : weights) {
    if (tensor.dim() < 2) continue;
    for (int64_t i = 0; i < tensor.numel(); ++i) {
      tensor.data_ptr<float>()[i] = static_cast<float>(0.2 * random.normal());
    }
  }
  return weights;
}

inline nn::AdapterSpec tiny_adapter_spec() {
  return {.rank = 2, .alpha = 4, .dropout = 0, .targets = {nn::Target::kQ, nn::Target::kV}};
}

// Rows `1 words 2` of 4 to 9 tokens. Class c (of 3) has the words 10 + 10 c to 12 + 10 c, one word
// in ten is any class's. With `responses`, a row goes on with its class's answer: 5 | 6 7 | 8 and
// the end, 2.
inline EncodedSet tiny_rows(int64_t count, bool responses, uint64_t seed) {
  const std::vector<std::vector<int32_t>> answers{{5}, {6, 7}, {8}};
  EncodedSet set;
  set.classes = 3;
  if (responses) set.answers = answers;
  for (int64_t i = 0; i < count; ++i) {
    Random random(seed, "test: tiny rows", static_cast<uint64_t>(i));
    EncodedRow row;
    row.label = static_cast<int>(i % 3);
    row.ids.push_back(1);
    const uint64_t words = 2 + random.below(6);
    for (uint64_t w = 0; w < words; ++w) {
      const uint64_t of =
          random.below(10) == 0 ? random.below(3) : static_cast<uint64_t>(row.label);
      row.ids.push_back(static_cast<int32_t>(10 + 10 * of + random.below(3)));
    }
    if (responses) {
      row.response_begin = static_cast<int32_t>(row.ids.size());
      for (int32_t id : answers[static_cast<size_t>(row.label)]) row.ids.push_back(id);
    }
    row.ids.push_back(2);
    row.types.assign(row.ids.size(), 0);
    set.rows.push_back(std::move(row));
  }
  return set;
}

inline LearningTask tiny_task(nn::Kind kind, bool responses = false) {
  const nn::Architecture architecture = tiny_architecture(kind, 40);
  LearningTask task;
  task.set_base(architecture, tiny_weights(architecture));
  task.adapter = tiny_adapter_spec();
  task.train = std::make_shared<const EncodedSet>(tiny_rows(60, responses, 1));
  task.test = std::make_shared<const EncodedSet>(tiny_rows(31, responses, 2));
  return task;
}

// A fresh adapter in both layers, with a head unless rows have responses.
inline nn::TensorMap tiny_start(const LearningTask& task) {
  return nn::random_adapter(task.base->architecture(), task.adapter, 2,
                            task.train->has_responses() ? 0 : task.train->classes, 4);
}

// The same with a B that is not zero, as after some training.
inline nn::TensorMap tiny_trained(const LearningTask& task) {
  nn::TensorMap tensors = tiny_start(task);
  Random random(5, "test: trained adapter");
  for (auto& [name, tensor] : tensors) {
    for (int64_t i = 0; i < tensor.numel(); ++i) {
      tensor.data_ptr<float>()[i] += static_cast<float>(0.3 * random.normal());
    }
  }
  return tensors;
}

inline Rows first_rows(int32_t count) {
  std::vector<int32_t> rows(static_cast<size_t>(count));
  std::iota(rows.begin(), rows.end(), 0);
  return std::make_shared<const std::vector<int32_t>>(std::move(rows));
}

inline nn::TensorMap copy_of(const nn::TensorMap& tensors) {
  nn::TensorMap copy;
  for (const auto& [name, tensor] : tensors) copy[name] = tensor.clone();
  return copy;
}

// The same names and the same values, bit for bit.
inline bool same(const nn::TensorMap& a, const nn::TensorMap& b) {
  if (a.size() != b.size()) return false;
  for (const auto& [name, tensor] : a) {
    if (!b.contains(name) || !at::equal(tensor, b.at(name))) return false;
  }
  return true;
}

// Sentences of a little language in which who does what follows a rule, so that a word is easy to
// guess from the words around it.
inline std::vector<std::string> tiny_texts(int64_t count) {
  const std::vector<std::vector<std::string>> groups{
      {"cats", "dogs", "cows", "birds"}, {"eat", "see", "hunt", "find"}, {"mice", "hay", "seeds"}};
  std::vector<std::string> texts;
  for (int64_t i = 0; i < count; ++i) {
    Random random(7, "test: tiny texts", static_cast<uint64_t>(i));
    std::string text;
    for (int sentence = 0; sentence < 3; ++sentence) {
      for (const auto& group : groups) text += group[random.below(group.size())] + " ";
      text += ". ";
    }
    texts.push_back(text);
  }
  return texts;
}

// A random base with a tokeniser for tiny_texts().
inline Base tiny_base(nn::Kind kind) {
  Base base;
  base.architecture = tiny_architecture(kind, 300);
  base.weights = std::make_shared<const nn::TensorMap>(tiny_weights(base.architecture));
  base.tokenizer = std::make_shared<data::BpeTokenizer>(data::train_bpe(
      tiny_texts(60), {.vocabulary = 300, .lowercase = true, .add_prefix_space = true}));
  base.origin = "test";
  return base;
}

}  // namespace fedclock::learning
