// Mixtures of LoRA experts on the maps of a group, beside the plain adapter, which is the expert
// that all tokens share (FedAMoLE, 2411.19128). Of a token x, over the client's own experts i of a
// map:
//   e_i = A_i x,  t = W_p x,  s_i = <e_i, t> / sqrt(rank),  p = softmax(s),
//   w = p over its `top_experts` largest, renormalised, 0 elsewhere,
//   y += (alpha / rank) sum_i w_i B_i e_i,
// or with a linear router s = W x, which may have several scores for one expert (Router): its
// weight is then their weights' sum; and of n experts, over the tokens of a pass, the load-balance
// loss
//   n sum_i P_i f_i,  P_i = mean p_i,  f_i = the share of choices that fell on i (no gradient).
// Every token has all e_i, for its scores: A and W_p of all maps of a group are one product each
// way. B_i meets the tokens that chose i alone (mixture_passes.h).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "models/nn/architecture.h"
#include "models/nn/arena.h"
#include "models/nn/map_group.h"
#include "models/nn/matrix.h"
#include "models/nn/mixture_passes.h"
#include "models/nn/tensor_map.h"

namespace fedclock::nn {

// What the backward pass over n tokens reads, in the arena of the forward pass.
struct MixtureTape {
  struct Routing {
    Matrix p, taken;  // [n, scores]: the softmax, and of those taken their weights
    Matrix weights;   // [n, experts]
    // The tokens that chose expert 0, ascending, those that chose expert 1, and so on; expert i's
    // are from begins[i] to before begins[i + 1].
    std::vector<int32_t> tokens;
    std::vector<int64_t> begins;  // [experts + 1]
    Matrix mixed;                 // (alpha / rank) w_i e_i of these [tokens, rank]

    TokenList tokens_of(int64_t expert) const;
    Matrix of_tokens(const Matrix& rows, int64_t expert) const;  // rows of tokens_of(expert)
  };
  // e of all experts, then t, or s of a linear router, map by map [n, columns]
  Matrix low;
  std::vector<Routing> routings;  // of each map with experts
};

// Of each module with experts: e_i of the experts, ascending, then t, [rank] each.
using EmbeddingSums = std::map<Module, std::vector<double>>;

class GroupMixtures {
 public:
  // Looks up experts and routers (adapters.h) among `tensors`, which must outlive this.
  GroupMixtures(const MapGroup& group, const AdapterSpec& spec, const TensorMap& tensors);

  bool empty() const { return mixtures_.empty(); }
  // Whether `gradients` has one of its tensors by name.
  bool wants(const TensorMap& gradients) const;

  // y [n, out] += the mixtures of x [n, in]; with a tape, keeps what backward() reads.
  void forward(const Matrix& x, Matrix y, Arena& arena, MixtureTape* tape) const;

  // Of a forward pass: the sums over its tokens of the experts' embeddings e_i and of t, map by
  // map, [rank] each.
  void add_embedding_sums(const MixtureTape& tape, EmbeddingSums& sums) const;

  // The gradients of those tensors that `gradients` has by name, written or added there, of the
  // loss plus `balance` times the load-balance loss; tape.low becomes its own gradient.
  void backward(const Matrix& x, const Matrix& d_y, float balance, TensorMap& gradients, Onto onto,
                MixtureTape& tape, Arena& arena) const;
  // d_x += the gradient of the input, after backward().
  void add_input_gradient(const MixtureTape& tape, Matrix d_x, Arena& arena) const;

 private:
  struct Expert {
    std::string name_a, name_b;
    Matrix a, b;  // [rank, in], [out of the map, rank]
  };
  struct Mixture {
    Module module;
    MapGroup::Map map;
    std::vector<Expert> experts;
    std::string router_name;
    Matrix router;      // [rank, in], or [scores, in] of a linear one
    int64_t first = 0;  // its columns of `low`: the experts', then the router's

    int64_t size() const { return static_cast<int64_t>(experts.size()); }
    int64_t rank() const { return experts.front().a.rows; }
    int64_t columns() const { return size() * rank() + router.rows; }
  };

  Matrix all_low_weights(Arena& arena) const;  // A and W_p [columns, in]
  MixtureTape::Routing route(const Mixture& mixture, const Matrix& low, Arena& arena) const;
  void b_gradients(const Mixture& mixture, const MixtureTape::Routing& routing, const Matrix& d_y,
                   TensorMap& gradients, Onto onto, Arena& arena) const;
  void low_gradient(const Mixture& mixture, const MixtureTape::Routing& routing, const Matrix& d_y,
                    float balance, const Matrix& low, Arena& arena) const;
  void low_weight_gradients(const Matrix& x, const Matrix& d_low, TensorMap& gradients, Onto onto,
                            Arena& arena) const;

  float scale_;
  int64_t top_experts_;
  Router router_;
  int64_t in_;
  std::vector<Mixture> mixtures_;
  int64_t columns_ = 0;  // of `low`
};

}  // namespace fedclock::nn
