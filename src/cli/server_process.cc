// SPDX-License-Identifier: Apache-2.0
#include "cli/server_process.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>
#include <vector>

#include "base/file.h"

namespace duly {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr int kTickMs = 20;
// Longer than the server's own --exit-timeout-secs.
constexpr Duration kStopTimeout = std::chrono::seconds(40);

// A new folder, removed at the end.
class Folder {
 public:
  Folder() : path_((std::filesystem::temp_directory_path() / "duly-XXXXXX").string()) {
    if (::mkdtemp(path_.data()) == nullptr) path_.clear();
  }
  ~Folder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// In the child, between fork and exec: only what is safe in a signal handler.
[[noreturn]] void Become(char* const* arguments, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  // Ctrl-C is for the parent, which asks for an orderly end.
  ::setpgid(0, 0);
  if (::getppid() == parent) ::execv("/proc/self/exe", arguments);
  ::_exit(127);
}

}  // namespace

Result<std::unique_ptr<ServerProcess>> ServerProcess::Start(
    std::span<const std::string> repositories, int stop_fd, Duration timeout) {
  const Folder folder;
  if (folder.path().empty()) {
    return Error(StatusCode::kInternal, "no temporary folder: {}", std::strerror(errno));
  }
  const std::string ready_file = folder.path() + "/ready.json";
  std::vector<std::string> arguments = {"duly",           "serve",   "--host",      "127.0.0.1",
                                        "--http-port",    "0",       "--grpc-port", "0",
                                        "--metrics-port", "0",       "--log-level", "warning",
                                        "--ready-file",   ready_file};
  for (const std::string& repository : repositories) {
    arguments.insert(arguments.end(), {"--model-repository", repository});
  }
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);

  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return Error(StatusCode::kInternal, "no process: {}", std::strerror(errno));
  if (child == 0) Become(pointers.data(), parent);
  std::unique_ptr<ServerProcess> server(new ServerProcess(child));

  const SteadyClock::time_point deadline = SteadyClock::now() + timeout;
  while (!IsFile(ready_file)) {
    if (server->Ended()) {
      return Error(StatusCode::kUnavailable, "the server ended before it was ready");
    }
    if (SteadyClock::now() > deadline) {
      return Error(StatusCode::kUnavailable, "the server was not ready in time");
    }
    pollfd stop{stop_fd, POLLIN, 0};
    if (::poll(&stop, 1, kTickMs) > 0) return Error(StatusCode::kCancelled, "interrupted");
  }
  DULY_ASSIGN_OR_RETURN(const std::string text, ReadFile(ready_file));
  const nlohmann::json ready = nlohmann::json::parse(text, nullptr, false);
  if (!ready.is_object() || !ready.contains("http") || !ready["http"].is_string()) {
    return Error(StatusCode::kInternal, "the server's ready file names no address");
  }
  server->url_ = "http://" + ready["http"].get<std::string>();
  return server;
}

ServerProcess::~ServerProcess() { [[maybe_unused]] const Status stopped = Stop(); }

bool ServerProcess::Ended() {
  if (pid_ >= 0 && ::waitpid(pid_, &status_, WNOHANG) != 0) pid_ = -1;
  return pid_ < 0;
}

Status ServerProcess::Stop() {
  if (!Ended()) {
    ::kill(pid_, SIGTERM);
    const SteadyClock::time_point deadline = SteadyClock::now() + kStopTimeout;
    while (!Ended() && SteadyClock::now() < deadline) ::poll(nullptr, 0, kTickMs);
    if (!Ended()) {
      ::kill(pid_, SIGKILL);
      ::waitpid(std::exchange(pid_, -1), &status_, 0);
    }
  }
  if (WIFEXITED(status_) && WEXITSTATUS(status_) == 0) return Status();
  return Status(StatusCode::kInternal,
                WIFEXITED(status_)
                    ? fmt::format("the server ended with exit code {}", WEXITSTATUS(status_))
                    : fmt::format("signal {} ended the server", WTERMSIG(status_)));
}

}  // namespace duly
