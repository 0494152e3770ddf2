#include <Eigen/Dense>
#include <Eigen/Sparse>
#include <cmath>

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

// max(0, ln(n_ij n / (n_i n_j))) over pairs within the window.
Eigen::SparseMatrix<float, Eigen::RowMajor> positive_mutual_information(
    const std::vector<int32_t>& stream, int64_t vocabulary) {
  std::vector<float> counts(static_cast<size_t>(vocabulary * vocabulary), 0.0F);
  const auto length = static_cast<int64_t>(stream.size());
  for (int64_t i = 0; i < length; ++i) {
    for (int64_t j = i + 1; j <= std::min(i + kWindow, length - 1); ++j) {
      counts[stream[i] * vocabulary + stream[j]] += 1;
      counts[stream[j] * vocabulary + stream[i]] += 1;
    }
  }
  std::vector<double> totals(vocabulary, 0.0);
  double total = 0;
  for (int64_t i = 0; i < vocabulary; ++i) {
    for (int64_t j = 0; j < vocabulary; ++j) totals[i] += counts[i * vocabulary + j];
    total += totals[i];
  }
  std::vector<Eigen::Triplet<float>> entries;
  for (int64_t i = 0; i < vocabulary; ++i) {
    for (int64_t j = 0; j < vocabulary; ++j) {
      const double count = counts[i * vocabulary + j];
      if (count == 0) continue;
      const double information = std::log(count * total / (totals[i] * totals[j]));
      if (information > 0) entries.emplace_back(i, j, static_cast<float>(information));
    }
  }
  Eigen::SparseMatrix<float, Eigen::RowMajor> matrix(vocabulary, vocabulary);
  matrix.setFromTriplets(entries.begin(), entries.end());
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
