// SPDX-License-Identifier: Apache-2.0
//
// duly.yaml. A fault has a place in the text; what is accepted can be served, and is the same when
// it is written again.
#include "repository/serving_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"

namespace duly {
namespace {

std::string Quoted(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + '"';
}

std::string Written(const ServingFile& serving) {
  std::string text = "{";
  const auto add = [&text](std::string_view key, const std::string& value) {
    text += fmt::format("{}{}: {}", text.ends_with('{') ? "" : ", ", key, value);
  };
  if (serving.slo) add("slo", fmt::format("{}ns", serving.slo->count()));
  if (serving.timeout) add("timeout", fmt::format("{}ns", serving.timeout->count()));
  if (serving.warmup_runs) add("warmup", fmt::format("{}", *serving.warmup_runs));
  if (serving.default_variant) add("default_variant", Quoted(*serving.default_variant));
  if (!serving.variants.empty()) {
    add("variants", "[");
    for (const VariantSpec& variant : serving.variants) {
      text += text.ends_with('[') ? "{" : ", {";
      add("name", Quoted(variant.name));
      add("file", Quoted(variant.file));
      if (variant.accuracy_pct) add("accuracy", fmt::format("{}", *variant.accuracy_pct));
      if (!variant.dataset.empty()) add("dataset", Quoted(variant.dataset));
      if (!variant.accuracy_method.empty()) add("method", variant.accuracy_method);
      if (!variant.accuracy_source.empty()) add("source", Quoted(variant.accuracy_source));
      add("memory", fmt::format("{}", variant.memory_bytes));
      text += '}';
    }
    text += ']';
  }
  return text + '}';
}

bool Same(const VariantSpec& a, const VariantSpec& b) {
  return a.name == b.name && a.file == b.file && a.accuracy_pct == b.accuracy_pct &&
         a.dataset == b.dataset && a.accuracy_method == b.accuracy_method &&
         a.accuracy_source == b.accuracy_source && a.memory_bytes == b.memory_bytes;
}

bool Same(const ServingFile& a, const ServingFile& b) {
  return a.slo == b.slo && a.timeout == b.timeout && a.warmup_runs == b.warmup_runs &&
         a.default_variant == b.default_variant &&
         std::equal(a.variants.begin(), a.variants.end(), b.variants.begin(), b.variants.end(),
                    [](const VariantSpec& x, const VariantSpec& y) { return Same(x, y); });
}

void CheckAccepted(const ServingFile& serving) {
  DULY_CHECK(serving.variants.size() <= kMaxVariants);
  DULY_CHECK(serving.file_places.size() == serving.variants.size());
  for (const VariantSpec& variant : serving.variants) {
    DULY_CHECK(!variant.name.empty() && StaysInside(variant.file));
    DULY_CHECK(!variant.accuracy_pct ||
               (*variant.accuracy_pct >= 0 && *variant.accuracy_pct <= 100));
    DULY_CHECK(!variant.accuracy_pct || !variant.dataset.empty());
  }
  DULY_CHECK(!serving.slo || *serving.slo > Duration(0));
  DULY_CHECK(!serving.timeout || *serving.timeout > Duration(0));
}

void Read(const std::string& text) {
  Faults faults;
  const ServingFile serving = ParseServingFile(text, "duly.yaml", faults);
  const auto lines =
      1 + std::count_if(text.begin(), text.end(), [](char c) { return c == '\n' || c == '\r'; });
  for (const Fault& fault : faults.all()) {
    DULY_CHECK(fault.file == "duly.yaml" && !fault.what.empty());
    DULY_CHECK(fault.line >= 0 && fault.line <= lines + 1 && fault.column >= 0);
  }
  if (!faults.empty()) return;
  CheckAccepted(serving);
  const std::string written = Written(serving);
  // Quantities are read through a double.
  const auto large = [](const std::optional<Duration>& d) {
    return d && d->count() > std::int64_t{1} << 53;
  };
  bool exact = !large(serving.slo) && !large(serving.timeout);
  for (const VariantSpec& variant : serving.variants) {
    exact = exact && variant.memory_bytes <= std::uint64_t{1} << 53;
  }
  const ServingFile again = ParseServingFile(written, "duly.yaml", faults);
  DULY_CHECK(faults.empty());
  DULY_CHECK(!exact || Same(serving, again));
}

}  // namespace
}  // namespace duly

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  duly::Read({reinterpret_cast<const char*>(data), size});
  return 0;
}
