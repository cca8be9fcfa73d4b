// SPDX-License-Identifier: Apache-2.0
#include "telemetry/trace_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/unique_fd.h"

namespace duly {
namespace {

Status CannotWrite(const std::string& path, std::string_view why) {
  return Status(StatusCode::kInvalidArgument,
                fmt::format("trace file {} cannot be written: {}", path, why));
}

Status WriteAt(int fd, std::string_view text, std::int64_t offset, const std::string& path) {
  while (!text.empty()) {
    const ssize_t written = ::pwrite(fd, text.data(), text.size(), offset);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return CannotWrite(path, std::strerror(errno));
    text.remove_prefix(static_cast<std::size_t>(written));
    offset += written;
  }
  return Status();
}

}  // namespace

struct TraceFile::Part {
  UniqueFd fd;
  std::string path;
  std::uint64_t traces = 0;
  std::int64_t end = 0;  // behind the last trace
};

Result<std::shared_ptr<TraceFile::Part>> TraceFile::PartFor(std::uint64_t per_file) {
  const MutexLock lock(mutex_);
  std::shared_ptr<Part>& part = per_file > 0 ? numbered_ : whole_;
  if (part != nullptr && (per_file == 0 || part->traces < per_file)) return part;
  auto opened = std::make_shared<Part>();
  opened->path = per_file > 0 ? fmt::format("{}.{}", path_, next_number_) : path_;
  // What is not a regular file must not be waited for either.
  opened->fd = UniqueFd(
      ::open(opened->path.c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0640));
  if (!opened->fd.valid()) return Error(CannotWrite(opened->path, std::strerror(errno)));
  struct stat about {};
  if (::fstat(opened->fd.get(), &about) != 0 || !S_ISREG(about.st_mode)) {
    return Error(CannotWrite(opened->path, "it is not a regular file"));
  }
  if (::ftruncate(opened->fd.get(), 0) != 0) {
    return Error(CannotWrite(opened->path, std::strerror(errno)));
  }
  DULY_RETURN_IF_ERROR(WriteAt(opened->fd.get(), "[]\n", 0, opened->path));
  if (per_file > 0) ++next_number_;
  part = std::move(opened);
  return part;
}

Status TraceFile::Open(std::uint64_t per_file) {
  const Result<std::shared_ptr<Part>> part = PartFor(per_file);
  return part ? Status() : part.error();
}

Status TraceFile::Append(std::string_view elements, std::uint64_t per_file) {
  const Result<std::shared_ptr<Part>> found = PartFor(per_file);
  if (!found) return found.error();
  // Outside the lock: a disk may take its time.
  Part& part = **found;
  const std::string_view before = part.traces == 0 ? "[\n" : ",\n";
  const Status status =
      WriteAt(part.fd.get(), fmt::format("{}{}\n]\n", before, elements), part.end, part.path);
  if (!status.ok()) return status;
  part.end += static_cast<std::int64_t>(before.size() + elements.size());
  const MutexLock lock(mutex_);
  ++part.traces;
  return Status();
}

}  // namespace duly
