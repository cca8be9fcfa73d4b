// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "cli/compare_report.h"
#include "cli/html_page.h"

namespace duly {
namespace {

std::string Legend(const Comparison& comparison) {
  std::string html = "<p>";
  for (std::size_t p = 0; p < comparison.policies.size(); ++p) {
    html += LegendEntry(ColourOf(p), comparison.policies[p].name);
  }
  return html + "</p>\n";
}

// Lines at quarters of the height, with their shares beside them.
template <typename YOfShare>
std::string ShareGrid(double left, double right, const YOfShare& y) {
  std::string svg;
  for (const double share : {0.0, 0.25, 0.5, 0.75, 1.0}) {
    svg += fmt::format(
        "<line x1=\"{}\" x2=\"{:.0f}\" y1=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"#e4e4e4\"/>"
        "<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{:.0f} %</text>",
        left, right, y(share), y(share), left - 6, y(share) + 4, share * 100);
  }
  return svg;
}

// A line through points "x,y x,y ...".
std::string Curve(const std::string& points, std::size_t policy, const std::string& name) {
  return fmt::format(
      "<polyline fill=\"none\" stroke-width=\"2\" points=\"{}\" stroke=\"{}\"><title>{}</title>"
      "</polyline>",
      points, ColourOf(policy), Escaped(name));
}

// Bars of what is on time, with whiskers over the interval.
std::string Bars(const Comparison& comparison) {
  constexpr double kLeft = 46, kTop = 12, kHeight = 220, kBar = 22, kGap = 26;
  const Metric& metric = AllMetrics()[0];
  const int applications = static_cast<int>(comparison.policies[0].runs[0].applications.size());
  const double group = kBar * static_cast<double>(comparison.policies.size()) + kGap;
  const double width = kLeft + group * (applications + 1) + 10;
  const auto y = [&](double share) { return kTop + kHeight * (1 - share); };
  std::string svg = fmt::format("<svg viewBox=\"0 0 {:.0f} {:.0f}\" width=\"{:.0f}\" role=\"img\">",
                                width, kTop + kHeight + 30, width);
  svg += ShareGrid(kLeft, width, y);
  for (int row = 0; row <= applications; ++row) {
    const int application = row == applications ? -1 : row;
    const double left = kLeft + kGap / 2 + group * row;
    for (std::size_t p = 0; p < comparison.policies.size(); ++p) {
      const std::optional<Compared> compared = Compare(comparison, metric, p, application);
      if (!compared) continue;
      const double mean = compared->value.mean;
      const double low = std::max(0.0, mean - compared->value.half);
      const double high = std::min(100.0, mean + compared->value.half);
      const double x = left + kBar * static_cast<double>(p);
      svg += fmt::format(
          "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{}\" height=\"{:.1f}\" fill=\"{}\">"
          "<title>{}: {:.2f} ± {:.2f} %</title></rect>"
          "<line x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"#222\"/>",
          x, y(mean / 100), kBar - 3, y(0) - y(mean / 100), ColourOf(p),
          Escaped(comparison.policies[p].name), mean, compared->value.half, x + kBar / 2 - 1.5,
          x + kBar / 2 - 1.5, y(low / 100), y(high / 100));
    }
    const std::string& name = NameOf(comparison, application);
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>",
                       left + (group - kGap) / 2, y(0) + 18, Escaped(name));
  }
  return svg + "</svg>\n";
}

// Which share of the answers took how long at most, on a logarithmic axis; all runs together.
std::string LatencyCurves(const Comparison& comparison, std::size_t part) {
  constexpr double kLeft = 46, kTop = 12, kWidth = 640, kHeight = 220;
  double low = INFINITY;
  double high = 0;
  for (const Comparison::Policy& policy : comparison.policies) {
    if (policy.latency[part].count() == 0) continue;
    low = std::min(low, ToMillis(policy.latency[part].Percentile(0.001)));
    high = std::max(high, ToMillis(policy.latency[part].max()));
  }
  if (high == 0) return "";
  const double first = std::floor(std::log10(std::max(low, 1e-3)));
  const double last = std::max(std::ceil(std::log10(high)), first + 1);
  const auto x = [&](double ms) {
    return kLeft + kWidth * (std::log10(std::max(ms, 1e-3)) - first) / (last - first);
  };
  const auto y = [&](double share) { return kTop + kHeight * (1 - share); };
  std::string svg = fmt::format("<svg viewBox=\"0 0 {:.0f} {:.0f}\" width=\"{:.0f}\" role=\"img\">",
                                kLeft + kWidth + 30, kTop + kHeight + 40, kLeft + kWidth + 30);
  svg += ShareGrid(kLeft, kLeft + kWidth, y);
  for (double power = first; power <= last; ++power) {
    const double ms = std::pow(10, power);
    svg += fmt::format(
        "<line x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\" stroke=\"#e4e4e4\"/>"
        "<text x=\"{0:.1f}\" y=\"{3:.1f}\" text-anchor=\"middle\">{4:g} ms</text>",
        x(ms), kTop, kTop + kHeight, kTop + kHeight + 18, ms);
  }
  const std::vector<ApplicationReport>& applications = comparison.policies[0].runs[0].applications;
  if (part < applications.size() && applications[part].slo_ms) {
    const double slo_ms = *applications[part].slo_ms;
    if (slo_ms >= std::pow(10, first) && slo_ms <= std::pow(10, last)) {
      svg += fmt::format(
          "<line x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\" stroke=\"#222\" "
          "stroke-dasharray=\"4 3\"/><text x=\"{3:.1f}\" y=\"{4}\">SLO</text>",
          x(slo_ms), kTop, kTop + kHeight, x(slo_ms) + 4, kTop + 12);
    }
  }
  for (std::size_t p = 0; p < comparison.policies.size(); ++p) {
    const sim::LatencyHistogram& histogram = comparison.policies[p].latency[part];
    if (histogram.count() == 0) continue;
    std::string points;
    for (int i = 1; i <= 200; ++i) {
      const double share = i / 200.0;
      points += fmt::format("{:.1f},{:.1f} ", x(ToMillis(histogram.Percentile(share))), y(share));
    }
    svg += Curve(points, p, comparison.policies[p].name);
  }
  return svg + "</svg>\n";
}

// What was on time of the requests of each part of the measured time, all runs together.
std::string OverTime(const Comparison& comparison, std::size_t part) {
  constexpr double kLeft = 46, kTop = 12, kWidth = 640, kHeight = 160;
  const auto y = [&](double share) { return kTop + kHeight * (1 - share); };
  std::string svg = fmt::format("<svg viewBox=\"0 0 {:.0f} {:.0f}\" width=\"{:.0f}\" role=\"img\">",
                                kLeft + kWidth + 30, kTop + kHeight + 40, kLeft + kWidth + 30);
  svg += ShareGrid(kLeft, kLeft + kWidth, y);
  const double duration_s = comparison.policies[0].runs[0].duration_s;
  for (const double share : {0.0, 0.25, 0.5, 0.75, 1.0}) {
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{:.4g} s</text>",
                       kLeft + kWidth * share, y(0) + 18, duration_s * share);
  }
  for (std::size_t p = 0; p < comparison.policies.size(); ++p) {
    std::string points;
    double slice = 0.5;
    for (const sim::TimeSlice& each : comparison.policies[p].over_time[part]) {
      const double x = kLeft + kWidth * slice++ / static_cast<double>(sim::kTimeSlices);
      if (each.sent == 0) continue;
      points += fmt::format("{:.1f},{:.1f} ", x,
                            y(static_cast<double>(each.on_time) / static_cast<double>(each.sent)));
    }
    svg += Curve(points, p, comparison.policies[p].name);
  }
  return svg + "</svg>\n";
}

