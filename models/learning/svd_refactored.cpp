// FlexLoRA (2402.11505): the mean of the products, factored anew.
#include <Eigen/Dense>
#include <algorithm>
#include <limits>

#include "models/common/error.h"
#include "models/learning/adapter_names.h"
#include "models/learning/merge.h"
#include "models/nn/torch.h"

namespace fedclock::learning {

namespace {

using Matrix = Eigen::MatrixXd;

Matrix in_double(const nn::Matrix& m) {
  using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  return Eigen::Map<const RowMajor, 0, Eigen::OuterStride<>>(m.data, m.rows, m.columns,
                                                             Eigen::OuterStride<>(m.stride))
      .cast<double>();
}

at::Tensor in_float(const Matrix& m) {
  at::Tensor tensor = at::empty({m.rows(), m.cols()}, at::kFloat);
  float* out = tensor.data_ptr<float>();
  for (Eigen::Index r = 0; r < m.rows(); ++r) {
    for (Eigen::Index c = 0; c < m.cols(); ++c) *out++ = static_cast<float>(m(r, c));
  }
  return tensor;
}

// An orthonormal basis of a matrix' columns, and the matrix in it.
struct Basis {
  Matrix q, r;  // [n, least], [least, columns], least = min(n, columns)

  explicit Basis(const Matrix& m) {
    const Eigen::Index least = std::min(m.rows(), m.cols());
    const Eigen::HouseholderQR<Matrix> qr(m);
    q = qr.householderQ() * Matrix::Identity(m.rows(), least);
    r = qr.matrixQR().topRows(least).triangularView<Eigen::Upper>();
  }
};

struct Factors {
  Matrix a, b;  // [rank, in], [out, rank]
};

// U S and V^T of left [out, n] times right^T [n, in], without forming that: of left = Q R and
// right = P T, the singular values are those of R T^T, and U = Q U', V = P V'.
Factors factored(const Matrix& left, const Matrix& right) {
  const Basis of_left(left), of_right(right);
  const Matrix core = of_left.r * of_right.r.transpose();
  const Eigen::Index rank = std::min(core.rows(), core.cols());
  if (!core.allFinite()) {  // a training that diverged: as it is in a mean
    const double nan = std::numeric_limits<double>::quiet_NaN();
    return {Matrix::Constant(rank, right.rows(), nan), Matrix::Constant(left.rows(), rank, nan)};
  }
  const Eigen::BDCSVD<Matrix> svd(core, Eigen::ComputeThinU | Eigen::ComputeThinV);
  Factors factors{(of_right.q * svd.matrixV()).transpose(),
                  of_left.q * (svd.matrixU() * svd.singularValues().asDiagonal())};
  for (Eigen::Index r = 0; r < rank; ++r) {
    Eigen::Index largest = 0;
    for (Eigen::Index i = 1; i < factors.a.cols(); ++i) {
      if (std::abs(factors.a(r, i)) > std::abs(factors.a(r, largest))) largest = i;
    }
    if (factors.a(r, largest) > 0) continue;
    factors.a.row(r) *= -1;
    factors.b.col(r) *= -1;
  }
  return factors;
}

class SvdRefactored : public Aggregation {
 public:
  using Aggregation::Aggregation;
  const char* what() const override { return "SVD-refactored"; }
  Outcome operator()(const Inputs& inputs, const Task&) const override {
    const States states = states_after(1, inputs);
    nn::TensorMap global = *inputs.front();
    merge_unranked(states, weights_, global);
    for (const std::string& map : adapted_maps(states)) {
      const Factors factors = merged(states, map);
      global[name_of_a(map)] = in_float(factors.a);
      global[name_of_b(map)] = in_float(factors.b);
    }
    return {std::move(global), {}};
  }

 private:
  // Of one map: sum_k p_k B_k A_k is [p_1 B_1, p_2 B_2, ...] times [A_1; A_2; ...].
  Factors merged(const States& states, const std::string& map) const {
    std::vector<Adapter> adapters;
    std::vector<double> weights;
    double weight_sum = 0;
    Eigen::Index ranks = 0;
    for (size_t i = 0; i < states.size(); ++i) {
      const auto adapter = adapter_of(*states[i], map);
      if (!adapter) continue;
      adapters.push_back(*adapter);
      weights.push_back(weights_[i]);
      weight_sum += weights_[i];
      ranks += adapter->rank();
    }
    const nn::Matrix &a = adapters.front().a, &b = adapters.front().b;
    Matrix left(b.rows, ranks), right(a.columns, ranks);
    Eigen::Index at = 0;
    for (size_t k = 0; k < adapters.size(); ++k) {
      const auto& [own_a, own_b] = adapters[k];
      ensure(own_a.columns == a.columns && own_b.rows == b.rows, "adapters of different maps");
      left.middleCols(at, own_b.columns) = in_double(own_b) * (weights[k] / weight_sum);
      right.middleCols(at, own_a.rows) = in_double(own_a).transpose();
      at += own_a.rows;
    }
    return factored(left, right);
  }
};

}  // namespace

Function svd_refactored(const std::vector<double>& weights) {
  return std::make_shared<const SvdRefactored>(weights);
}

}  // namespace fedclock::learning
