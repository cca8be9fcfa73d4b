// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/units.h"
#include "cli/html_page.h"
#include "cli/json_output.h"
#include "cli/plan_report.h"

namespace duly {
namespace {

// A page with more bars than this helps nobody.
constexpr std::size_t kMostBars = 1000;

constexpr double kLabel = 230, kWidth = 480, kRow = 18, kTop = 22;
// Bars end at this share of a bound, however much longer they are.
constexpr double kMostShare = 1.25;

double X(double share) { return kLabel + kWidth * std::min(share, kMostShare) / kMostShare; }

// Rows of bars beside a line at 100 %.
class Chart {
 public:
  void Heading(std::string_view text) {
    rows_ += fmt::format("<text x=\"0\" y=\"{:.0f}\" font-weight=\"bold\">{}</text>", Text(),
                         Escaped(text));
    ++row_;
  }
  void Label(std::string_view text) {
    rows_ += fmt::format("<text x=\"10\" y=\"{:.0f}\">{}</text>", Text(), Escaped(text));
  }
  void Bar(double share, std::string_view colour, std::string_view tip, double top, double height) {
    rows_ += fmt::format(
        "<rect x=\"{}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"{}\"><title>{}"
        "</title></rect>",
        kLabel, kTop + kRow * row_ + top, X(share) - kLabel, height, colour, Escaped(tip));
  }
  void Value(std::string_view text) {
    rows_ += fmt::format("<text x=\"{:.0f}\" y=\"{:.0f}\">{}</text>", X(kMostShare) + 8, Text(),
                         Escaped(text));
  }
  void Next() { ++row_; }

  std::string ToSvg() const {
    const double height = kTop + kRow * row_ + 6;
    std::string svg =
        fmt::format("<svg viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" role=\"img\">",
                    X(kMostShare) + 190, height);
    for (const int percent : {0, 25, 50, 75, 100, 125}) {
      svg += fmt::format(
          "<line x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2:.0f}\" stroke=\"{3}\"/>"
          "<text x=\"{0:.1f}\" y=\"{4}\" text-anchor=\"middle\">{5} %</text>",
          X(percent / 100.0), kTop - 4, height, percent == 100 ? "#222" : "#e4e4e4", kTop - 8,
          percent);
    }
    return svg + rows_ + "</svg>\n";
  }

 private:
  double Text() const { return kTop + kRow * row_ + kRow - 5; }

  int row_ = 0;
  std::string rows_;
};

std::string Latencies(const PlanReport& report) {
  std::vector<std::vector<const PlanReport::Application*>> on(report.devices.size());
  for (const PlanReport::Application& application : report.applications) {
    if (application.device != placement::kNowhere) {
      on[static_cast<std::size_t>(application.device)].push_back(&application);
    }
  }
  Chart chart;
  std::size_t bars = 0;
  for (std::size_t d = 0; d < on.size() && bars < kMostBars; ++d) {
    if (on[d].empty()) continue;
    chart.Heading(fmt::format("{} {}", report.devices[d].node, report.devices[d].name));
    for (const PlanReport::Application* application : on[d]) {
      ++bars;
      chart.Label(application->name);
      const placement::Promise& slo = application->slo;
      if (const auto& response = application->response) {
        const std::string text = fmt::format("{} {:.1f} of {:.4g} ms", NameOf(slo),
                                             response->promised_s * kMillis, slo.bound_s * kMillis);
        chart.Bar(response->promised_s / slo.bound_s, ColourOf(4), text, 2, kRow - 5);
        chart.Bar(response->mean_s / slo.bound_s, ColourOf(0),
                  fmt::format("mean {:.1f} ms", response->mean_s * kMillis), 5, kRow - 11);
        chart.Value(text);
      } else {
        chart.Value("overloaded");
      }
      chart.Next();
    }
  }
  return chart.ToSvg();
}

std::string Devices(const PlanReport& report) {
  Chart chart;
  for (std::size_t d = 0; d < std::min(kMostBars, report.devices.size()); ++d) {
    const PlanReport::Device& device = report.devices[d];
    chart.Label(fmt::format("{} {}", device.node, device.name));
    const double memory = device.memory_limit == 0 ? 0
                                                   : static_cast<double>(device.memory_used) /
                                                         static_cast<double>(device.memory_limit);
    const std::string used =
        fmt::format("{} of {}", FormatSize(device.memory_used), FormatSize(device.memory_limit));
    chart.Bar(device.utilization, ColourOf(2),
              fmt::format("utilization {:.3f}", device.utilization), 2, kRow / 2 - 3);
    chart.Bar(memory, ColourOf(1), used, kRow / 2, kRow / 2 - 3);
    chart.Value(fmt::format("{:.2f}; {}", device.utilization, used));
    chart.Next();
  }
  return chart.ToSvg();
}

std::string Refusals(const PlanReport& report) {
  std::string rows;
  std::size_t shown = 0;
  for (const PlanReport::Application& application : report.applications) {
    if (application.device != placement::kNowhere || shown++ >= kMostBars) continue;
    rows += fmt::format("<tr><td>{}</td><td>{}</td></tr>\n", Escaped(application.name),
                        Escaped(ReasonOf(report, application.refusal)));
  }
  if (rows.empty()) return "";
  return fmt::format(
      "<h2>Refused</h2>\n<div class=\"wide\"><table><tr><th>application</th><th>binding constraint"
      "</th></tr>\n{}</table></div>\n",
      rows);
}

}  // namespace

std::string ToHtml(const PlanReport& report) {
  std::string html = PageHead("duly plan");
  html += fmt::format(
      "<h1>{} of {} applications hosted</h1>\n<p>Algorithm {}. Memory up to {:.0f} % of a node's, "
      "utilization up to {:.2f}, rates taken {:.3g} times. Latencies are {} at the declared "
      "rates.</p>\n",
      report.hosted, report.applications.size(), Escaped(report.algorithm),
      report.limits.memory * 100, report.limits.utilization, report.limits.headroom,
      report.is_exact ? "predicted" : "estimated");
  html += "<h2>Latency, as a share of the SLO</h2>\n<p>" +
          LegendEntry(ColourOf(4), "what the SLO bounds") + LegendEntry(ColourOf(0), "mean") +
          "</p>\n" + Latencies(report);
  html += "<h2>Devices</h2>\n<p>" + LegendEntry(ColourOf(2), "utilization") +
          LegendEntry(ColourOf(1), "memory of the node, of its limit") + "</p>\n" + Devices(report);
  html += Refusals(report);
  if (report.applications.size() > kMostBars) {
    html +=
        fmt::format("<p><small>Lists end at {} entries; --json has all.</small></p>\n", kMostBars);
  }
  return html + std::string(kPageEnd);
}

}  // namespace duly
