#include "models/learning/decode.h"

#include <algorithm>
#include <optional>

#include "models/common/error.h"
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

// With kept keys and values: every token goes through the layers once.
class FastDecoder {
 public:
  FastDecoder(const LearningTask& task, const nn::TensorMap& state, size_t count,
              int64_t vocabulary)
      : trunk_(*task.trunk),
        vocabulary_(vocabulary),
        pass_(trunk_, task.adapter, state),
        past_(trunk_.architecture(), static_cast<int64_t>(count)) {}

  int64_t buffer_bytes() const { return pass_.buffer_bytes() + arena_.bytes() + past_.bytes(); }

  // The most likely next token of each open text; the others' are no matter.
  std::vector<int32_t> next(const std::vector<Text>& texts) {
    nn::PackedRows rows;
    for (size_t i = 0; i < texts.size(); ++i) {
      const auto seen = static_cast<size_t>(past_.tokens(static_cast<int64_t>(i)));
      const auto unseen =
          texts[i].open ? std::span(texts[i].ids).subspan(seen) : std::span<const int32_t>();
      rows.add(unseen, std::vector<int32_t>(unseen.size(), 0));
    }
    const nn::Matrix hidden = pass_.onward(rows, past_);
    arena_.rewind({});
    int64_t open = 0;
    for (const Text& text : texts) open += text.open;
    const nn::Matrix states = arena_.matrix(open, hidden.columns);
    int64_t row = 0;
    for (size_t i = 0; i < texts.size(); ++i) {
      if (!texts[i].open) continue;
      const nn::Matrix last = hidden.row_range(rows.offsets[i + 1] - 1, 1);
      std::copy_n(last.data, hidden.columns, states.row_range(row++, 1).data);
    }
    nn::ConstMatrix embedding = trunk_.output_embedding();  // [vocabulary, width]
    embedding.rows = vocabulary_;
    const nn::Matrix scores = arena_.matrix(open, embedding.rows);
    multiply(states, embedding.t(), scores);
    std::vector<int32_t> best(texts.size(), 0);
    row = 0;
    for (size_t i = 0; i < texts.size(); ++i) {
      if (!texts[i].open) continue;
      const float* of_row = scores.row_range(row++, 1).data;
      best[i] = static_cast<int32_t>(std::max_element(of_row, of_row + scores.columns) - of_row);
    }
    return best;
  }

 private:
  const nn::Trunk& trunk_;
  const int64_t vocabulary_;
  nn::TrunkPass pass_;
  nn::Sequences past_;
  nn::Arena arena_;
};

// By stock operators, each text as a whole for each of its tokens.
class ReferenceDecoder {
 public:
  ReferenceDecoder(const LearningTask& task, const nn::TensorMap& state, int64_t vocabulary)
      : task_(task),
        vocabulary_(vocabulary),
        adapters_(task.architecture(), task.adapter, moved(task, state)) {}

  std::vector<int32_t> next(const std::vector<Text>& texts) {
    at::NoGradGuard no_gradients;
    std::vector<int32_t> best(texts.size(), 0);
    for (size_t i = 0; i < texts.size(); ++i) {
      if (!texts[i].open) continue;
      EncodedRow row;
      row.ids = texts[i].ids;
      row.types.assign(row.ids.size(), 0);
      const std::vector<const EncodedRow*> one{&row};
      const at::Tensor hidden =
          task_.base->hidden(make_batch(one, task_.pad).to(task_.base->device()), adapters_);
      const at::Tensor scores =
          task_.base->vocabulary_scores(hidden.select(0, 0).narrow(0, hidden.size(1) - 1, 1));
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
  nn::Adapters adapters_;
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
