// SPDX-License-Identifier: Apache-2.0
#include "base/units.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <optional>

namespace duly {
namespace {

struct Unit {
  std::string_view name;
  double factor;
};

// Largest first, for formatting.
constexpr std::array<Unit, 6> kTimeUnits{
    {{"h", 3600e9}, {"min", 60e9}, {"s", 1e9}, {"ms", 1e6}, {"us", 1e3}, {"ns", 1}}};
constexpr std::array<Unit, 8> kSizeUnits{{{"GiB", 1024.0 * 1024 * 1024},
                                          {"GB", 1e9},
                                          {"MiB", 1024.0 * 1024},
                                          {"MB", 1e6},
                                          {"KiB", 1024},
                                          {"kB", 1e3},
                                          {"B", 1},
                                          {"", 1}}};
constexpr std::array<Unit, 4> kRateUnits{
    {{"/s", 1}, {"/min", 1.0 / 60}, {"/h", 1.0 / 3600}, {"", 1}}};
constexpr std::array<Unit, 4> kFrequencyUnits{
    {{"GHz", 1e9}, {"MHz", 1e6}, {"kHz", 1e3}, {"Hz", 1}}};

struct Quantity {
  double number = 0;
  std::string_view unit;
};

std::optional<Quantity> Split(std::string_view text) {
  Quantity quantity;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), quantity.number);
  if (error != std::errc() || !std::isfinite(quantity.number) || quantity.number < 0) {
    return std::nullopt;
  }
  quantity.unit = text.substr(static_cast<std::size_t>(end - text.data()));
  while (quantity.unit.starts_with(' ')) quantity.unit.remove_prefix(1);
  return quantity;
}

template <std::size_t n>
std::optional<double> InBaseUnit(const Quantity& quantity, const std::array<Unit, n>& units) {
  for (const Unit& unit : units) {
    if (unit.name == quantity.unit) return quantity.number * unit.factor;
  }
  return std::nullopt;
}

}  // namespace

Result<Duration> ParseDuration(std::string_view text) {
  const std::optional<Quantity> quantity = Split(text);
  if (quantity && quantity->number == 0 && quantity->unit.empty()) return Duration(0);
  const std::optional<double> ns = quantity ? InBaseUnit(*quantity, kTimeUnits) : std::nullopt;
  if (!ns || *ns > 9.2e18) {
    return Error(StatusCode::kInvalidArgument,
                 "'{}' is not a duration: expected a number with a unit, such as 250us, 20ms, 1.5s",
                 text);
  }
  return Duration(std::llround(*ns));
}

std::string FormatDuration(Duration d) {
  if (d.count() == 0) return "0s";
  const double ns = static_cast<double>(d.count());
  for (const Unit& unit : kTimeUnits) {
    // Minutes and hours read badly as fractions.
    if (unit.factor > 1e9 && std::fmod(ns, unit.factor) != 0) continue;
    if (std::abs(ns) >= unit.factor) return fmt::format("{:.4g}{}", ns / unit.factor, unit.name);
  }
  return fmt::format("{:.4g}ns", ns);
}

Result<std::uint64_t> ParseSize(std::string_view text) {
  const std::optional<Quantity> quantity = Split(text);
  const std::optional<double> bytes = quantity ? InBaseUnit(*quantity, kSizeUnits) : std::nullopt;
  if (!bytes || *bytes > 9e18) {
    return Error(StatusCode::kInvalidArgument,
                 "'{}' is not a size: expected bytes, such as 512, 64kB, 8MiB", text);
  }
  return static_cast<std::uint64_t>(std::llround(*bytes));
}

std::string FormatSize(std::uint64_t bytes) {
  const double value = static_cast<double>(bytes);
  if (value >= 1024.0 * 1024 * 1024)
    return fmt::format("{:.4g}GiB", value / (1024.0 * 1024 * 1024));
  if (value >= 1024.0 * 1024) return fmt::format("{:.4g}MiB", value / (1024.0 * 1024));
  if (value >= 1024.0) return fmt::format("{:.4g}KiB", value / 1024.0);
  return fmt::format("{}B", bytes);
}

Result<double> ParseRate(std::string_view text) {
  const std::optional<Quantity> quantity = Split(text);
  const std::optional<double> rate = quantity ? InBaseUnit(*quantity, kRateUnits) : std::nullopt;
  if (!rate) {
    return Error(StatusCode::kInvalidArgument,
                 "'{}' is not a rate: expected requests per second, such as 100 or 100/s", text);
  }
  return *rate;
}

Result<std::uint64_t> ParseFrequency(std::string_view text) {
  const std::optional<Quantity> quantity = Split(text);
  const std::optional<double> hz = quantity ? InBaseUnit(*quantity, kFrequencyUnits) : std::nullopt;
  if (!hz || *hz > 1e12) {
    return Error(StatusCode::kInvalidArgument,
                 "'{}' is not a frequency: expected a number with a unit, such as 921.6MHz", text);
  }
  return static_cast<std::uint64_t>(std::llround(*hz));
}

std::string FormatFrequency(std::uint64_t hz) {
  return fmt::format("{:g}MHz", static_cast<double>(hz) / 1e6);
}

}  // namespace duly
