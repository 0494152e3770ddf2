// The arithmetic that federated methods ask for, on states: adapters
//   "layers.N.<target>.lora_a" [rank, in], "layers.N.<target>.lora_b" [out, rank],
// experts and routers (models/nn/adapters.h), the private model of an ensemble (ensemble.h),
// a soft prompt's tensors (nn::prompt_shapes), which are treated as the head is,
// the head "head.weight" [classes, width], "head.bias" [classes], and what was merged into the base
// for good, "layers.N.<target>.merged" [out, in], which is added to the frozen weight. Ranks may
// differ between layers and between states; the scale of all of them is alpha / rank of the
// scenario's adapter, so that the first r rows of A and columns of B mean the same in any state.
// Sums are in double precision, in the order of the inputs. Free of torch.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "models/learning/share.h"

namespace fedclock::learning {

class StateFunction;
using Function = std::shared_ptr<const StateFunction>;
using Rows = std::shared_ptr<const std::vector<int32_t>>;  // row numbers

// ------------------------------------------------------------------------------- parts of states

// (state) -> the tensors of the share, each adapter cut to the share's rank or left at its own
// where that is less; what was merged into the base comes along in every layer.
Function tailored(const Share& share);

// (state) -> only the tensors of the share, as they are.
Function only(const Share& share);

// (state) -> the adapters of one expert of each map (-1: those that all tokens share), by the names
// of another; nothing else.
Function renamed(int32_t expert, int32_t to);

// (mean, state) -> (all mean - own state) / (all - own): where `mean` is that of states whose
// weights' sum is `all`, of which `state` has `own`, the mean of the others. Of the mean's tensors
// those that the state has too, of one shape.
Function mean_without(double own, double all);

// (below, above) -> all tensors of both; those of `above` where both have one of a name.
Function laid_over();

// ------------------------------------------------------------------------------------ aggregation
// All of them: (global, state 1, state 2, ...) -> the new global state. weights[i] belongs to state
// i, above 0, in any unit. A tensor that no state has stays as it is in `global`.

// theta <- sum_i (w_i / w) theta_i over the states that have the element, w their weights' sum: of
// an adapter of smaller rank only the rows of A and columns of B that it has, the others stay the
// mean of those who do have them. With equal shapes FedAvg (arXiv 1602.05629, algorithm 1).
Function mean_of_holders(const std::vector<double>& weights);

// HetLoRA (2401.06432): adapters zero-padded to the largest rank and summed with
//   p_k = ||B_k A_k||_F / sum_j ||B_j A_j||_F,
// the norm being over all adapters of a state together (all 0: as `weights` say). A state that does
// not have a tensor is left out of its sum, the rest renormalised. The head as in mean_of_holders.
Function zero_padded(const std::vector<double>& weights);

// FlexLoRA (2402.11505): dW = sum_k p_k B_k A_k over the states that hold the adapter, p_k from
// `weights`; dW = U S V^T, and the new factors are B = U S, A = V^T, at rank
// min(in, out, sum of ranks), singular values descending; the sign of each vector is such that the
// largest element of its row of A (the first of equals) is positive. The head as in
// mean_of_holders.
Function svd_refactored(const std::vector<double>& weights);

// FLoRA (2409.05976): (fresh, global, state 1, ...): merged <- merged + s sum_k p_k B_k A_k with
// s = alpha / rank, p_k from `weights` over all states (a state without the adapter adds nothing);
// the adapters of the new state are those of `fresh`, the head as in mean_of_holders.
Function stacked(const std::vector<double>& weights);

// (now, start, update) -> now + factor (update - start), for the elements that `update` has; the
// rest is not in the result. Of a smaller rank the first rows and columns.
Function carried_over(double factor);

// ------------------------------------------------------------------------------ server optimisers

enum class ServerOptimizerKind { kMomentum, kNesterov, kAdam, kYogi };
struct ServerOptimizerSettings {
  ServerOptimizerKind kind = ServerOptimizerKind::kAdam;
  double learning_rate = 0.01;                   // eta
  double momentum = 0.9;                         // kMomentum, kNesterov
  double beta1 = 0.9, beta2 = 0.99, tau = 1e-3;  // kAdam, kYogi
};
// (global, merged[, moments]) -> the new moments, with d = merged - global:
//   momentum, Nesterov   m <- momentum m + d
//   Adam, Yogi           m <- beta1 m + (1 - beta1) d
//   Adam                 v <- beta2 v + (1 - beta2) d^2              (v starts at tau^2)
//   Yogi                 v <- v - (1 - beta2) d^2 sign(v - d^2)
// Reddi et al. (2003.00295), algorithm 2; Hsu et al. (1909.06335) for momentum. Names: "first." and
// "second." before the tensor's.
Function server_moments(const ServerOptimizerSettings& settings);
// (global, merged, moments) -> global + eta m (momentum), global + eta (d + momentum m) (Nesterov),
// global + eta m / (sqrt v + tau) (Adam, Yogi); a tensor that `global` does not have is as merged.
Function server_step(const ServerOptimizerSettings& settings);

// ------------------------------------------------------------------------------- control variates

// SCAFFOLD (1910.06378), option II: (c, start, trained[, c_i]) -> c_i - c + (start - trained) *
// factor with factor = 1 / (K eta); c and c_i are 0 where absent (an empty state, no input).
Function new_control(double factor);
// (c, c_1, c_1_new, c_2, c_2_new, ...) -> c + sum_i (c_i_new - c_i) / clients, absent ones being 0.
Function moved_control(double clients);

// ------------------------------------------------------------------------------------------ others

// FDLoRA (2406.07925), inference: (shared, private) -> w1 shared + w2 private, tensor by tensor,
// with w1, w2 in {0, 0.25, 0.5, 0.75, 1}, not both 0, of least loss on these training rows; of
// equals the larger w1, then the smaller w2. Numbers: w1, w2.
Function fused(const Rows& rows);

// FedAMoLE (2411.19128): (state) -> numbers: of each module with experts, ascending, the means over
// all tokens of these training rows of the experts' embeddings e_i = A_i x, ascending, and of the
// tokens' t = W_p x, [rank] each.
struct EmbeddingNoise {
  double eta = 0;  // 0: none
  uint64_t seed = 0;
  int64_t round = 0, client = 0;
};
// With noise each mean m of d elements has, before it leaves the client, g_k u_k added to element
// k, g_k from Gamma(d, rate eta), u_k uniform in -1 to 1, and is then scaled down to the norm that
// the largest mean of a single row has, where it is longer. After the official code, which takes
// the norm of a batch's sum for that bound.
Function mean_embeddings(const Rows& rows, const EmbeddingNoise& noise = {});

// FedLEASE (2509.15087): (state 1, ..., state n) -> numbers: of each pair i < j, by i and then by
// j, the mean over their adapters of 1 - cos(B_i, B_j), the angle being that of all elements; 1
// where one of them is 0 or not finite.
Function b_distances();

// FedAPEN (KDD 2023, ensemble.h): (shared, private[, weight]) -> both in one state, with lambda 1/2
// where no weight is given, and the same of a state.
Function ensemble();
// (ensemble) -> its shared model's tensors, or its private one's, by their own names.
Function shared_model();
Function private_model();
// (ensemble) -> its weight after so many passes over these training rows, in their order, of Adam
// steps (betas 0.9 and 0.999) on the ensemble's loss, each followed by a cut to 0 to 1; it goes on
// from the steps before. Numbers: lambda.
struct WeightSettings {
  int64_t epochs = 10;
  int64_t batch_rows = 16;
  double learning_rate = 1e-3;
};
Function learned_weight(const Rows& rows, const WeightSettings& settings);

// HetLoRA's tail: (state) -> numbers: sum over adapters of ||B[:, keep:]||_F ||A[keep:, :]||_F with
// `keep` rows of each adapter kept.
Function tail_norm(int64_t keep);

}  // namespace fedclock::learning