std::string MetricTable(const Comparison& comparison, const Metric& metric) {
  const SimReport& first = comparison.policies[0].runs[0];
  std::string rows;
  for (int row = 0; row <= static_cast<int>(first.applications.size()); ++row) {
    const int application = row == static_cast<int>(first.applications.size()) ? -1 : row;
    const std::string& name = NameOf(comparison, application);
    std::string cells;
    for (std::size_t p = 0; p < comparison.policies.size(); ++p) {
      const std::optional<Compared> compared = Compare(comparison, metric, p, application);
      if (!compared) continue;
      const char* const verdict = compared->verdict == Compared::Verdict::kBetter  ? "better"
                                  : compared->verdict == Compared::Verdict::kWorse ? "worse"
                                                                                   : "";
      cells += fmt::format("<td class=\"{}\">{:.2f} ± {:.2f}", verdict, compared->value.mean,
                           compared->value.half);
      if (p > 0) {
        cells += fmt::format(" <small>({:+.2f} ± {:.2f})</small>", compared->difference.mean,
                             compared->difference.half);
      }
      cells += "</td>";
    }
    if (!cells.empty()) rows += fmt::format("<tr><td>{}</td>{}</tr>\n", Escaped(name), cells);
  }
  if (rows.empty()) return "";
  std::string head;
  for (const Comparison::Policy& policy : comparison.policies) {
    head += fmt::format("<th>{}</th>", Escaped(policy.name));
  }
  return fmt::format("<div class=\"wide\"><table><tr><th>{}</th>{}</tr>\n{}</table></div>\n",
                     metric.title, head, rows);
}

