// SPDX-License-Identifier: Apache-2.0
#include "base/file.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <system_error>

namespace duly {
namespace {

tl::unexpected<Status> FromErrno(int error) {
  const StatusCode code = error == ENOENT || error == ENOTDIR ? StatusCode::kNotFound
                          : error == EACCES                   ? StatusCode::kPermissionDenied
                          : error == EISDIR                   ? StatusCode::kInvalidArgument
                                                              : StatusCode::kInternal;
  return Error(code, "{}", std::generic_category().message(error));
}

}  // namespace

Result<std::string> ReadFile(const std::string& path, std::size_t max_bytes) {
  std::error_code ignored;
  const std::filesystem::file_type type = std::filesystem::status(path, ignored).type();
  // Opening a named pipe would wait for its writer.
  if (type != std::filesystem::file_type::regular &&
      type != std::filesystem::file_type::not_found &&
      type != std::filesystem::file_type::directory) {
    return Error(StatusCode::kInvalidArgument, "not a regular file");
  }
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rbe"),
                                                             &std::fclose);
  if (file == nullptr) return FromErrno(errno);
  std::string text;
  char block[8192];
  for (;;) {
    const std::size_t size = std::fread(block, 1, sizeof(block), file.get());
    text.append(block, size);
    if (text.size() > max_bytes) {
      return Error(StatusCode::kInvalidArgument, "larger than {} bytes", max_bytes);
    }
    if (size < sizeof(block)) break;
  }
  if (std::ferror(file.get()) != 0) return FromErrno(errno);
  return text;
}

std::string RelativeToFile(const std::string& path, const std::string& file) {
  return (std::filesystem::path(file).parent_path() / path).string();
}

bool IsFile(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored);
}

}  // namespace duly
