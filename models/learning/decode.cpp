#include "models/learning/decode.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "models/common/error.h"
#include "models/learning/ensemble.h"
#include "models/learning/loss.h"
#include "models/nn/torch.h"

namespace fedclock::learning {

namespace {

// The rows that are written on.
struct Text {
  std::vector<int32_t> ids;
  size_t prompt_tokens = 0;
  bool open = true;  // not at its end
};

// A state's model, or both of an ensemble, with their weights. Scores being linear in the hidden
// states, and of one output embedding, those of the ensemble are those of the weighted states.
struct Weighted {
  nn::TensorMap tensors;
  float weight;
};
std::vector<Weighted> models_of(const nn::TensorMap& state) {
  const std::optional<float> weight = private_weight(state);
  if (!weight) return {{state, 1}};
  return {{member_of(state, Member::kShared), 1 - *weight},
          {member_of(state, Member::kPrivate), *weight}};
}

// With kept keys and values: every token goes through the layers once.
class FastDecoder {
 public:
  FastDecoder(const LearningTask& task, const nn::TensorMap& state, size_t count,
              int64_t vocabulary)
      : trunk_(*task.trunk), vocabulary_(vocabulary), weighted_(models_of(state)) {
    for (const Weighted& one : weighted_) {
      models_.push_back(std::make_unique<Model>(task, one.tensors, static_cast<int64_t>(count)));
    }
  }

  int64_t buffer_bytes() const {
    int64_t bytes = arena_.bytes();
    for (const auto& model : models_) bytes += model->pass.buffer_bytes() + model->past.bytes();
    return bytes;
  }

  // The most likely next token of each open text; the others' are no matter.
  std::vector<int32_t> next(const std::vector<Text>& texts) {
    nn::PackedRows rows;
    for (size_t i = 0; i < texts.size(); ++i) {
      const auto seen = static_cast<size_t>(models_.front()->past.tokens(static_cast<int64_t>(i)));
      const auto unseen =
          texts[i].open ? std::span(texts[i].ids).subspan(seen) : std::span<const int32_t>();
      rows.add(unseen, std::vector<int32_t>(unseen.size(), 0));
    }
    arena_.rewind({});
    int64_t open = 0;
    for (const Text& text : texts) open += text.open;
    const nn::Matrix states = arena_.matrix(open, trunk_.architecture().width);
    std::fill_n(states.data, open * states.columns, 0.0F);
    for (size_t model = 0; model < models_.size(); ++model) {
      const nn::Matrix hidden = models_[model]->pass.onward(rows, models_[model]->past);
      int64_t row = 0;
      for (size_t i = 0; i < texts.size(); ++i) {
        if (!texts[i].open) continue;
        const nn::Matrix last = hidden.row_range(rows.offsets[i + 1] - 1, 1);
        float* to = states.row_range(row++, 1).data;
        for (int64_t k = 0; k < states.columns; ++k) {
          to[k] += weighted_[model].weight * last.data[k];
        }
      }
    }
    nn::ConstMatrix embedding = trunk_.output_embedding();  // [vocabulary, width]
    embedding.rows = vocabulary_;
    const nn::Matrix scores = arena_.matrix(open, embedding.rows);
    multiply(states, embedding.t(), scores);
    std::vector<int32_t> best(texts.size(), 0);
    int64_t row = 0;
    for (size_t i = 0; i < texts.size(); ++i) {
      if (!texts[i].open) continue;
      const float* of_row = scores.row_range(row++, 1).data;
      best[i] = static_cast<int32_t>(std::max_element(of_row, of_row + scores.columns) - of_row);
    }
    return best;
  }

 private:
  struct Model {
    Model(const LearningTask& task, const nn::TensorMap& tensors, int64_t count)
        : pass(*task.trunk, task.adapter, tensors), past(task.architecture(), count) {}
    nn::TrunkPass pass;
    nn::Sequences past;
  };

