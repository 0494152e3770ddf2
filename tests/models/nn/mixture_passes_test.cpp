// The passes of mixtures, of each vector width, against plain loops in double, over random sizes.
#include "models/nn/mixture_passes.h"

#include <rapidcheck.h>
#include <catch2/catch.hpp>

#include <cmath>
#include <numeric>
#include <vector>

#include "tests/models/nn/each_width.h"

namespace fedclock::nn {

namespace {

using Floats = std::vector<float>;

// A matrix of normal numbers, with a gap after each row.
struct Random2d {
  Random2d(Random& random, int64_t rows, int64_t columns)
      : values(static_cast<size_t>(rows * (columns + 3))) {
    for (float& x : values) x = static_cast<float>(random.normal());
    view = {values.data(), rows, columns, columns + 3};
  }
  Random2d(const Random2d& other) : values(other.values), view(other.view) {
    view.data = values.data();
  }
  double at(int64_t r, int64_t c) const { return view.data[r * view.stride + c]; }

  Floats values;
  Matrix view;
};

struct Dense {
  Dense(int64_t rows, int64_t columns)
      : values(static_cast<size_t>(rows * columns)), view(values.data(), rows, columns) {}
  double at(int64_t r, int64_t c) const { return view.data[r * view.stride + c]; }

