// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/time.h"

namespace duly::sim {

// What happens next among a fixed number of entries, each of which has one time. Of those at the
// same time the one with the smallest number comes first. Setting a time costs O(log n).
class Agenda {
 public:
  explicit Agenda(std::size_t entries) {
    for (std::uint32_t i = 0; i < entries; ++i) {
      heap_.push_back({kNever, i});
      place_.push_back(i);
    }
  }

  void Set(std::uint32_t entry, TimePoint when) {
    std::size_t place = place_[entry];
    const TimePoint before = heap_[place].when;
    if (before == when) return;
    heap_[place].when = when;
    if (when < before) {
      while (place > 0 && heap_[place] < heap_[(place - 1) / 2])
        place = Swap(place, (place - 1) / 2);
      return;
    }
    for (;;) {
      std::size_t least = place;
      for (const std::size_t child : {2 * place + 1, 2 * place + 2}) {
        if (child < heap_.size() && heap_[child] < heap_[least]) least = child;
      }
      if (least == place) return;
      place = Swap(place, least);
    }
  }

  // kNever: nothing will happen.
  TimePoint next_time() const { return heap_.front().when; }
  std::uint32_t next_entry() const { return heap_.front().entry; }

 private:
  struct Item {
    TimePoint when;
    std::uint32_t entry;
    bool operator<(const Item& other) const {
      return std::pair(when, entry) < std::pair(other.when, other.entry);
    }
  };

  std::size_t Swap(std::size_t from, std::size_t to) {
    std::swap(heap_[from], heap_[to]);
    place_[heap_[from].entry] = static_cast<std::uint32_t>(from);
    place_[heap_[to].entry] = static_cast<std::uint32_t>(to);
    return to;
  }

  std::vector<Item> heap_;
  std::vector<std::uint32_t> place_;  // of each entry in the heap
};

}  // namespace duly::sim
