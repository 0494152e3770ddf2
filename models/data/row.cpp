#include "models/data/row.h"

namespace fedclock::data {

Digest content_digest(const Dataset& set) {
  DigestBuilder digest;
  digest.add(static_cast<uint64_t>(set.rows.size()));
  for (const Row& row : set.rows) {
    digest.add(row.text).add(row.pair).add(row.response).add(row.label).add(row.domain);
  }
  for (const std::string& name : set.classes) digest.add(name);
  if (set.open_responses) digest.add("open responses");
  return digest.finish();
}

}  // namespace fedclock::data
