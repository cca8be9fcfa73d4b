// SPDX-License-Identifier: Apache-2.0
#include "telemetry/crc32c.h"

#include <array>
#include <cstring>

namespace duly {
namespace {

constexpr std::uint32_t kPolynomial = 0x82F63B78;  // bits reversed

// tables[k][b]: the remainder of byte b followed by k zero bytes (slicing by 8; Kounavis and Berry,
// 2005).
using Tables = std::array<std::array<std::uint32_t, 256>, 8>;

constexpr Tables MakeTables() {
  Tables tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    tables[0][byte] = crc;
  }
  for (std::size_t k = 1; k < tables.size(); ++k) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint32_t crc = tables[k - 1][byte];
      tables[k][byte] = (crc >> 8) ^ tables[0][crc & 0xFF];
    }
  }
  return tables;
}

constexpr Tables kTables = MakeTables();

#if defined(__x86_64__)
#define DULY_SSE42 __attribute__((target("sse4.2")))

// A function, because clang gives a lambda not the target of what it stands in.
DULY_SSE42 inline std::uint64_t Step(const std::byte* at, std::uint64_t state) {
  std::uint64_t word = 0;
  std::memcpy(&word, at, 8);
  return __builtin_ia32_crc32di(state, word);
}

DULY_SSE42 std::uint32_t ByInstruction(std::span<const std::byte> bytes, std::uint32_t crc) {
  const std::byte* at = bytes.data();
  std::size_t left = bytes.size();
  std::uint64_t state = ~crc;
  for (; left >= 64; at += 64, left -= 64) {
    state = Step(at, state);
    state = Step(at + 8, state);
    state = Step(at + 16, state);
    state = Step(at + 24, state);
    state = Step(at + 32, state);
    state = Step(at + 40, state);
    state = Step(at + 48, state);
    state = Step(at + 56, state);
  }
  for (; left >= 8; at += 8, left -= 8) state = Step(at, state);
  auto narrow = static_cast<std::uint32_t>(state);
  for (; left > 0; ++at, --left) {
    narrow = __builtin_ia32_crc32qi(narrow, static_cast<unsigned char>(*at));
  }
  return ~narrow;
}
#endif

}  // namespace

std::uint32_t Crc32cByTables(std::span<const std::byte> bytes, std::uint32_t crc) {
  std::uint32_t state = ~crc;
  const auto at = [&](std::size_t i) { return std::to_integer<std::uint32_t>(bytes[i]); };
  while (bytes.size() >= 8) {
    state ^= at(0) | at(1) << 8 | at(2) << 16 | at(3) << 24;
    state = kTables[7][state & 0xFF] ^ kTables[6][state >> 8 & 0xFF] ^
            kTables[5][state >> 16 & 0xFF] ^ kTables[4][state >> 24] ^ kTables[3][at(4)] ^
            kTables[2][at(5)] ^ kTables[1][at(6)] ^ kTables[0][at(7)];
    bytes = bytes.subspan(8);
  }
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    state = (state >> 8) ^ kTables[0][(state ^ at(i)) & 0xFF];
  }
  return ~state;
}

std::uint32_t Crc32c(std::span<const std::byte> bytes, std::uint32_t crc) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("sse4.2") != 0) return ByInstruction(bytes, crc);
#endif
  return Crc32cByTables(bytes, crc);
}

}  // namespace duly
