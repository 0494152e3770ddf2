#include <fmt/format.h>

#include "sim/platform/pickle.h"
#include "sim/platform/pickle_text.h"

namespace fedclock::platform {

namespace {

const PickleValue::Container* container_in(const PickleValue& value) {
  const auto* node = std::get_if<std::shared_ptr<PickleValue::Container>>(&value.data);
  return node == nullptr ? nullptr : node->get();
}

}  // namespace

const std::string* PickleValue::text() const {
  const Text* text = std::get_if<Text>(&data);
  return text == nullptr ? nullptr : text->utf8.get();
}

const std::vector<PickleValue>* PickleValue::sequence() const {
  const Container* container = container_in(*this);
  return container == nullptr || container->kind == Kind::kDict ? nullptr : &container->items;
}

const std::vector<PickleValue>* PickleValue::dict() const {
  const Container* container = container_in(*this);
  return container == nullptr || container->kind != Kind::kDict ? nullptr : &container->items;
}

const PickleValue* PickleValue::at(std::string_view key) const {
  const std::vector<PickleValue>* entries = dict();
  if (entries == nullptr) return nullptr;
  for (std::size_t i = entries->size(); i >= 2; i -= 2) {
    const std::string* name = (*entries)[i - 2].text();
    if (name != nullptr && *name == key) return &(*entries)[i - 1];
  }
  return nullptr;
}

std::string PickleValue::described() const {
  if (const bool* truth = std::get_if<bool>(&data)) return *truth ? "True" : "False";
  if (const int64_t* number = std::get_if<int64_t>(&data)) return fmt::format("{}", *number);
  if (const double* number = std::get_if<double>(&data)) return fmt::format("{}", *number);
  if (const std::string* words = text()) return fmt::format("the text '{}'", printable(*words));
  if (const Bytes* bytes = std::get_if<Bytes>(&data)) {
    return fmt::format("{} bytes", bytes->bytes->size());
  }
  const Container* container = container_in(*this);
  if (container == nullptr) return "None";
  if (container->kind == Kind::kDict)
    return fmt::format("a dict of {}", container->items.size() / 2);
  return fmt::format("a {} of {}", container->kind == Kind::kList ? "list" : "tuple",
                     container->items.size());
}

}  // namespace fedclock::platform