  Floats values;
  Matrix view;
};

template <typename Property>
bool holds_for_each_table(const Property& property) {
  return holds_for_each(tables_here(avx2::kMixturePasses, avx512::kMixturePasses), property);
}

int64_t up_to(Random& random, uint64_t most) {
  return 1 + static_cast<int64_t>(random.below(most));
}

TEST_CASE("mixture passes: scores, choices and their gradients") {
  CHECK(holds_for_each_table([](const MixturePassTable& table, Random& random) {
    const int64_t n = up_to(random, 5), experts = up_to(random, 20), rank = up_to(random, 18);
    const int64_t chosen = up_to(random, static_cast<uint64_t>(experts));
    const double root = std::sqrt(static_cast<double>(rank));
    const Random2d low(random, n, (experts + 1) * rank);
    const Random2d d_w(random, n, experts), slopes(random, 1, experts);
    const Dense scores(n, experts), p(n, experts), w(n, experts), d_scores(n, experts);
    table.routing_scores(low.view, rank, scores.view);
    std::copy_n(scores.view.data, n * experts, p.view.data);
    std::vector<int32_t> choices(static_cast<size_t>(n * chosen));
    table.choose_experts(chosen, p.view, w.view, choices.data());
    for (int64_t r = 0; r < n; ++r) {
      for (int64_t j = 0; j < experts; ++j) d_scores.view.data[r * experts + j] = d_w.at(r, j);
    }
    table.choose_experts_backward(p.view, w.view, slopes.view.data, d_scores.view);
    Random2d d_low = low;
    table.routing_scores_backward(d_scores.view, rank, d_low.view);
    for (int64_t r = 0; r < n; ++r) {
      const auto e = [&](int64_t j, int64_t k) { return low.at(r, j * rank + k); };
      const auto t = [&](int64_t k) { return low.at(r, experts * rank + k); };
      double total = 0, kept = 0, mean_w = 0, mean_slope = 0;
      for (int64_t j = 0; j < experts; ++j) {
        double dot = 0;
        for (int64_t k = 0; k < rank; ++k) dot += e(j, k) * t(k);
        near(scores.at(r, j), dot / root);
        total += std::exp(scores.at(r, j));
        mean_w += w.at(r, j) * d_w.at(r, j);
        mean_slope += p.at(r, j) * slopes.at(0, j);
        // Chosen at place k: k others are ahead of it.
        int64_t ahead = 0;
        for (int64_t i = 0; i < experts; ++i) {
          ahead += p.at(r, i) > p.at(r, j) || (p.at(r, i) == p.at(r, j) && i < j);
        }
        RC_ASSERT((w.at(r, j) > 0) == (ahead < chosen));
        if (ahead < chosen) RC_ASSERT(choices[static_cast<size_t>(r * chosen + ahead)] == j);
        if (ahead < chosen) kept += p.at(r, j);
      }
      std::vector<double> d_t(static_cast<size_t>(rank), 0);
      for (int64_t j = 0; j < experts; ++j) {
        near(p.at(r, j), std::exp(scores.at(r, j)) / total);
        near(w.at(r, j), w.at(r, j) > 0 ? p.at(r, j) / kept : 0);
        near(d_scores.at(r, j),
             w.at(r, j) * (d_w.at(r, j) - mean_w) + p.at(r, j) * (slopes.at(0, j) - mean_slope),
             2e-5);
        for (int64_t k = 0; k < rank; ++k) {
          near(d_low.at(r, j * rank + k), d_scores.at(r, j) * t(k) / root);
          d_t[static_cast<size_t>(k)] += d_scores.at(r, j) * e(j, k) / root;
        }
      }
      for (int64_t k = 0; k < rank; ++k) {
        near(d_low.at(r, experts * rank + k), d_t[static_cast<size_t>(k)], 2e-5);
      }
    }
  }));
}

TEST_CASE("mixture passes: weighing and products of the tokens of an expert") {
  CHECK(holds_for_each_table([](const MixturePassTable& table, Random& random) {
    const int64_t n = up_to(random, 30), rank = up_to(random, 18), out = up_to(random, 70);
    std::vector<int32_t> rows;
    for (int32_t r = 0; r < n; ++r) {
      if (random.below(2) == 0) rows.push_back(r);
    }
    const auto count = static_cast<int64_t>(rows.size());
    const TokenList tokens{rows.data(), count};
    const Random2d e(random, n, rank), w(random, n, 1), b(random, out, rank), d_y(random, n, out);
    const Random2d y(random, n, out);
    const Dense mixed(count, rank), turned_b(rank, out), d_mixed(count, rank), turned(rank, out);
    table.weigh(tokens, 0.5F, e.view, w.view, mixed.view);
    transpose(b.view, turned_b.view, Onto::kNothing);
    Random2d sum = y;
    table.add_expert(tokens, mixed.view, turned_b.view, sum.view);
    table.expert_gradient(tokens, mixed.view, d_y.view, turned.view);
    table.expert_input_gradient(tokens, d_y.view, b.view, d_mixed.view);
    Random2d d_w = w, d_e = e;
    table.weigh_backward_weights(tokens, 0.5F, e.view, d_mixed.view, d_w.view);
    table.weigh_backward_embeddings(tokens, 0.5F, w.view, d_mixed.view, d_e.view);

    int64_t c = 0;
    for (int64_t r = 0; r < n; ++r) {
      const bool in = c < count && rows[static_cast<size_t>(c)] == r;
      double inner = 0;
      for (int64_t k = 0; k < rank; ++k) {
        if (!in) {
          RC_ASSERT(d_e.at(r, k) == e.at(r, k));
          continue;
        }
        near(mixed.at(c, k), 0.5 * w.at(r, 0) * e.at(r, k));
        double product = 0;
        for (int64_t o = 0; o < out; ++o) product += d_y.at(r, o) * b.at(o, k);
        near(d_mixed.at(c, k), product, 2e-5);
        inner += 0.5 * d_mixed.at(c, k) * e.at(r, k);
        near(d_e.at(r, k), e.at(r, k) + 0.5 * w.at(r, 0) * d_mixed.at(c, k));
      }
      near(d_w.at(r, 0), in ? inner : w.at(r, 0), 2e-5);
      for (int64_t o = 0; o < out; ++o) {
        double product = 0;
        for (int64_t k = 0; in && k < rank; ++k) product += mixed.at(c, k) * b.at(o, k);
        near(sum.at(r, o), y.at(r, o) + product, 2e-5);
      }
      c += in;
    }
    for (int64_t k = 0; k < rank; ++k) {
      for (int64_t o = 0; o < out; ++o) {
        double product = 0;
        for (int64_t i = 0; i < count; ++i) {
          product += mixed.at(i, k) * d_y.at(rows[static_cast<size_t>(i)], o);
        }
        near(turned.at(k, o), product, 2e-5);
      }
    }
  }));
}

TEST_CASE("mixture passes: a matrix turned over, whatever its sizes") {
  CHECK(rc::check([] {
    Random random(*rc::gen::arbitrary<uint64_t>(), "test: turned over");
    const int64_t rows = up_to(random, 13), columns = up_to(random, 13);
    const Random2d from(random, rows, columns), before(random, columns, rows);
    Random2d to = before;
    const bool add = random.below(2) == 0;
    transpose(from.view, to.view, add ? Onto::kItself : Onto::kNothing);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < columns; ++c) {
        const float turned = from.view.data[r * from.view.stride + c];
        const float own = before.view.data[c * before.view.stride + r];
        RC_ASSERT(to.view.data[c * to.view.stride + r] == (add ? own + turned : turned));
      }
    }
  }));
}

}  // namespace

}  // namespace fedclock::nn
