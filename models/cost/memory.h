// Memory that a training job needs at its peak.
//
// Activations: Korthikanti et al. (arXiv 2205.05198, equation 2) count s b h (34 + 5 a s / h)
// bytes a layer at 16 bit: 16 stored elements a token and unit of width and 2 of each attention
// weight at 2 bytes, and dropout masks of 2 and 1 bytes. With element size e, query width Q,
// key and value width K, inner width F and width h this is here, a token:
//   e (4 h + 2 Q + 2 K + n F) + 2 h + a s (2 e + 1),   n = 2, with SwiGLU 4
// which is theirs for e = 2, Q = K = h, F = 4 h. Masks do not grow with e. The inputs of frozen
// maps need not be kept when adapters are tuned, so this is an upper estimate there.
// Kept are the activations of the tuned layers (under a soft prompt of all), each adapter's and
// expert's A x and the routers' t. `working` holds one more layer's (the untuned one in flight, or
// the gradients of a tuned one), the hidden state, and the head's outputs with their gradient. Of
// models side by side all but the base's weights is of each. What
// a runtime takes for itself (CUDA context, workspaces, copies, fragmentation) is not in: the
// Jetson TX2 of FedAdapter's plotting data, BERT-base at 256 tokens, used 1.2 GB at depth 0 and 3.8
// GB at 12 where this gives 0.5 and 1.5 (4 rows) or 0.6 and 2.6 (8 rows; the source does not say).
#pragma once

#include <cstdint>

#include "models/cost/plan.h"
#include "models/nn/architecture.h"

namespace fedclock::cost {

struct Memory {
  double weights_bytes = 0;      // the base
  double adapters_bytes = 0;     // adapters', prompt's and linear head's weights
  double gradients_bytes = 0;    // of trained parameters
  double optimizer_bytes = 0;    // moments of trained parameters
  double activations_bytes = 0;  // kept for the backward pass
  double working_bytes = 0;      // in flight
  double total() const;          // bytes
};

// Throws InputError as check_plan does.
Memory training_memory(const nn::Architecture& architecture, const TrainingPlan& plan);

// Bytes of one layer's activations by the formula above.
double layer_activation_bytes(const nn::Architecture& architecture, int64_t batch_rows,
                              int64_t tokens, int64_t bytes_per_element);

}  // namespace fedclock::cost
