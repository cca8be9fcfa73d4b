// SPDX-License-Identifier: Apache-2.0
#include "base/scratch_folder.h"

#include <stdlib.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>

namespace duly {

namespace fs = std::filesystem;

Result<ScratchFolder> ScratchFolder::Make() {
  std::error_code error;
  std::string path = (fs::temp_directory_path(error) / "duly-XXXXXX").string();
  if (error || ::mkdtemp(path.data()) == nullptr) {
    return Error(StatusCode::kUnavailable, "{}: no folder can be made there: {}", path,
                 error ? error.message() : std::strerror(errno));
  }
  return ScratchFolder(std::move(path));
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  if (!path_.empty()) fs::remove_all(path_, ignored);
}

Status ScratchFolder::Write(const std::string& name, std::string_view bytes) const {
  const fs::path file = fs::path(path_) / name;
  std::error_code error;
  fs::create_directories(file.parent_path(), error);
  std::ofstream stream(file, std::ios::binary);
  stream.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (stream.flush()) return Status();
  return Status(StatusCode::kUnavailable, file.string() + ": cannot be written");
}

}  // namespace duly
