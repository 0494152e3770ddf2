#include <Eigen/Dense>
#include <Eigen/Sparse>
#include <algorithm>
#include <cmath>
#include <numeric>

#include "models/common/error.h"
#include "models/common/random.h"
#include "models/learning/pretrain.h"
#include "models/nn/torch.h"

namespace fedclock::learning {

namespace {

constexpr int64_t kWindow = 5;
constexpr int64_t kOversampling = 16;
constexpr int kPowerIterations = 4;
constexpr double kRootMeanSquare = 0.05;

// Positions of each token in the stream: those of token i are places[first[i]] to
// places[first[i + 1] - 1].
struct Positions {
  std::vector<int64_t> first;   // [vocabulary + 1]
  std::vector<int64_t> places;  // [tokens]
};

Positions positions(const std::vector<int32_t>& stream, int64_t vocabulary) {
  Positions result{std::vector<int64_t>(vocabulary + 1, 0), std::vector<int64_t>(stream.size())};
  for (const int32_t token : stream) ++result.first[token + 1];
  std::partial_sum(result.first.begin(), result.first.end(), result.first.begin());
  std::vector<int64_t> next = result.first;
  for (size_t i = 0; i < stream.size(); ++i) {
    result.places[next[stream[i]]++] = static_cast<int64_t>(i);
  }
  return result;
}

// max(0, ln(n_ij n / (n_i n_j))) over pairs within the window. A row at a time: the memory is that
// of the pairs that occur, not of all.
Eigen::SparseMatrix<float, Eigen::RowMajor> positive_mutual_information(
    const std::vector<int32_t>& stream, int64_t vocabulary) {
  const Positions where = positions(stream, vocabulary);
  const auto length = static_cast<int64_t>(stream.size());
  std::vector<int64_t> totals(vocabulary, 0);
  const auto neighbours = [&](int64_t token, const auto& visit) {
    for (int64_t n = where.first[token]; n < where.first[token + 1]; ++n) {
      const int64_t place = where.places[n];
      const int64_t last = std::min(place + kWindow, length - 1);
      for (int64_t j = std::max<int64_t>(0, place - kWindow); j <= last; ++j) {
        if (j != place) visit(stream[j]);
      }
    }
  };
  int64_t total = 0;
  for (int64_t i = 0; i < vocabulary; ++i) {
    neighbours(i, [&](int32_t) { ++totals[i]; });
    total += totals[i];
  }
  Eigen::SparseMatrix<float, Eigen::RowMajor> matrix(vocabulary, vocabulary);
  std::vector<int64_t> counts(vocabulary, 0);
  for (int64_t i = 0; i < vocabulary; ++i) {
    std::vector<int32_t> found;
    neighbours(i, [&](int32_t j) {
      if (counts[j]++ == 0) found.push_back(j);
    });
    std::ranges::sort(found);
    matrix.startVec(i);
    for (const int32_t j : found) {
      const double expected = static_cast<double>(totals[i]) * static_cast<double>(totals[j]);
      const double information =
          std::log(static_cast<double>(counts[j]) * static_cast<double>(total) / expected);
      if (information > 0) matrix.insertBack(i, j) = static_cast<float>(information);
      counts[j] = 0;
    }
  }
  matrix.finalize();
  return matrix;
}

Eigen::MatrixXf orthonormal(const Eigen::MatrixXf& m) {
  return Eigen::HouseholderQR<Eigen::MatrixXf>(m).householderQ() *
         Eigen::MatrixXf::Identity(m.rows(), m.cols());
}

}  // namespace

at::Tensor cooccurrence_embeddings(const std::vector<int32_t>& stream, int64_t vocabulary,
                                   int64_t width, uint64_t seed) {
  const auto matrix = positive_mutual_information(stream, vocabulary);
  const int64_t columns = std::min(width + kOversampling, vocabulary);
  ensure(columns >= width, "the vocabulary is smaller than the model's width");
  Random random(seed, "co-occurrence");
  Eigen::MatrixXf q(vocabulary, columns);
  for (int64_t j = 0; j < columns; ++j) {
    for (int64_t i = 0; i < vocabulary; ++i) q(i, j) = static_cast<float>(random.normal());
  }
  // The matrix is symmetric: M is its own transpose in the power iteration.
  for (int i = 0; i < kPowerIterations; ++i) q = orthonormal(matrix * q);
  const Eigen::MatrixXf small = (matrix * q).transpose();  // Q' M, [columns, vocabulary]
  // Eigenvectors of (Q' M)(Q' M)' are the left singular vectors in Q's frame.
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXf> solver(small * small.transpose());
  const Eigen::MatrixXf u = q * solver.eigenvectors();
  at::Tensor embeddings = at::empty({vocabulary, width}, at::kFloat);
  auto* out = embeddings.data_ptr<float>();
  double squares = 0;
  for (int64_t j = 0; j < width; ++j) {
    const int64_t column = columns - 1 - j;  // eigenvalues ascend
    const float squared = std::max(0.0F, solver.eigenvalues()(column));
    const float scale = std::sqrt(std::sqrt(squared));  // S^(1/2)
    for (int64_t i = 0; i < vocabulary; ++i) {
      out[i * width + j] = u(i, column) * scale;
      squares += static_cast<double>(out[i * width + j]) * out[i * width + j];
    }
  }
  const double rms = std::sqrt(squares / static_cast<double>(vocabulary * width));
  ensure(rms > 0, "no two tokens of the corpus occur together");
  embeddings.mul_(kRootMeanSquare / rms);
  return embeddings;
}

}  // namespace fedclock::learning
