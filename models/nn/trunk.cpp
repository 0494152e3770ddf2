#include "models/nn/trunk.h"

#include <algorithm>

#include "models/common/error.h"
#include "models/nn/attention.h"
#include "models/nn/rotary.h"
#include "models/nn/soft_prompt.h"
#include "models/nn/torch.h"
#include "models/nn/transformer.h"

namespace fedclock::nn {

namespace {

std::vector<float> values_of(const TensorMap& weights, const std::string& name) {
  const auto found = weights.find(name);
  if (found == weights.end()) return {};
  const at::Tensor tensor = found->second.contiguous();
  return {tensor.data_ptr<float>(), tensor.data_ptr<float>() + tensor.numel()};
}

const float* data_or_null(const std::vector<float>& values) {
  return values.empty() ? nullptr : values.data();
}

}  // namespace

void PackedRows::add(std::span<const int32_t> row_ids, std::span<const int32_t> row_types) {
  ids.insert(ids.end(), row_ids.begin(), row_ids.end());
  types.insert(types.end(), row_types.begin(), row_types.end());
  offsets.push_back(static_cast<int64_t>(ids.size()));
}

Trunk::Trunk(const Architecture& architecture, const TensorMap& weights, Precision precision)
    : architecture_(architecture), precision_(precision) {
  check_weights(architecture, weights);
  const Architecture& a = architecture_;
  const auto norm_weights = [&](const std::string& name) {
    return NormWeights{values_of(weights, name + ".weight"), values_of(weights, name + ".bias")};
  };
  const bool untied = a.kind == Kind::kDecoder && !a.tied_head;
  embeddings_ = std::make_shared<const Embeddings>(
      Embeddings{values_of(weights, "embeddings.token"), values_of(weights, "embeddings.position"),
                 values_of(weights, "embeddings.type"),
                 untied ? values_of(weights, "lm_head.weight") : std::vector<float>()});
  embedding_norm_ = norm_weights("embeddings.norm");
  for (int64_t layer = 0; layer < a.layers; ++layer) {
    using enum Target;
    const auto group = [&](std::vector<Target> targets) {
      return std::make_shared<const MapGroup>(a, layer, std::move(targets), weights, precision);
    };
    layers_.push_back({group({kQ, kK, kV}), group({kO}), group({kUp, kGate}), group({kDown})});
    norms_.push_back(norm_weights(layer_tensor(layer, "attention_norm")));
    norms_.push_back(norm_weights(layer_tensor(layer, "ffn_norm")));
  }
  if (a.norm_place == NormPlace::kBeforeBlock) norms_.push_back(norm_weights("final_norm"));
  if (a.positions == Positions::kRotary) rope_ = rotary_angles(a);
}

Trunk Trunk::with_maps(const TensorMap& weights, const std::set<std::string>& changed) const {
  Trunk other = *this;
  const auto replace = [&](Group& group) {
    std::vector<Target> targets;
    bool stays = true;
    for (const MapGroup::Map& map : group->maps()) {
      targets.push_back(map.target);
      const std::string name = layer_tensor(group->layer(), target_name(map.target));
      stays = stays && !changed.contains(name + ".weight");
    }
    if (stays) return;
    group = std::make_shared<const MapGroup>(architecture_, group->layer(), std::move(targets),
                                             weights, precision_);
  };
  for (Layer& layer : other.layers_) {
    for (Group* group : {&layer.qkv, &layer.o, &layer.up, &layer.down}) replace(*group);
  }
  return other;
}

ConstMatrix Trunk::output_embedding() const {
  const auto& table = embeddings_->output.empty() ? embeddings_->token : embeddings_->output;
  return {table.data(), architecture_.vocabulary, architecture_.width, architecture_.width, false};
}

NormParameters Trunk::norm(const NormWeights& weights) const {
  return {architecture_.norm, static_cast<float>(architecture_.norm_epsilon),
          data_or_null(weights.weight), data_or_null(weights.bias)};
}

// The norm after a block, numbered through all layers: two a layer.
NormParameters Trunk::norm_after(int64_t block) const {
  return norm(norms_[architecture_.norm_place == NormPlace::kBeforeBlock ? block + 1 : block]);
}

TrunkPass::TrunkPass(const Trunk& trunk, const AdapterSpec& spec, const TensorMap& tensors)
    : trunk_(trunk), tensors_(tensors), has_prompt_(has_prompt(tensors)) {
  for (const Trunk::Layer& layer : trunk.layers_) {
    adapters_.push_back(
        {GroupAdapters(*layer.qkv, spec, tensors), GroupAdapters(*layer.o, spec, tensors),
         GroupAdapters(*layer.up, spec, tensors), GroupAdapters(*layer.down, spec, tensors)});
  }
  tapes_.resize(trunk.layers_.size());
}

void TrunkPass::embed(const PackedRows& rows, Matrix stream) {
  const Architecture& a = trunk_.architecture_;
  const Trunk::Embeddings& tables = *trunk_.embeddings_;
  if (has_prompt_) prompt_ = soft_prompt(tensors_).detach();
  const int64_t virtual_tokens = prompt_.defined() ? prompt_.size(0) : 0;
  for (int64_t r = 0; r < rows.rows(); ++r) {
    const int64_t begin = rows.offsets[r], tokens = rows.offsets[r + 1] - begin;
    const int64_t before = first_position(r);
    if (before + tokens < 1 || before + tokens > a.max_tokens) {
      throw ProgrammerError("a row of " + std::to_string(before + tokens) +
                            " tokens, where the model reads 1 to " + std::to_string(a.max_tokens));
    }
    for (int64_t t = 0; t < tokens; ++t) {
      const int32_t id = rows.ids[begin + t];
      if (id < -virtual_tokens || id >= a.vocabulary) {
        throw ProgrammerError("token " + std::to_string(id) + " of a vocabulary of " +
                              std::to_string(a.vocabulary));
      }
      float* x = stream.data + (begin + t) * a.width;
      const float* from = id < 0 ? prompt_.data_ptr<float>() + prompt_row(id) * a.width
                                 : tables.token.data() + id * a.width;
      std::copy_n(from, a.width, x);
      if (a.positions == Positions::kLearned) {
        add_bias(1, a.width, tables.position.data() + (a.position_offset + before + t) * a.width,
                 x);
      }
      if (a.token_types > 0) {
        const int64_t type = rows.types.empty() ? 0 : rows.types[begin + t];
        ensure(type >= 0 && type < a.token_types, "a token of a type that the model does not have");
        add_bias(1, a.width, tables.type.data() + type * a.width, x);
      }
    }
  }
  if (a.embedding_norm) {
    residual_norm(trunk_.norm(trunk_.embedding_norm_), stream.rows, a.width, stream.data, nullptr,
                  nullptr, nullptr, stream.data, {});
  }
}

void TrunkPass::rotate(Matrix qkv, bool inverse) const {
  const Architecture& a = trunk_.architecture_;
  for (size_t r = 0; r + 1 < offsets_.size(); ++r) {
    const int64_t skipped = first_position(static_cast<int64_t>(r)) * a.head_width / 2;
    rotate_heads(offsets_[r + 1] - offsets_[r], a.heads + a.kv_heads, a.head_width, qkv.stride,
                 trunk_.rope_.cos.data() + skipped, trunk_.rope_.sin.data() + skipped, inverse,
                 qkv.row_range(offsets_[r], 0).data);
  }
}

void TrunkPass::attention_branch(int64_t layer, const Matrix& input, Matrix output,
                                 AttentionTape* tape) {
  const Architecture& a = trunk_.architecture_;
  const Trunk::Layer& frozen = trunk_.layers_[layer];
  const LayerAdapters& adapters = adapters_[layer];
  const Matrix qkv = arena_.matrix(input.rows, frozen.qkv->out());
  adapters.qkv.forward(input, qkv, arena_, tape == nullptr ? nullptr : &tape->qkv_mixtures);
  if (frozen.qkv->bias() != nullptr) add_bias(qkv.rows, qkv.columns, frozen.qkv->bias(), qkv.data);
  if (a.positions == Positions::kRotary) rotate(qkv, false);
  const Matrix mixed = arena_.matrix(input.rows, frozen.o->in());
  float* weights = tape == nullptr ? nullptr : arena_.take(attention_weights_size(a, offsets_));
  if (past_ != nullptr) {
    attention_onward(a, offsets_, layer, qkv, mixed, *past_, arena_);
  } else {
    attention(a, offsets_, qkv, mixed, weights, arena_);
  }
  adapters.o.forward(mixed, output, arena_, tape == nullptr ? nullptr : &tape->o_mixtures);
  if (tape == nullptr) return;
  tape->input = input;
  tape->qkv = qkv;
  tape->mixed = mixed;
  tape->weights = weights;
}

void TrunkPass::feed_forward_branch(int64_t layer, const Matrix& input, Matrix output,
                                    FeedForwardTape* tape) {
  const Architecture& a = trunk_.architecture_;
  const Trunk::Layer& frozen = trunk_.layers_[layer];
  const LayerAdapters& adapters = adapters_[layer];
  const Matrix up = arena_.matrix(input.rows, frozen.up->out());
  adapters.up.forward(input, up, arena_, tape == nullptr ? nullptr : &tape->up_mixtures);
  const Matrix inner = arena_.matrix(input.rows, a.ffn_width);
  activation(a.activation, input.rows, a.ffn_width, frozen.up->bias(), up.data, inner.data,
             /*keep_slopes=*/tape != nullptr);
  adapters.down.forward(inner, output, arena_, tape == nullptr ? nullptr : &tape->down_mixtures);
  if (tape == nullptr) return;
  tape->input = input;
  tape->slopes = up;
  tape->inner = inner;
}

// What goes from block to block.
struct TrunkPass::Chain {
  Matrix residual, normed;
};

void TrunkPass::run_layers(int64_t begin, int64_t end, Chain& chain, bool record) {
  const Architecture& a = trunk_.architecture_;
  const bool before = a.norm_place == NormPlace::kBeforeBlock;
  const int64_t n = chain.normed.rows;
  // Without record all layers share these, and what the branches take.
  const Matrix shared_output = record ? Matrix() : arena_.matrix(n, a.width);
  for (int64_t block = 2 * begin; block < 2 * end; ++block) {
    const int64_t layer = block / 2;
    const bool of_attention = block % 2 == 0;
    Tape* tape = record ? &tapes_[layer] : nullptr;
    const Arena::Mark mark = arena_.mark();
    const Matrix output = record ? arena_.matrix(n, a.width) : shared_output;
    if (of_attention) {
      attention_branch(layer, chain.normed, output, record ? &tape->attention : nullptr);
    } else {
      feed_forward_branch(layer, chain.normed, output, record ? &tape->feed_forward : nullptr);
    }
    if (!record) arena_.rewind(mark);
    const Trunk::Layer& frozen = trunk_.layers_[layer];
    const float* bias = (of_attention ? frozen.o : frozen.down)->bias();
    const Matrix normed = record ? arena_.matrix(n, a.width) : chain.normed;
    const Matrix sum = record ? output : chain.residual;
    NormRows rows;
    if (record) rows = {arena_.take(n), arena_.take(n)};
    residual_norm(trunk_.norm_after(block), n, a.width, chain.residual.data, output.data, bias,
                  record || before ? sum.data : nullptr, normed.data, rows);
    if (record) (of_attention ? tape->after_attention : tape->after_feed_forward) = {sum, rows};
    chain.normed = normed;
    chain.residual = before ? sum : normed;
  }
}

Matrix TrunkPass::layers_below(const PackedRows& rows, int64_t layer) {
  const Architecture& a = trunk_.architecture_;
  offsets_ = rows.offsets;
  arena_.rewind({});
  const Matrix stream = arena_.matrix(rows.tokens(), a.width);
  above_ = arena_.mark();
  embed(rows, stream);
  if (layer == 0) return stream;
  Chain chain = begin_chain(stream, 0, /*overwrite=*/true, nullptr);
  run_layers(0, layer, chain, /*record=*/false);
  return stream;
}

TrunkPass::Chain TrunkPass::begin_chain(const Matrix& stream, int64_t layer, bool overwrite,
                                        NormTape* below) {
  const Architecture& a = trunk_.architecture_;
  if (a.norm_place == NormPlace::kAfterBlock) {
    if (overwrite) return {stream, stream};
    const Matrix copy = arena_.matrix(stream.rows, a.width);
    std::copy_n(stream.data, stream.rows * a.width, copy.data);
    return {copy, copy};
  }
  const Matrix normed = arena_.matrix(stream.rows, a.width);
  Matrix residual = stream;
  if (!overwrite) {
    residual = arena_.matrix(stream.rows, a.width);
    std::copy_n(stream.data, stream.rows * a.width, residual.data);
  }
  NormRows rows;
  if (below != nullptr) rows = {arena_.take(stream.rows), arena_.take(stream.rows)};
  residual_norm(trunk_.norm(trunk_.norms_[2 * layer]), stream.rows, a.width, stream.data, nullptr,
                nullptr, nullptr, normed.data, rows);
  if (below != nullptr) *below = {residual, rows};
  return {residual, normed};
}

Matrix TrunkPass::layers_above(const PackedRows& rows, int64_t layer, const Matrix& stream,
                               bool record) {
  ensure(stream.rows == rows.tokens(), "a stream of other rows");
  offsets_ = rows.offsets;
  arena_.rewind(above_);
  first_recorded_ = layer;
  const bool of_prompt = record && has_prompt_;
  if (of_prompt) ids_ = rows.ids;
  Chain chain = begin_chain(stream, layer, /*overwrite=*/false, of_prompt ? &below_ : nullptr);
  run_layers(layer, trunk_.architecture_.layers, chain, record);
  return chain.normed;
}

Matrix TrunkPass::hidden(const PackedRows& rows) {
  return layers_above(rows, 0, layers_below(rows, 0), /*record=*/false);
}

Matrix TrunkPass::onward(const PackedRows& rows, Sequences& past) {
  ensure(rows.rows() == past.count(), "rows of other sequences");
  struct Forget {
    Sequences*& past;
    ~Forget() { past = nullptr; }
  } forget{past_};
  past_ = &past;
  const Matrix states = hidden(rows);
  past.end_pass(rows.offsets);
  return states;
}

void TrunkPass::add_embedding_sums(EmbeddingSums& sums) const {
  for (size_t layer = static_cast<size_t>(first_recorded_); layer < tapes_.size(); ++layer) {
    const LayerAdapters& of = adapters_[layer];
    const AttentionTape& attention = tapes_[layer].attention;
    const FeedForwardTape& feed_forward = tapes_[layer].feed_forward;
    of.qkv.mixtures().add_embedding_sums(attention.qkv_mixtures, sums);
    of.o.mixtures().add_embedding_sums(attention.o_mixtures, sums);
    of.up.mixtures().add_embedding_sums(feed_forward.up_mixtures, sums);
    of.down.mixtures().add_embedding_sums(feed_forward.down_mixtures, sums);
  }
}

namespace {

// Where the lowest wanted gradient is: no pass goes further down than that. Groups of a layer are
// numbered in forward order.
struct Lowest {
  int64_t layer = -1, group = 0;
};

}  // namespace

void TrunkPass::backward(Matrix d_hidden, TensorMap& gradients, Onto gradients_onto,
                         double balance) {
  const Wanted wanted{gradients, gradients_onto, static_cast<float>(balance)};
  const Architecture& a = trunk_.architecture_;
  const bool before = a.norm_place == NormPlace::kBeforeBlock;
  Lowest lowest;
  for (int64_t layer = a.layers - 1; layer >= 0; --layer) {
    const LayerAdapters& of = adapters_[layer];
    const GroupAdapters* groups[] = {&of.qkv, &of.o, &of.up, &of.down};
    for (int64_t group = 3; group >= 0; --group) {
      if (groups[group]->wants(gradients)) lowest = {layer, group};
    }
  }
  const bool of_prompt = has_prompt(gradients);
  if (of_prompt) lowest = {0, -1};
  if (lowest.layer < 0) return;
  ensure(before || !of_prompt, "a soft prompt under norms after the blocks");
  ensure(lowest.layer >= first_recorded_, "a gradient is wanted below what was recorded");
  const Arena::Mark mark = arena_.mark();
  const Matrix d_normed = d_hidden;
  const Matrix d_sum = before ? arena_.matrix(d_hidden.rows, a.width) : d_hidden;
  const float* d_residual = nullptr;  // known from the second block on
  for (int64_t block = 2 * a.layers - 1; block >= 2 * lowest.layer; --block) {
    const int64_t layer = block / 2;
    const bool of_attention = block % 2 == 0;
    const Tape& tape = tapes_[layer];
    const NormTape& norm = of_attention ? tape.after_attention : tape.after_feed_forward;
    norm_backward(trunk_.norm_after(block), d_hidden.rows, a.width, norm.sum.data, norm.rows,
                  d_normed.data, d_residual, d_sum.data);
    const int64_t stop = layer == lowest.layer ? lowest.group : -1;
    const Arena::Mark scratch = arena_.mark();
    if (of_attention) {
      attention_backward(layer, d_sum, d_normed, stop, wanted);
    } else {
      feed_forward_backward(layer, d_sum, d_normed, stop - 2, wanted);
      if (stop >= 2) break;
    }
    arena_.rewind(scratch);
    if (before) d_residual = d_sum.data;
  }
  if (of_prompt) {
    norm_backward(trunk_.norm(trunk_.norms_.front()), d_hidden.rows, a.width, below_.sum.data,
                  below_.rows, d_normed.data, d_residual, d_sum.data);
    prompt_backward(d_sum, wanted);
  }
  arena_.rewind(mark);
}

// From the gradient of the residual stream before the first layer.
void TrunkPass::prompt_backward(const Matrix& d_stream, const Wanted& wanted) const {
  ensure(prompt_.defined() && !trunk_.architecture_.embedding_norm,
         "a soft prompt's gradient where there is none, or under a norm of the embeddings");
  const at::Tensor d_prompt = at::zeros(prompt_.sizes(), at::kFloat);
  for (size_t t = 0; t < ids_.size(); ++t) {
    if (ids_[t] >= 0) continue;
    add_bias(1, d_stream.columns, d_stream.row_range(static_cast<int64_t>(t), 1).data,
             d_prompt.data_ptr<float>() + prompt_row(ids_[t]) * d_stream.columns);
  }
  prompt_gradients(tensors_, d_prompt, wanted.gradients, wanted.onto);
}

Onto TrunkPass::input_gradient_onto() const {
  return trunk_.architecture_.norm_place == NormPlace::kBeforeBlock ? Onto::kNothing
                                                                    : Onto::kItself;
}

void TrunkPass::feed_forward_backward(int64_t layer, const Matrix& d_output, Matrix d_input,
                                      int64_t lowest_group, const Wanted& wanted) {
  const auto& [gradients, onto, balance] = wanted;
  const Architecture& a = trunk_.architecture_;
  FeedForwardTape& tape = tapes_[layer].feed_forward;
  const LayerAdapters& adapters = adapters_[layer];
  adapters.down.adapter_gradients(tape.inner, d_output, balance, gradients, onto,
                                  tape.down_mixtures, arena_);
  if (lowest_group == 1) return;
  const Matrix d_inner = arena_.matrix(d_output.rows, a.ffn_width);
  adapters.down.input_gradient(d_output, d_inner, Onto::kNothing, tape.down_mixtures, arena_);
  const Matrix& d_up = tape.slopes;  // becomes the gradient in place
  activation_backward(d_up.rows, a.ffn_width, d_up.columns / a.ffn_width, d_inner.data, d_up.data);
  adapters.up.adapter_gradients(tape.input, d_up, balance, gradients, onto, tape.up_mixtures,
                                arena_);
  if (lowest_group == 0) return;
  adapters.up.input_gradient(d_up, d_input, input_gradient_onto(), tape.up_mixtures, arena_);
}

void TrunkPass::attention_backward(int64_t layer, const Matrix& d_output, Matrix d_input,
                                   int64_t lowest_group, const Wanted& wanted) {
  const auto& [gradients, onto, balance] = wanted;
  const Architecture& a = trunk_.architecture_;
  AttentionTape& tape = tapes_[layer].attention;
  const LayerAdapters& adapters = adapters_[layer];
  adapters.o.adapter_gradients(tape.mixed, d_output, balance, gradients, onto, tape.o_mixtures,
                               arena_);
  if (lowest_group == 1) return;
  const Matrix d_mixed = arena_.matrix(d_output.rows, tape.mixed.columns);
  adapters.o.input_gradient(d_output, d_mixed, Onto::kNothing, tape.o_mixtures, arena_);
  const Matrix d_qkv = arena_.matrix(d_output.rows, tape.qkv.columns);
  nn::attention_backward(a, offsets_, tape.qkv, tape.weights, d_mixed, d_qkv, arena_);
  if (a.positions == Positions::kRotary) rotate(d_qkv, true);
  adapters.qkv.adapter_gradients(tape.input, d_qkv, balance, gradients, onto, tape.qkv_mixtures,
                                 arena_);
  if (lowest_group == 0) return;
  adapters.qkv.input_gradient(d_qkv, d_input, input_gradient_onto(), tape.qkv_mixtures, arena_);
}

}  // namespace fedclock::nn
