#include "models/cost/work.h"

#include <catch2/catch.hpp>

#include "models/common/error.h"
#include "tests/models/cost/tiny.h"

using namespace fedclock::cost;
using fedclock::InputError;
using fedclock::cost::testing::tiny_encoder;
using fedclock::cost::testing::tiny_plan;
using fedclock::nn::Target;

// By hand, for the tiny encoder (tiny.h), T = 6, s = 3:
//   a layer's maps            2 T 128        = 1536
//   an attention product      2 x 2 x 9 x 4  =  144, two of them forward = 288
//   the base forward          2 (1536 + 288) = 3648
//   the head, forward or one gradient   2 x 2 x 4 x 3 = 48
//   an adapter forward        2 T 2 (4 + 4)  =  192

TEST_CASE("forward FLOPs", "[cost][unit]") {
  CHECK(forward_work(tiny_encoder(), 2, 3, 3).forward_flops == 3648 + 48);
  CHECK(forward_work(tiny_encoder(), 2, 3, 3).backward_flops == 0);
  // A language model's head has 10 outputs on each of the 6 tokens: 2 x 6 x 4 x 10 = 480.
  CHECK(forward_work(tiny_encoder(), 2, 3, 0).forward_flops == 3648 + 480);
}

TEST_CASE("depth 0 trains the head alone", "[cost][unit]") {
  const Work work = step_work(tiny_encoder(), tiny_plan(0));
  CHECK(work.forward_flops == 3696);
  CHECK(work.backward_flops == 48);  // weight gradient; no input gradient is needed
}

TEST_CASE("the lowest tuned layer stops at q and v", "[cost][unit]") {
  const Work work = step_work(tiny_encoder(), tiny_plan(1));
  CHECK(work.forward_flops == 3696 + 2 * 192);
  // Head 48 + 48. Input gradients of o (2 T 16 = 192), up and down (2 T 32 = 384 each) = 960.
  // Products dV, dP and dQ, but not dK: 3 x 144 = 432. Each adapter: B's and z's gradients
  // 2 T 2 x 4 = 96 each, A's 96, but not the input's: 288.
  CHECK(work.backward_flops == 96 + 960 + 432 + 2 * 288);
}

TEST_CASE("the gradient goes through the layers above the lowest tuned one", "[cost][unit]") {
  const Work work = step_work(tiny_encoder(), tiny_plan(2));
  CHECK(work.forward_flops == 3696 + 4 * 192);
  // As above, 2064, and one whole layer: input gradients 1536, products 4 x 144 = 576, and two
  // adapters of twice their forward, 2 x 384 = 768.
  CHECK(work.backward_flops == 2064 + 1536 + 576 + 768);
}

TEST_CASE("adapters high in a layer spare all that is below them", "[cost][unit]") {
  TrainingPlan plan = tiny_plan(1);
  plan.targets = {Target::kUp};
  // Head 96, input gradient of down 384, the adapter (4 -> 8) 2 T 2 (8 + 8 + 4) = 480.
  CHECK(step_work(tiny_encoder(), plan).backward_flops == 96 + 384 + 480);
  plan.targets = {Target::kV};
  // Head 96, inputs of o, up and down 960, dV alone 144, the adapter 288.
  CHECK(step_work(tiny_encoder(), plan).backward_flops == 96 + 960 + 144 + 288);
}

TEST_CASE("full tuning adds weight gradients", "[cost][unit]") {
  TrainingPlan plan = tiny_plan(1);
  plan.full_tuning = true;
  // Head 96, weight gradients 1536, inputs of o, up and down 960, all four products 576.
  CHECK(step_work(tiny_encoder(), plan).forward_flops == 3696);
  CHECK(step_work(tiny_encoder(), plan).backward_flops == 96 + 1536 + 960 + 576);
  plan.depth = 2;
  // The embeddings are trained now, so both layers give an input gradient: 2 (2 x 1536 + 576).
  CHECK(step_work(tiny_encoder(), plan).backward_flops == 96 + 7296);
}

TEST_CASE("a language model's frozen head gives an input gradient only", "[cost][unit]") {
  TrainingPlan plan = tiny_plan(1);
  plan.head_outputs = 0;
  CHECK(step_work(tiny_encoder(), plan).backward_flops == 480 + 960 + 432 + 576);
  plan.full_tuning = true;
  plan.depth = 2;  // the head is the token embedding, and trained
  CHECK(step_work(tiny_encoder(), plan).backward_flops == 2 * 480 + 7296);
}

TEST_CASE("grouped queries and SwiGLU are counted by their widths", "[cost][unit]") {
  // Width 8, 4 heads of 2, 2 of keys and values, inner width 6: q and o 64 each, k and v 32, up,
  // gate and down 48: 336 weights. T = 6: 2 T 336 = 4032; products 2 x (2 x 2 x 9 x 8 = 288);
  // head 2 x 6 x 8 x 10 = 960.
  const auto llama = fedclock::nn::decoder_architecture(1, 8, 4, 2, 6, 8, 10);
  CHECK(forward_work(llama, 2, 3, 0).forward_flops == 4032 + 576 + 960);
}

