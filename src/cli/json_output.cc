// SPDX-License-Identifier: Apache-2.0
#include "cli/json_output.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <ostream>

namespace duly {

Status WriteText(const std::string& file, const std::string& text) {
  errno = 0;
  std::ofstream stream(file, std::ios::binary);
  stream << text;
  stream.close();
  if (stream) return Status();
  return Status(StatusCode::kInvalidArgument,
                fmt::format("{}: cannot be written: {}", file, std::strerror(errno)));
}

Status WriteJson(const std::string& file, const nlohmann::ordered_json& json, std::ostream& out) {
  const std::string text =
      json.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  if (file == "-") {
    out << text << '\n';
    return Status();
  }
  return WriteText(file, text + '\n');
}

}  // namespace duly
