// SPDX-License-Identifier: Apache-2.0
#include "cli/flags.h"

#include "base/units.h"

namespace duly {
namespace {

template <typename T, typename Parse>
CLI::Option* AddParsed(CLI::App& parser, const std::string& flags, std::optional<T>& target,
                       const std::string& description, const char* type, Parse parse) {
  const CLI::callback_t read = [flags, &target, parse](const CLI::results_t& values) {
    Result<T> value = parse(values.back());
    if (!value) throw CLI::ValidationError(flags, value.error().message());
    target = *value;
    return true;
  };
  return parser.add_option(flags, read, description)->type_name(type)->expected(1);
}

}  // namespace

CLI::Option* AddDuration(CLI::App& parser, const std::string& flags,
                         std::optional<Duration>& target, const std::string& description) {
  return AddParsed(parser, flags, target, description, "TIME", ParseDuration);
}

CLI::Option* AddSize(CLI::App& parser, const std::string& flags,
                     std::optional<std::uint64_t>& target, const std::string& description) {
  return AddParsed(parser, flags, target, description, "SIZE", ParseSize);
}

CLI::Option* AddRate(CLI::App& parser, const std::string& flags, std::optional<double>& target,
                     const std::string& description) {
  return AddParsed(parser, flags, target, description, "RATE", ParseRate);
}

}  // namespace duly