TEST_CASE("memory traffic of a step", "[cost][unit]") {
  // Forward: 4 bytes x (2 x 128 weights + 12 of the head + 6 x 4 embeddings) = 1168; a layer's
  // activations are 1524 bytes (memory_test.cpp), the head's values 4 x 2 x 3 = 24: written and
  // read 2 (2 x 1524 + 24) = 6144.
  CHECK(forward_work(tiny_encoder(), 2, 3, 3).memory_bytes == 7312);
  // Depth 1: 32 adapter weights read twice, 256; the head's weights and its gradient 48 + 48;
  // o, up and down read again 4 x 80 = 320; 3 x 1524 = 4572; 32 + 15 trained parameters with
  // gradient, value and two moments read and written: 2 x 4 x 4 x 47 = 1504.
  CHECK(step_work(tiny_encoder(), tiny_plan(1)).memory_bytes ==
        7312 + 256 + 96 + 320 + 4572 + 1504);
}

TEST_CASE("training the embeddings is memory traffic", "[cost][unit]") {
  TrainingPlan plan = tiny_plan(1);
  plan.full_tuning = true;
  const double one = step_work(tiny_encoder(), plan).memory_bytes;
  plan.depth = 2;
  const double two = step_work(tiny_encoder(), plan).memory_bytes;
  // One layer more: 3 x 1524 of activations; the lowest layer's q, k and v and all of the other
  // layer's maps are read again, 4 x (48 + 128) = 704; a layer's 172 parameters and the 88 of
  // the embeddings (40 + 32 + 8 + 8) are trained: 2 x 4 x 4 x 260 = 8320.
  CHECK(two - one == 4572 + 704 + 8320);
}

TEST_CASE("merging reads every client's update", "[cost][unit]") {
  const Work work = merge_work(100, 5);
  CHECK(work.forward_flops == 1000);
  CHECK(work.memory_bytes == 4 * (500 + 100));
}

TEST_CASE("work grows with depth, rank and tokens", "[cost][unit]") {
  const auto arch = tiny_encoder();
  TrainingPlan more_rank = tiny_plan(1);
  more_rank.rank = 3;
  TrainingPlan more_tokens = tiny_plan(1);
  more_tokens.sequence_tokens = 4;
  const double base = step_work(arch, tiny_plan(1)).flops();
  CHECK(step_work(arch, tiny_plan(0)).flops() < base);
  CHECK(step_work(arch, tiny_plan(2)).flops() > base);
  CHECK(step_work(arch, more_rank).flops() > base);
  CHECK(step_work(arch, more_tokens).flops() > base);
}

TEST_CASE("impossible plans are refused", "[cost][unit]") {
  const auto refused = [](auto change, const std::string& says) {
    TrainingPlan plan = tiny_plan(1);
    change(plan);
    CHECK_THROWS_AS(step_work(tiny_encoder(), plan), InputError);
    CHECK_THROWS_WITH(step_work(tiny_encoder(), plan), Catch::Contains(says));
  };
  refused([](TrainingPlan& p) { p.depth = 3; }, "depth is 3");
  refused([](TrainingPlan& p) { p.depth = -1; }, "depth is -1");
  refused([](TrainingPlan& p) { p.rank = 0; }, "rank is 0");
  refused([](TrainingPlan& p) { p.targets = {}; }, "no adapter targets");
  refused([](TrainingPlan& p) { p.targets = {Target::kGate}; }, "\"gate\"");
  refused([](TrainingPlan& p) { p.targets = {Target::kQ, Target::kQ}; }, "twice");
  refused([](TrainingPlan& p) { p.batch_rows = 0; }, "0 rows");
  refused([](TrainingPlan& p) { p.sequence_tokens = 9; }, "9 tokens");
  refused([](TrainingPlan& p) { p.bytes_per_element = 3; }, "3 bytes");
  refused([](TrainingPlan& p) { p.depth = p.head_outputs = 0; }, "nothing would be trained");
}

// Three experts of q, of which two are chosen, at rank 2, in = out = 4: forward all A and the
// router 2 T 2 (3 + 1) 4 = 384, scores and two B 2 T 2 (3 + 2 x 4) = 264; backward twice the
// latter, and the former once for the weights and once more where q's input has a gradient.
TEST_CASE("experts: all A and the chosen B", "[cost][unit]") {
  TrainingPlan plain = tiny_plan(1), plan = plain;
  plan.experts[{1, Target::kQ}] = 3;
  plan.top_experts = 2;
  const Work without = step_work(tiny_encoder(), plain), with = step_work(tiny_encoder(), plan);
  CHECK(with.forward_flops - without.forward_flops == 384 + 264);
  CHECK(with.backward_flops - without.backward_flops == 384 + 2 * 264);
  // A frozen: neither its weights' gradient (2 T 2 x 3 x 4 = 288) nor that of e_i (2 T 2 x 3 = 72).
  plain.trains_a = plan.trains_a = false;
  CHECK(step_work(tiny_encoder(), plan).backward_flops -
            step_work(tiny_encoder(), plain).backward_flops ==
        384 + 2 * 264 - 288 - 72);
  plain.trains_a = plan.trains_a = true;
  plain.depth = plan.depth = 2;
  CHECK(step_work(tiny_encoder(), plan).backward_flops -
            step_work(tiny_encoder(), plain).backward_flops ==
        2 * (384 + 264));
  // Fewer experts than are chosen: all of them. Experts below the tuned layers are not there.
  plan.experts[{1, Target::kQ}] = 1;
  CHECK(step_work(tiny_encoder(), plan).forward_flops -
            step_work(tiny_encoder(), plain).forward_flops ==
        24 * 2 * 4 + 24 * (1 + 4));
  plan.depth = plain.depth = 1;
  plan.experts = {{{0, Target::kQ}, 3}};
  CHECK(step_work(tiny_encoder(), plan).flops() == step_work(tiny_encoder(), plain).flops());
  CHECK(inference_work(tiny_encoder(), plan).flops() ==
        step_work(tiny_encoder(), plain).forward_flops);
}

