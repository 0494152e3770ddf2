#include "models/nn/bf16_product.h"

#include <algorithm>
#include <dnnl.hpp>
#include <map>
#include <mutex>
#include <tuple>
#include <vector>

#include "models/common/error.h"
#include "models/nn/passes.h"

namespace fedclock::nn {

namespace {

using dnnl::memory;

constexpr int64_t kRowBlock = 64, kRowsAtOnce = 512;

memory::desc rows_of(int64_t rows, int64_t columns, int64_t stride, memory::data_type type) {
  return {{rows, columns}, type, memory::dims{stride, 1}};
}

}  // namespace

bool has_fast_bf16() {
  // A set of bits: other processors have larger numbers.
  constexpr auto kAmx = static_cast<unsigned>(dnnl::cpu_isa::avx512_core_amx);
  return (static_cast<unsigned>(dnnl::get_effective_cpu_isa()) & kAmx) == kAmx;
}

struct Bf16Weights::State {
  // Made for one number of rows and one layout of y.
  struct Product {
    dnnl::matmul::primitive_desc description;
    dnnl::matmul product;
    memory weights;  // in the layout that the product wants
  };
  using Key = std::tuple<int64_t, int64_t, bool>;  // rows, stride of y, adds to y

  State(ConstMatrix w) : k(w.rows), n(w.columns), engine(dnnl::engine::kind::cpu, 0) {
    ensure(!w.transposed, "bf16 weights are given as they are stored");
    plain.resize(static_cast<size_t>(k * n));
    for (int64_t i = 0; i < k; ++i) to_bf16(n, w.data + i * w.stride, plain.data() + i * n);
  }

  // The product for these rows; made when it is first asked for.
  const Product& product(int64_t m, int64_t stride, bool adds) {
    const std::lock_guard lock(mutex);
    const Key key{m, stride, adds};
    const auto found = products.find(key);
    if (found != products.end()) return found->second;
    dnnl::primitive_attr attributes;
    // Ours is from the caller's arena: oneDNN's own belongs to one thread.
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    if (adds) {
      dnnl::post_ops sum;
      sum.append_sum(1.0F);
      attributes.set_post_ops(sum);
    }
    const dnnl::matmul::primitive_desc description(
        dnnl::matmul::desc(rows_of(m, k, k, memory::data_type::bf16),
                           memory::desc({k, n}, memory::data_type::bf16, memory::format_tag::any),
                           rows_of(m, n, stride, memory::data_type::f32)),
        attributes, engine);
    return products
        .emplace(key, Product{description, dnnl::matmul(description),
                              packed(description.weights_desc())})
        .first->second;
  }

  // The weights in a layout; products that want the same share it.
  memory packed(const memory::desc& layout) {
    for (const memory& one : layouts) {
      if (one.get_desc() == layout) return one;
    }
    memory from(rows_of(k, n, n, memory::data_type::bf16), engine, plain.data());
    layouts.emplace_back(layout, engine);
    dnnl::stream stream(engine);
    dnnl::reorder(from, layouts.back()).execute(stream, from, layouts.back());
    stream.wait();
    return layouts.back();
  }

  // y [m, n] (+)= x times the weights, with rows of zeros below x's up to m.
  void multiply(const Matrix& x, int64_t m, const Matrix& y, Onto onto, Arena& arena) {
    const Product& made = product(m, y.stride, onto == Onto::kItself);
    const int64_t size = x.rows * k;
    auto* rounded = reinterpret_cast<uint16_t*>(arena.take((m * k + 1) / 2));
    to_bf16(size, x.data, rounded);
    std::fill_n(rounded + size, m * k - size, uint16_t{0});
    const auto& description = made.description;
    const auto scratch_bytes = static_cast<int64_t>(description.scratchpad_desc().get_size());
    memory from(description.src_desc(), engine, rounded);
    memory to(description.dst_desc(), engine, y.data);
    memory scratch(description.scratchpad_desc(), engine,
                   arena.take(scratch_bytes / static_cast<int64_t>(sizeof(float)) + 1));
    dnnl::stream stream(engine);
    made.product.execute(stream, {{DNNL_ARG_SRC, from},
                                  {DNNL_ARG_WEIGHTS, made.weights},
                                  {DNNL_ARG_DST, to},
                                  {DNNL_ARG_SCRATCHPAD, scratch}});
    stream.wait();
  }

  int64_t k, n;
  dnnl::engine engine;
  std::vector<uint16_t> plain;  // [k, n]
  std::mutex mutex;
  std::map<Key, Product> products;
  std::vector<memory> layouts;
};

Bf16Weights::Bf16Weights(ConstMatrix weights) : state_(std::make_unique<State>(weights)) {}
Bf16Weights::~Bf16Weights() = default;
Bf16Weights::Bf16Weights(Bf16Weights&&) noexcept = default;

void Bf16Weights::multiply(const Matrix& x, Matrix y, Onto onto, Arena& arena) const {
  ensure(
      x.columns == state_->k && y.columns == state_->n && x.rows == y.rows && x.stride == x.columns,
      "a bf16 product of matrices whose shapes do not fit");
  for (int64_t begin = 0; begin < x.rows;) {
    const int64_t left = x.rows - begin;
    const Arena::Mark mark = arena.mark();
    if (left >= kRowBlock) {
      const int64_t rows = std::min(left / kRowBlock * kRowBlock, kRowsAtOnce);
      state_->multiply(x.row_range(begin, rows), rows, y.row_range(begin, rows), onto, arena);
      begin += rows;
    } else {
      const Matrix filled_up = arena.matrix(kRowBlock, y.columns);
      state_->multiply(x.row_range(begin, left), kRowBlock, filled_up, Onto::kNothing, arena);
      for (int64_t r = 0; r < left; ++r) {
        float* to = y.row_range(begin + r, 1).data;
        const float* from = filled_up.row_range(r, 1).data;
        if (onto == Onto::kItself) {
          add_bias(1, y.columns, from, to);
        } else {
          std::copy_n(from, y.columns, to);
        }
      }
      begin += left;
    }
    arena.rewind(mark);
  }
}

}  // namespace fedclock::nn
