// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/temp_folder_test_util.h"

namespace duly {

// For tests: a program as a user runs it; stdout and stderr go to files. Killed with its owner.
class Subprocess {
 public:
  // environment: "NAME=value", beside the test's own.
  Subprocess(const std::string& program, std::vector<std::string> arguments,
             std::vector<std::string> environment = {}) {
    arguments.insert(arguments.begin(), program);
    for (char** variable = ::environ; *variable != nullptr; ++variable) {
      environment.emplace_back(*variable);
    }
    posix_spawn_file_actions_t actions;
    DULY_CHECK(::posix_spawn_file_actions_init(&actions) == 0);
    constexpr int kFlags = O_WRONLY | O_CREAT | O_TRUNC;
    ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, folder_.At("out").c_str(), kFlags,
                                       0600);
    ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, folder_.At("err").c_str(), kFlags,
                                       0600);
    DULY_CHECK(::posix_spawn(&pid_, program.c_str(), &actions, nullptr, Pointers(arguments).data(),
                             Pointers(environment).data()) == 0);
    ::posix_spawn_file_actions_destroy(&actions);
  }
  ~Subprocess() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGKILL);
    Wait();
  }
  Subprocess(const Subprocess&) = delete;
  Subprocess& operator=(const Subprocess&) = delete;

  void Signal(int signal) const { DULY_CHECK(::kill(pid_, signal) == 0); }
  // The exit code; 128 + the number of the signal that ended it. Once.
  int Wait() {
    int status = 0;
    DULY_CHECK(::waitpid(std::exchange(pid_, -1), &status, 0) > 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  // What it has written so far.
  std::string out() const { return Read("out"); }
  std::string err() const { return Read("err"); }

 private:
  static std::vector<char*> Pointers(std::vector<std::string>& strings) {
    std::vector<char*> pointers;
    for (std::string& text : strings) pointers.push_back(text.data());
    pointers.push_back(nullptr);
    return pointers;
  }
  std::string Read(const std::string& name) const {
    std::ostringstream text;
    text << std::ifstream(folder_.At(name), std::ios::binary).rdbuf();
    return text.str();
  }

  TempFolder folder_;
  pid_t pid_ = -1;
};

}  // namespace duly