// FedALT on q of the upper layer, rank 2, in = out = 4: a trained and a frozen expert, both chosen,
// in the place of q's adapter. Forward both A 2 T 2 (2 x 4) = 192, a linear router of two outputs
// 2 T 2 x 4 = 96, both B 192; backward both B and the router once for what reaches them, then of
// the trained one dB 96 and dA 96. Less the adapter's own 96 + 96 forward, 3 x 96 backward.
TEST_CASE("a frozen expert is computed with and not trained", "[cost][unit]") {
  TrainingPlan plain = tiny_plan(1);
  plain.targets = {Target::kQ};
  TrainingPlan plan = plain;
  plan.shared_adapters = false;
  plan.experts[{1, Target::kQ}] = 1;
  plan.frozen_experts = 1;
  plan.top_experts = 2;
  plan.router = fedclock::nn::Router::kLinear;
  const Work without = step_work(tiny_encoder(), plain), with = step_work(tiny_encoder(), plan);
  CHECK(with.forward_flops - without.forward_flops == 192 + 96 + 192 - (96 + 96));
  CHECK(with.backward_flops - without.backward_flops == 192 + 96 + 96 + 96 - 3 * 96);
  // Trained: one pair of 2 (4 + 4), a router of 2 x 4, the head; held: two pairs.
  CHECK(trained_parameters(tiny_encoder(), plan) == 16 + 8 + 15);
  CHECK(all_adapter_parameters(tiny_encoder(), plan) == 32 + 8);
  // An adaptive router has three outputs, and sends a token to both experts whatever top_experts
  // says.
  plan.router = fedclock::nn::Router::kAdaptive;
  plan.top_experts = 1;
  const Work adaptive = step_work(tiny_encoder(), plan);
  CHECK(adaptive.forward_flops - with.forward_flops == 48);
  CHECK(adaptive.backward_flops - with.backward_flops == 48);
  CHECK(trained_parameters(tiny_encoder(), plan) == 16 + 12 + 15);
}

TEST_CASE("two models side by side take twice as long", "[cost][unit]") {
  TrainingPlan plan = tiny_plan(1);
  const Work one = step_work(tiny_encoder(), plan), pass = inference_work(tiny_encoder(), plan);
  plan.models = 2;
  CHECK(step_work(tiny_encoder(), plan).flops() == 2 * one.flops());
  CHECK(step_work(tiny_encoder(), plan).memory_bytes == 2 * one.memory_bytes);
  CHECK(inference_work(tiny_encoder(), plan).flops() == 2 * pass.flops());
}

TEST_CASE("a soft prompt: its tokens, the gradient through all layers, its encoder",
          "[cost][unit]") {
  // 2 tokens before rows of 3: T = 10, s = 5. A layer's maps 2 T 128 = 2560, an attention product
  // 2 x 2 x 25 x 4 = 400, the base forward 2 (2560 + 800) = 6720.
  TrainingPlan plan = tiny_plan(0);
  plan.prompt = {.tokens = 2, .encoder = 0};
  const Work alone = step_work(tiny_encoder(), plan);
  CHECK(alone.forward_flops == 6720 + 48);
  // Head 48 + 48; of both layers input gradients 2560 and four products 1600.
  CHECK(alone.backward_flops == 96 + 2 * (2560 + 1600));
  CHECK(trained_parameters(tiny_encoder(), plan) == 2 * 4 + 15);
  // 4 -> 2 -> 2 -> 4: 20 weights and 8 biases, of 2 tokens once a step.
  plan.prompt.encoder = 0.5;
  const Work encoded = step_work(tiny_encoder(), plan);
  CHECK(encoded.forward_flops == alone.forward_flops + 2 * 2 * 20);
  CHECK(encoded.backward_flops == alone.backward_flops + 4 * 2 * 20);
  CHECK(trained_parameters(tiny_encoder(), plan) == 2 * 4 + 28 + 15);
  plan.sequence_tokens = 7;  // of 8 that the model reads
  CHECK_THROWS_AS(step_work(tiny_encoder(), plan), InputError);
}
