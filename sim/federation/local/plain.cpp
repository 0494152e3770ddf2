#include <cmath>

#include "sim/federation/federation.h"

namespace fedclock::federation {

namespace {

class Plain : public Local {
 public:
  Plain(const v1::Local& answer, uint64_t seed)
      : settings_(train_settings(answer)),
        learning_rate_(answer.learning_rate()),
        decay_(answer.learning_rate_decay()),
        seed_(seed) {}

  learning::TrainJob job(int64_t round, int32_t client, const Client& who,
                         const Plan& plan) const override {
    return {.rows = who.train_rows,
            .settings = settings_,
            .depth = plan.depth,
            .learning_rate = learning_rate_ * std::pow(decay_, static_cast<double>(round - 1)),
            .seed = seed_,
            .round = round,
            .client = client};
  }

 private:
  learning::TrainSettings settings_;
  double learning_rate_, decay_;
  uint64_t seed_;
};

}  // namespace

std::unique_ptr<Local> train_plainly(const v1::Local& answer, uint64_t seed) {
  return std::make_unique<Plain>(answer, seed);
}

}  // namespace fedclock::federation
