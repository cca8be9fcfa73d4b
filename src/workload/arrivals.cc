// SPDX-License-Identifier: Apache-2.0
#include "workload/arrivals.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "base/file.h"

namespace duly::workload {
namespace {

// Traces are data, not configuration: ten million lines are fine.
constexpr std::size_t kMaxTraceBytes = std::size_t{1} << 30;

// Nothing when the time lies beyond what a Duration holds: no run lasts that long.
std::optional<Duration> Offset(double seconds) {
  if (seconds > 9e9) return std::nullopt;
  return FromSeconds(seconds);
}

std::string_view TakeLine(std::string_view& text) {
  const std::size_t end = text.find('\n');
  std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

struct Cell {
  std::string_view text;
  std::size_t offset = 0;  // in the line
};

Cell CellAt(std::string_view line, std::size_t column) {
  std::size_t begin = 0;
  for (; column > 0; --column) {
    const std::size_t comma = line.find(',', begin);
    if (comma == std::string_view::npos) return {"", line.size()};
    begin = comma + 1;
  }
  return {line.substr(begin, line.find(',', begin) - begin), begin};
}

std::optional<double> ParseSeconds(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (!std::isfinite(value) || value < 0) return std::nullopt;
  return value;
}

}  // namespace

PoissonArrivals::PoissonArrivals(double rate_per_s, RandomStream stream)
    : mean_gap_s_(1 / rate_per_s), stream_(stream) {
  DULY_CHECK(rate_per_s > 0);
}

std::optional<Duration> PoissonArrivals::Next() {
  time_s_ += stream_.Exponential(mean_gap_s_);
  return Offset(time_s_);
}

ConstantArrivals::ConstantArrivals(double rate_per_s, RandomStream stream)
    : gap_s_(1 / rate_per_s), first_s_(stream.Uniform() * gap_s_) {
  DULY_CHECK(rate_per_s > 0);
}

std::optional<Duration> ConstantArrivals::Next() {
  return Offset(first_s_ + static_cast<double>(count_++) * gap_s_);
}

OnOffArrivals::OnOffArrivals(double rate_per_s, Duration on, Duration off, RandomStream stream)
    : mean_on_s_(ToSeconds(on)),
      mean_off_s_(ToSeconds(off)),
      mean_gap_s_(mean_on_s_ / (rate_per_s * (mean_on_s_ + mean_off_s_))),
      stream_(stream) {
  DULY_CHECK(rate_per_s > 0 && on.count() > 0 && off.count() > 0);
  const double share_on = mean_on_s_ / (mean_on_s_ + mean_off_s_);
  if (stream_.Uniform() < share_on) on_left_s_ = stream_.Exponential(mean_on_s_);
}

std::optional<Duration> OnOffArrivals::Next() {
  double gap_s = stream_.Exponential(mean_gap_s_);
  while (gap_s > on_left_s_) {
    gap_s -= on_left_s_;
    time_s_ += on_left_s_;
    time_s_ += stream_.Exponential(mean_off_s_);
    on_left_s_ = stream_.Exponential(mean_on_s_);
  }
  on_left_s_ -= gap_s;
  time_s_ += gap_s;
  return Offset(time_s_);
}

MarkovArrivals::MarkovArrivals(double rate_per_s, std::vector<MarkovState> states,
                               RandomStream stream)
    : states_(std::move(states)), stream_(stream) {
  DULY_CHECK(rate_per_s > 0 && states_.size() >= 2);
  double dwell_s = 0;
  double weighted_s = 0;
  for (const MarkovState& state : states_) {
    DULY_CHECK(state.weight >= 0 && state.dwell.count() > 0);
    dwell_s += ToSeconds(state.dwell);
    weighted_s += state.weight * ToSeconds(state.dwell);
  }
  DULY_CHECK(weighted_s > 0);
  rate_of_weight_ = rate_per_s * dwell_s / weighted_s;
  // The state that a moment chosen at random lies in; what is left of it is exponential, too.
  double at_s = stream_.Uniform() * dwell_s;
  while (state_ + 1 < states_.size() && at_s >= ToSeconds(states_[state_].dwell)) {
    at_s -= ToSeconds(states_[state_++].dwell);
  }
  left_s_ = stream_.Exponential(ToSeconds(states_[state_].dwell));
}

std::optional<Duration> MarkovArrivals::Next() {
  while (true) {
    const double rate_per_s = states_[state_].weight * rate_of_weight_;
    if (rate_per_s > 0) {
      const double gap_s = stream_.Exponential(1 / rate_per_s);
      if (gap_s <= left_s_) {
        left_s_ -= gap_s;
        time_s_ += gap_s;
        return Offset(time_s_);
      }
    }
    // The gap has no memory: in the next state it is drawn anew.
    time_s_ += left_s_;
    const std::size_t step = 1 + stream_.Below(states_.size() - 1);
    state_ = (state_ + step) % states_.size();
    left_s_ = stream_.Exponential(ToSeconds(states_[state_].dwell));
    if (!Offset(time_s_)) return std::nullopt;
  }
}

DiurnalArrivals::DiurnalArrivals(double rate_per_s, Duration period, double depth, double phase,
                                 RandomStream stream)
    : mean_gap_s_(1 / (rate_per_s * (1 + depth))),
      period_s_(ToSeconds(period)),
      depth_(depth),
      phase_(phase),
      stream_(stream) {
  DULY_CHECK(rate_per_s > 0 && period.count() > 0 && depth >= 0 && depth <= 1);
}

std::optional<Duration> DiurnalArrivals::Next() {
  while (true) {
    time_s_ += stream_.Exponential(mean_gap_s_);
    const std::optional<Duration> at = Offset(time_s_);
    if (!at) return std::nullopt;
    const double level = 1 + depth_ * PortableSinTurns(time_s_ / period_s_ + phase_);
    if (stream_.Uniform() * (1 + depth_) < level) return at;
  }
}

TraceArrivals::TraceArrivals(std::shared_ptr<const std::vector<double>> times_s, double speed)
    : times_s_(std::move(times_s)), speed_(speed) {
  DULY_CHECK(speed > 0);
}

std::optional<Duration> TraceArrivals::Next() {
  if (next_ == times_s_->size()) return std::nullopt;
  return Offset((*times_s_)[next_++] / speed_);
}

double MeanRate(const std::vector<double>& trace_s) {
  return static_cast<double>(trace_s.size() - 1) / (trace_s.back() - trace_s.front());
}

std::unique_ptr<ArrivalProcess> MakeArrivals(const ArrivalSpec& spec, double rate_per_s,
                                             std::uint64_t seed, std::string_view application) {
  const RandomStream stream(seed, fmt::format("arrivals/{}", application));
  switch (spec.kind) {
    case ArrivalSpec::Kind::kConstant:
      return std::make_unique<ConstantArrivals>(rate_per_s, stream);
    case ArrivalSpec::Kind::kOnOff:
      return std::make_unique<OnOffArrivals>(rate_per_s, spec.on, spec.off, stream);
    case ArrivalSpec::Kind::kMarkov:
      return std::make_unique<MarkovArrivals>(rate_per_s, spec.states, stream);
    case ArrivalSpec::Kind::kDiurnal:
      return std::make_unique<DiurnalArrivals>(rate_per_s, spec.period, spec.depth, spec.phase,
                                               stream);
    case ArrivalSpec::Kind::kTrace:
      return std::make_unique<TraceArrivals>(spec.trace_s, rate_per_s / MeanRate(*spec.trace_s));
    case ArrivalSpec::Kind::kPoisson:
      break;
    case ArrivalSpec::Kind::kClosed:
      DULY_CHECK(false);
  }
  return std::make_unique<PoissonArrivals>(rate_per_s, stream);
}

std::shared_ptr<const std::vector<double>> ReadTrace(const std::string& file, Faults& faults) {
  const Result<std::string> contents = ReadFile(file, kMaxTraceBytes);
  if (!contents) {
    faults.Add({file, 0, 0, contents.error().message(), "a CSV file of arrival times"});
    return nullptr;
  }
  auto times_s = std::make_shared<std::vector<double>>();
  std::string_view text = *contents;
  std::size_t column = 0;
  for (int line_number = 1; !text.empty(); ++line_number) {
    const std::string_view line = TakeLine(text);
    if (line.empty()) continue;
    if (line_number == 1 && !ParseSeconds(CellAt(line, 0).text)) {
      for (std::size_t i = 0; CellAt(line, i).offset < line.size(); ++i) {
        if (CellAt(line, i).text == "arrival_s") column = i;
      }
      continue;
    }
    const Cell cell = CellAt(line, column);
    const std::optional<double> time_s = ParseSeconds(cell.text);
    const int position = static_cast<int>(cell.offset) + 1;
    if (!time_s) {
      faults.Add({file, line_number, position, fmt::format("'{}' is not a time", cell.text),
                  "seconds since the start, such as 0.25"});
      return nullptr;
    }
    if (!times_s->empty() && *time_s < times_s->back()) {
      faults.Add({file, line_number, position, "the time lies before that of the line before",
                  "times that do not decrease"});
      return nullptr;
    }
    times_s->push_back(*time_s);
  }
  if (times_s->empty() || times_s->front() == times_s->back()) {
    faults.Add({file, 0, 0, "the trace has no span", "at least two different arrival times"});
    return nullptr;
  }
  return times_s;
}

}  // namespace duly::workload
