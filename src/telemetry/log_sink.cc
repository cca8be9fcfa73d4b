// SPDX-License-Identifier: Apache-2.0
#include "telemetry/log_sink.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace duly {
namespace {

class LogFile final : public LogSink {
 public:
  LogFile(int descriptor, std::string name) : descriptor_(descriptor), name_(std::move(name)) {}
  ~LogFile() override {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  LogFile(const LogFile&) = delete;
  LogFile& operator=(const LogFile&) = delete;

  Status Append(std::span<const std::byte> bytes) override {
    while (!bytes.empty()) {
      const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return Failure("cannot be written");
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
    return Status();
  }

  Status Close() override {
    // A pipe or a device has nothing to sync.
    const bool synced = ::fsync(descriptor_) == 0 || errno == EINVAL || errno == EROFS;
    const Status status = synced ? Status() : Failure("cannot be synced");
    const bool closed = ::close(std::exchange(descriptor_, -1)) == 0;
    return status.ok() && !closed ? Failure("cannot be closed") : status;
  }

 private:
  Status Failure(std::string_view what) const {
    return Status(StatusCode::kResourceExhausted,
                  fmt::format("{}: {}: {}", name_, what, std::strerror(errno)));
  }

  int descriptor_;
  std::string name_;
};

}  // namespace

Result<std::unique_ptr<LogSink>> OpenLogFile(const std::string& file) {
  const int descriptor = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (descriptor < 0) {
    return Error(StatusCode::kInvalidArgument, "{}: cannot be created: {}", file,
                 std::strerror(errno));
  }
  return std::make_unique<LogFile>(descriptor, file);
}

}  // namespace duly