  const nn::Trunk& trunk_;
  const int64_t vocabulary_;
  const std::vector<Weighted> weighted_;
  std::vector<std::unique_ptr<Model>> models_;
  nn::Arena arena_;
};

// By stock operators, each text as a whole for each of its tokens.
class ReferenceDecoder {
 public:
  ReferenceDecoder(const LearningTask& task, const nn::TensorMap& state, int64_t vocabulary)
      : task_(task), vocabulary_(vocabulary) {
    for (const auto& [tensors, weight] : models_of(state)) {
      adapters_.emplace_back(task.architecture(), task.adapter, moved(task, tensors));
      weights_.push_back(weight);
    }
  }

  std::vector<int32_t> next(const std::vector<Text>& texts) {
    at::NoGradGuard no_gradients;
    std::vector<int32_t> best(texts.size(), 0);
    for (size_t i = 0; i < texts.size(); ++i) {
      if (!texts[i].open) continue;
      EncodedRow row;
      row.ids = texts[i].ids;
      row.types.assign(row.ids.size(), 0);
      const std::vector<const EncodedRow*> one{&row};
      const nn::Batch batch = make_batch(one, task_.pad).to(task_.base->device());
      at::Tensor last = at::zeros({1, task_.architecture().width}, task_.base->device());
      for (size_t model = 0; model < adapters_.size(); ++model) {
        const at::Tensor hidden = task_.base->hidden(batch, adapters_[model]);
        last = last + weights_[model] * hidden.select(0, 0).narrow(0, hidden.size(1) - 1, 1);
      }
      const at::Tensor scores = task_.base->vocabulary_scores(last);
      best[i] = static_cast<int32_t>(scores.narrow(1, 0, vocabulary_).argmax(1).item<int64_t>());
    }
    return best;
  }

 private:
  static nn::TensorMap moved(const LearningTask& task, const nn::TensorMap& state) {
    nn::TensorMap tensors;
    for (const auto& [name, tensor] : state) tensors[name] = tensor.to(task.base->device());
    return tensors;
  }

  const LearningTask& task_;
  const int64_t vocabulary_;
  std::vector<nn::Adapters> adapters_;
  std::vector<float> weights_;
};

}  // namespace

Decoded decode_greedily(const LearningTask& task, const nn::TensorMap& state,
                        std::span<const EncodedRow* const> rows, const Decoding& how) {
  const auto longest = static_cast<size_t>(task.architecture().max_tokens);
  ensure(how.vocabulary >= 1 && how.vocabulary <= task.architecture().vocabulary,
         "a tokeniser of another model");
  std::vector<Text> texts;
  for (const EncodedRow* row : rows) {
    ensure(row->response_begin >= 1, "a row without a prompt to go on from");
    const auto prompt = static_cast<size_t>(row->response_begin);
    ensure(prompt < longest && how.most_tokens > 0, "no room for a response");
    texts.push_back({{row->ids.begin(), row->ids.begin() + row->response_begin}, prompt});
  }
  const auto is_open = [](const Text& text) { return text.open; };
  std::optional<FastDecoder> fast;
  std::optional<ReferenceDecoder> reference;
  if (task.trunk) {
    fast.emplace(task, state, texts.size(), how.vocabulary);
  } else {
    reference.emplace(task, state, how.vocabulary);
  }
  while (std::ranges::any_of(texts, is_open)) {
    const std::vector<int32_t> next = fast ? fast->next(texts) : reference->next(texts);
    for (size_t i = 0; i < texts.size(); ++i) {
      Text& text = texts[i];
      if (!text.open) continue;
      if (next[i] != how.end) text.ids.push_back(next[i]);
      const auto written = static_cast<int64_t>(text.ids.size() - text.prompt_tokens);
      text.open = next[i] != how.end && written < how.most_tokens && text.ids.size() < longest;
    }
  }
  Decoded decoded;
  if (fast) decoded.buffer_bytes = fast->buffer_bytes();
  for (const Text& text : texts) {
    decoded.written.emplace_back(text.ids.begin() + static_cast<std::ptrdiff_t>(text.prompt_tokens),
                                 text.ids.end());
  }
  return decoded;
}

}  // namespace fedclock::learning
