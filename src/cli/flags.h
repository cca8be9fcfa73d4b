// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "base/time.h"

namespace duly {

// Flags whose values carry units (base/units.h). *target is set when the flag or its variable is
// given; a value that does not parse is a usage fault that says what was expected.
CLI::Option* AddDuration(CLI::App& parser, const std::string& flags,
                         std::optional<Duration>& target, const std::string& description);
CLI::Option* AddSize(CLI::App& parser, const std::string& flags,
                     std::optional<std::uint64_t>& target, const std::string& description);
CLI::Option* AddRate(CLI::App& parser, const std::string& flags, std::optional<double>& target,
                     const std::string& description);

}  // namespace duly
