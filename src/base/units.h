// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"

namespace duly {

// "250us", "20ms", "1.5s", "2min", "1h", "10ns". Not negative; a bare number other than 0 is
// refused, because its unit would be a guess.
Result<Duration> ParseDuration(std::string_view text);
// The shortest of the forms above with four significant digits: "20ms", "1.5s".
std::string FormatDuration(Duration d);

// "8MiB", "64kB", "512", "1.5GiB": bytes. Binary and decimal prefixes.
Result<std::uint64_t> ParseSize(std::string_view text);
std::string FormatSize(std::uint64_t bytes);

// A rate per second: "100", "100/s", "6000/min".
Result<double> ParseRate(std::string_view text);

// Of a clock, in Hz: "921.6MHz", "1.377GHz", "345600kHz". A bare number is refused.
Result<std::uint64_t> ParseFrequency(std::string_view text);
// "921.6MHz", whatever the form that was read.
std::string FormatFrequency(std::uint64_t hz);

}  // namespace duly
