// Floating-point operations and memory traffic of a step.
//
// FLOPs. A product of an N x P and a P x M matrix is 2NPM. With T = rows x tokens, s = tokens:
//   forward, each of the L layers:   2 T in out            for each linear map
//                                  + 4 rows s^2 (heads x head_width)   scores QK' and values PV
//                                  + 2 T rank (in + out)   for each adapter
//                                  + 2 T rank ((n + 1) in + n + k out)
//                                      for each module of n experts, of which a token goes to k:
//                                      all A and the router, scores, k of B
//   head, forward:  2 rows width classes   or, for a language model, 2 T width vocabulary
//   backward, each of the last `depth` layers:
//       input gradients                2 T in out          for each linear map
//       attention products             8 rows s^2 (heads x head_width)   dQ, dK, dP, dV
//       adapters                       4 T rank (in + out) inputs and weights
//       experts                        twice the forward, less the products of weights that are
//                                      not trained, and of the gradient of x where it has none:
//                                      scores move all n, chosen or not
//       weight gradients               2 T in out          for each map, full tuning only
//   head, backward: weight gradient where it is trained, input gradient where depth > 0.
// Layers below the last `depth` run forward only. In the lowest tuned layer the backward pass
// stops at its lowest trained maps: their own input gradient is not computed, nor anything below
// them (with adapters on q and v alone, dK is not needed; with adapters on `up`, nothing of the
// attention is). Full tuning at depth == layers goes on to the embeddings.
// A soft prompt's tokens are tokens as others; under it the input gradients of all layers are
// computed, and its encoder adds 2 tokens in out for each of its maps forward and twice that
// backward. Causal attention is counted as full, because plain kernels compute the whole square and
// mask it. Of models side by side (plan.h) each takes as much as one alone. Elementwise work
// (norms, activations, softmax, optimiser) has no FLOPs here: it is limited by memory, and is in
// the bytes.
//
// Memory traffic, in bytes of `bytes_per_element`, one step:
//   weights      every linear map and the head once forward; once more for each input gradient;
//                T rows of the token embedding
//   activations  a layer's (models/cost/memory.h) written and read forward; in tuned layers the
//                stored ones read and their gradients written and read backward; the head's
//                outputs and their gradients written and read
//   adapters     weights read forward and backward
//   trained parameters   gradient written and read, value and each moment read and written
// A floor, not a count of what real kernels move. Sources: Kaplan et al. (arXiv 2001.08361) for
// 2N a token forward and 4N backward, Korthikanti et al. (arXiv 2205.05198) for activations.
#pragma once

#include <cstdint>

#include "models/cost/plan.h"
#include "models/nn/architecture.h"

namespace fedclock::cost {

struct Work {
  double forward_flops = 0;
  double backward_flops = 0;
  double memory_bytes = 0;  // read and written
  double flops() const { return forward_flops + backward_flops; }
  Work& operator+=(const Work& more) {
    forward_flops += more.forward_flops;
    backward_flops += more.backward_flops;
    memory_bytes += more.memory_bytes;
    return *this;
  }
  Work operator*(double times) const {
    return {times * forward_flops, times * backward_flops, times * memory_bytes};
  }
};

// One optimiser step. Throws InputError as check_plan does.
Work step_work(const nn::Architecture& architecture, const TrainingPlan& plan);

// One forward pass with the plan's adapters and experts, nothing trained.
Work inference_work(const nn::Architecture& architecture, const TrainingPlan& plan);

// One forward pass of the bare base and its head (`head_outputs` as in TrainingPlan) on rows of
// `tokens` tokens.
Work forward_work(const nn::Architecture& architecture, int64_t batch_rows, int64_t tokens,
                  int64_t head_outputs, int64_t bytes_per_element = 4);

// Weighted sum of the clients' updates on the server: a multiplication and an addition for each
// of the clients x elements, all of them read, the result written.
Work merge_work(int64_t elements, int64_t clients, int64_t bytes_per_element = 4);

}  // namespace fedclock::cost