// Every figure in which a policy is better or worse than the base, in words.
std::string WhoWins(const Comparison& comparison) {
  const SimReport& first = comparison.policies[0].runs[0];
  const std::string base = Escaped(comparison.policies[0].name);
  std::string html = "<ul>\n";
  for (std::size_t p = 1; p < comparison.policies.size(); ++p) {
    std::array<std::string, 2> where;  // better, worse
    for (int row = -1; row < static_cast<int>(first.applications.size()); ++row) {
      const std::optional<Compared> compared = Compare(comparison, AllMetrics()[0], p, row);
      if (!compared || compared->verdict == Compared::Verdict::kLevel) continue;
      std::string& list = where[compared->verdict == Compared::Verdict::kBetter ? 0 : 1];
      const std::string& name = NameOf(comparison, row);
      list += fmt::format("{}{} ({:+.2f})", list.empty() ? "" : ", ", Escaped(name),
                          compared->difference.mean);
    }
    const std::string name = Escaped(comparison.policies[p].name);
    html += fmt::format("<li>{} loses to {} in: {}.</li>\n", base, name,
                        where[0].empty() ? "nothing" : where[0]);
    html += fmt::format("<li>{} wins against {} in: {}.</li>\n", base, name,
                        where[1].empty() ? "nothing" : where[1]);
  }
  return html + "</ul>\n";
}

}  // namespace

std::string ToHtml(const Comparison& comparison) {
  const SimReport& first = comparison.policies[0].runs[0];
  std::string html = PageHead("duly compare");
  html += fmt::format("<h1>{}</h1>\n<p>{}</p>\n", Escaped(comparison.scenario),
                      Escaped(comparison.about));
  html += fmt::format(
      "<p>{} runs a policy, seeds {} to {}, {:.4g} s each after {:.4g} s of warm-up, load factor "
      "{:.4g}. Run i of every policy meets the same arrivals and service noise. Figures are means "
      "with 95 % intervals; in brackets the difference to {}, paired by seed; coloured where the "
      "interval of the difference does not hold 0.</p>\n",
      comparison.seeds.size(), comparison.seeds.front(), comparison.seeds.back(), first.duration_s,
      ToSeconds(first.facts.warmup), first.facts.load_factor, Escaped(comparison.policies[0].name));
  html += "<h2>On time</h2>\n" + Legend(comparison) + Bars(comparison) + WhoWins(comparison);
  html += "<h2>Latency of answers</h2>\n" + Legend(comparison) + "<h3>all applications</h3>\n" +
          LatencyCurves(comparison, first.applications.size());
  for (std::size_t a = 0; a < first.applications.size(); ++a) {
    html += fmt::format("<h3>{}</h3>\n", Escaped(first.applications[a].name)) +
            LatencyCurves(comparison, a);
  }
  html += "<h2>On time, over time</h2>\n" + Legend(comparison) + "<h3>all applications</h3>\n" +
          OverTime(comparison, first.applications.size());
  for (std::size_t a = 0; a < first.applications.size(); ++a) {
    html +=
        fmt::format("<h3>{}</h3>\n", Escaped(first.applications[a].name)) + OverTime(comparison, a);
  }
  html += "<h2>All figures</h2>\n";
  for (const Metric& metric : AllMetrics()) html += MetricTable(comparison, metric);
  return html + std::string(kPageEnd);
}

}  // namespace duly
