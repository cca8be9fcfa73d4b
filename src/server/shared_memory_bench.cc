// SPDX-License-Identifier: Apache-2.0
//
// What it costs to copy a tensor of 3 x 224 x 224 FP32 numbers (602 kB) out of and into shared
// memory: as the server does it (Copy, Write), and by ways that it does not take, which need a
// mapping. Memory for what is read is taken and given back each time, as for a request.
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>

#include "base/unique_fd.h"
#include "server/shared_memory.h"

namespace duly {
namespace {

constexpr std::size_t kBytes = 602112;

void Require(bool condition, const char* what) {
  if (condition) return;
  std::perror(what);
  std::exit(1);
}

struct Bench {
  Bench() {
    const std::string key = "/duly-bench-" + std::to_string(getpid());
    const UniqueFd object(shm_open(key.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600));
    Require(object.valid() && ftruncate(object.get(), kBytes) == 0, "shm_open");
    void* const address =
        mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, object.get(), 0);
    Require(address != MAP_FAILED, "mmap");
    mapped = std::span(static_cast<std::byte*>(address), kBytes);
    std::memset(mapped.data(), 1, kBytes);
    const Status registered = registry.Register("r", key, 0, kBytes);
    shm_unlink(key.c_str());
    Require(registered.ok(), "register");
    place = registry.Locate("r", 0, kBytes).value();
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;
  ~Bench() { munmap(mapped.data(), kBytes); }

  SharedMemoryRegistry registry{std::size_t{1} << 30};
  SharedMemoryPlace place;
  std::span<std::byte> mapped;
};

void Copy(benchmark::State& state) {
  const Bench bench;
  for (auto _ : state) {
    const Result<Buffer> buffer = bench.registry.Copy(bench.place);
    Require(buffer.has_value(), "Copy");
    benchmark::DoNotOptimize(buffer->data().data());
  }
}
BENCHMARK(Copy);

void Write(benchmark::State& state) {
  const Bench bench;
  const auto [buffer, data] = Buffer::Allocate(kBytes);
  std::memset(data.data(), 2, kBytes);
  for (auto _ : state) Require(bench.place.region->Write(0, buffer.data()).ok(), "Write");
}
BENCHMARK(Write);

void ProcessVmReadv(benchmark::State& state) {
  const Bench bench;
  const iovec from{bench.mapped.data(), kBytes};
  for (auto _ : state) {
    const auto [buffer, data] = Buffer::Allocate(kBytes);
    const iovec to{data.data(), kBytes};
    Require(process_vm_readv(getpid(), &to, 1, &from, 1, 0) == ssize_t{kBytes}, "readv");
  }
}
BENCHMARK(ProcessVmReadv);

void ProcessVmWritev(benchmark::State& state) {
  const Bench bench;
  const auto [buffer, data] = Buffer::Allocate(kBytes);
  std::memset(data.data(), 2, kBytes);
  const iovec from{data.data(), kBytes};
  const iovec to{bench.mapped.data(), kBytes};
  for (auto _ : state) {
    Require(process_vm_writev(getpid(), &from, 1, &to, 1, 0) == ssize_t{kBytes}, "writev");
  }
}
BENCHMARK(ProcessVmWritev);

void Memcpy(benchmark::State& state) {
  const Bench bench;
  for (auto _ : state) {
    const auto [buffer, data] = Buffer::Allocate(kBytes);
    std::memcpy(data.data(), bench.mapped.data(), kBytes);
    benchmark::ClobberMemory();
  }
}
BENCHMARK(Memcpy);

}  // namespace
}  // namespace duly

BENCHMARK_MAIN();
