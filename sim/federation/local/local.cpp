#include "sim/federation/local/local.h"

#include "models/common/error.h"

namespace fedclock::federation {

std::unique_ptr<Local> make_local(const v1::Local& answer, uint64_t seed) {
  switch (answer.kind_case()) {
    case v1::Local::kPlain: return train_plainly(answer, seed);
    case v1::Local::KIND_NOT_SET: break;
  }
  throw ProgrammerError("the method left the local training open");
}

learning::TrainSettings train_settings(const v1::Local& answer) {
  learning::TrainSettings settings;
  settings.steps = answer.steps();
  settings.epochs = answer.epochs();
  settings.batch_rows = answer.batch_size();
  settings.optimizer = answer.optimizer() == v1::SGD ? learning::OptimizerKind::kSgd
                                                     : learning::OptimizerKind::kAdamW;
  settings.weight_decay = answer.weight_decay();
  settings.momentum = answer.momentum();
  settings.clip_norm = answer.clip_norm();
  return settings;
}

}  // namespace fedclock::federation
