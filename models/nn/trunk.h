// A transformer's layers on rows without padding, forward and backward by hand: the fast path of
// training and evaluation. nn::Transformer computes the same with stock libtorch operators and is
// the reference in the tests.
//
// A layer is two blocks, attention and feed-forward, each h -> branch(h); then
//   sum = residual + branch(h),  normed = norm(sum),
// and the next block reads h = normed; its residual is `sum` where norms stand before the blocks
// and `normed` where they stand after. So both kinds of transformer are one chain, in which block
// i's norm is the next block's own (before) or its own (after).
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "models/nn/architecture.h"
#include "models/nn/arena.h"
#include "models/nn/group_adapters.h"
#include "models/nn/map_group.h"
#include "models/nn/passes.h"
#include "models/nn/rotary.h"
#include "models/nn/sequences.h"
#include "models/nn/tensor_map.h"

namespace fedclock::nn {

// Tokens of several rows, one row after another.
struct PackedRows {
  std::vector<int32_t> ids;         // [tokens]; below 0: of a soft prompt (soft_prompt.h)
  std::vector<int32_t> types;       // [tokens]; empty: all 0
  std::vector<int64_t> offsets{0};  // row r holds tokens offsets[r] to offsets[r + 1] - 1

  int64_t rows() const { return static_cast<int64_t>(offsets.size()) - 1; }
  int64_t tokens() const { return offsets.back(); }
  void add(std::span<const int32_t> row_ids, std::span<const int32_t> row_types);
};

// A base's frozen weights, laid out for the passes. Never changed; shared between threads.
class Trunk {
 public:
  // `weights` as in Transformer.
  Trunk(const Architecture& architecture, const TensorMap& weights,
        Precision precision = Precision::kFp32);

  // The same with other weights of the maps that `changed` names ("layers.3.q.weight"): of
  // `weights`, only the groups with one of these are read. All else is shared.
  Trunk with_maps(const TensorMap& weights, const std::set<std::string>& changed) const;

  const Architecture& architecture() const { return architecture_; }
  ConstMatrix output_embedding() const;  // [vocabulary, width]

 private:
  friend class TrunkPass;
  struct NormWeights {
    std::vector<float> weight, bias;
  };
  struct Embeddings {
    std::vector<float> token, position, type, output;  // the last of untied decoders only
  };
  using Group = std::shared_ptr<const MapGroup>;
  struct Layer {
    Group qkv, o, up, down;
  };
  NormParameters norm(const NormWeights& weights) const;
  NormParameters norm_after(int64_t block) const;

  Architecture architecture_;
  Precision precision_;
  std::shared_ptr<const Embeddings> embeddings_;
  NormWeights embedding_norm_;
  std::vector<NormWeights> norms_;  // of the chain: two a layer, and the final one (before)
  std::vector<Layer> layers_;
  RotaryAngles rope_;
};

// A trunk with one state's adapters, and the buffers of a pass. For one thread.
class TrunkPass {
 public:
  // Adapter tensors are read anew by each pass: they may change in place between passes. Both must
  // outlive this.
  TrunkPass(const Trunk& trunk, const AdapterSpec& spec, const TensorMap& tensors);

  // The residual stream [tokens, width] before layer `layer`. Valid until the next call of any
  // member but layers_above().
  Matrix layers_below(const PackedRows& rows, int64_t layer);
  // From there to the hidden states after the last layer and the final norm [tokens, width], valid
  // until the next pass. `stream` may lie anywhere. With `record` keeps what backward() needs.
  Matrix layers_above(const PackedRows& rows, int64_t layer, const Matrix& stream, bool record);
  // Both, without record.
  Matrix hidden(const PackedRows& rows);
  // The same of a decoder's tokens that follow those of `past`, row r the sequence r; they are
  // added there. A row may have none.
  Matrix onward(const PackedRows& rows, Sequences& past);

  // After layers_above() with record, and before backward(): sums over its tokens.
  void add_embedding_sums(EmbeddingSums& sums) const;

  // After layers_above() with record: the gradients of the adapter tensors that `gradients` has by
  // name, written or added there; goes no further down than the lowest of these. A soft prompt's
  // need a record from layer 0 on, and norms before the blocks. Overwrites
  // d_hidden [tokens, width] and the record. `balance` times the load-balance losses of all
  // mixtures of experts over these tokens are part of the loss.
  void backward(Matrix d_hidden, TensorMap& gradients, Onto gradients_onto = Onto::kNothing,
                double balance = 0);

  int64_t buffer_bytes() const { return arena_.bytes(); }

 private:
  struct LayerAdapters {
    GroupAdapters qkv, o, up, down;
  };
  // What a block's backward pass reads.
  struct AttentionTape {
    Matrix input, qkv, mixed;
    float* weights = nullptr;
    MixtureTape qkv_mixtures, o_mixtures;
  };
  struct FeedForwardTape {
    Matrix input, slopes, inner;
    MixtureTape up_mixtures, down_mixtures;
  };
  struct NormTape {
    Matrix sum;
    NormRows rows;
  };
  struct Tape {
    AttentionTape attention;
    FeedForwardTape feed_forward;
    NormTape after_attention, after_feed_forward;
  };

  struct Chain;
  // What a backward pass is for.
  struct Wanted {
    TensorMap& gradients;
    Onto onto;
    float balance;
  };

  void embed(const PackedRows& rows, Matrix stream);
  int64_t first_position(int64_t row) const { return past_ == nullptr ? 0 : past_->tokens(row); }
  void rotate(Matrix qkv, bool inverse) const;
  // Output without the bias of the last map.
  void attention_branch(int64_t layer, const Matrix& input, Matrix output, AttentionTape* tape);
  void feed_forward_branch(int64_t layer, const Matrix& input, Matrix output,
                           FeedForwardTape* tape);
  // `overwrite`: the stream itself becomes the residual. `below`, where there is one, keeps the
  // first norm's rows.
  Chain begin_chain(const Matrix& stream, int64_t layer, bool overwrite, NormTape* below);
  void run_layers(int64_t begin, int64_t end, Chain& chain, bool record);
  // Stop at `lowest_group` of the block, in forward order (0, 1); below 0: go all the way to
  // d_input, which a chain with norms after its blocks adds to.
  void attention_backward(int64_t layer, const Matrix& d_output, Matrix d_input,
                          int64_t lowest_group, const Wanted& wanted);
  void feed_forward_backward(int64_t layer, const Matrix& d_output, Matrix d_input,
                             int64_t lowest_group, const Wanted& wanted);
  Onto input_gradient_onto() const;

  void prompt_backward(const Matrix& d_stream, const Wanted& wanted) const;

  const Trunk& trunk_;
  const TensorMap& tensors_;
  const bool has_prompt_;
  std::vector<LayerAdapters> adapters_;
  at::Tensor prompt_;         // of the pass
  std::vector<int32_t> ids_;  // of a recorded pass with a prompt
  NormTape below_;            // likewise: the first norm's
  Arena arena_;
  Arena::Mark above_;             // where layers_above() begins to take
  std::vector<int64_t> offsets_;  // of the pass
  std::vector<Tape> tapes_;       // of layers first_recorded_ and up
  int64_t first_recorded_ = 0;
  Sequences* past_ = nullptr;  // of onward()
};

}  // namespace fedclock::nn
