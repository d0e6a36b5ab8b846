#include "tools/svg_plots.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace lapidary::tools {

namespace {

constexpr double kWidth = 860, kHeight = 380, kLeft = 80, kRight = 20, kTop = 20, kBottom = 45;

// From values to places in the picture, linear or by powers of ten.
struct Axis {
  double low, high, from, to;
  double at(double value) const { return from + (value - low) / (high - low) * (to - from); }
};

Axis across(double low, double high) { return {low, high, kLeft, kWidth - kRight}; }
Axis upwards(double low, double high) { return {low, high, kHeight - kBottom, kTop}; }

std::string opening() { return fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\">\n", kWidth, kHeight); }

std::string line(double x1, double y1, double x2, double y2, const char* kind) {
  return fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" class=\"{}\"/>\n", x1, y1, x2, y2,
                     kind);
}

std::string label(double x, double y, const char* anchor, const std::string& text) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>\n", x, y, anchor, escape_html(text));
}

std::string axis_names(const std::string& x, const std::string& y) {
  return label((kLeft + kWidth - kRight) / 2, kHeight - 6, "middle", x) + label(kLeft, kTop - 6, "start", y);
}

std::string decades(const Axis& x, const Axis& y) {
  std::string svg;
  for (double power = x.low; power <= x.high; ++power) {
    svg += line(x.at(power), y.from, x.at(power), y.to, "grid");
    svg += label(x.at(power), y.from + 16, "middle", fmt::format("{:g}", std::pow(10, power)));
  }
  for (double power = y.low; power <= y.high; ++power) {
    svg += line(x.from, y.at(power), x.to, y.at(power), "grid");
    svg += label(x.from - 6, y.at(power) + 4, "end", fmt::format("{:g}", std::pow(10, power)));
  }
  return svg;
}

double intensity(const KernelRow& row) { return static_cast<double>(row.flops) / static_cast<double>(row.bytes); }

}  // namespace

std::string escape_html(std::string_view text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      case '\'':
        result += "&#39;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

std::string roofline_svg(const Report& report) {
  const double peak = report.peak.gflops * report.threads, bandwidth = report.peak.gbytes;
  std::vector<const KernelRow*> rows;
  for (const KernelRow& row : report.rows)
    if (row.gflops > 0 && row.bytes > 0) rows.push_back(&row);
  if (rows.empty() || peak <= 0 || bandwidth <= 0) return "";
  const double ridge = peak / bandwidth;  // flops a byte where the two bounds meet
  double left = ridge, right = ridge, low = peak, high = peak;
  for (const KernelRow* row : rows) {
    left = std::min(left, intensity(*row));
    right = std::max(right, intensity(*row));
    low = std::min(low, row->gflops);
    high = std::max(high, row->gflops);
  }
  const Axis x = across(std::floor(std::log10(left)), std::ceil(std::log10(right)) + 1);
  const double bottom = std::floor(std::log10(low));
  const Axis y = upwards(bottom, std::max(bottom + 1, std::ceil(std::log10(high))));
  const auto roof = [&](double power) {
    return std::max(y.low, std::log10(std::min(peak, bandwidth * std::pow(10, power))));
  };
  std::string svg = opening() + decades(x, y);
  const double bend = std::log10(ridge), start = std::max(x.low, y.low - std::log10(bandwidth));
  svg += line(x.at(start), y.at(roof(start)), x.at(bend), y.at(roof(bend)), "roof");
  svg += line(x.at(bend), y.at(roof(bend)), x.to, y.at(roof(bend)), "roof");
  for (const KernelRow* row : rows) {
    const double radius = 3 + 12 * std::sqrt(report.steps_ms > 0 ? row->ms / report.steps_ms : 0);
    svg += fmt::format(
        "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{:.1f}\"><title>{} {}: {:.1f} GFLOP/s, {:.2f} flops a "
        "byte</title></circle>\n",
        x.at(std::log10(intensity(*row))), y.at(std::log10(row->gflops)), radius, escape_html(row->name),
        escape_html(row->origin), row->gflops, intensity(*row));
  }
  return svg + axis_names("flops a byte", "GFLOP/s") + "</svg>\n";
}

std::string memory_svg(const Inspection& inspection) {
  const int64_t peak = inspection.peak.value.value_or(0);
  if (peak <= 0 || inspection.buffers.empty()) return "";
  const auto steps = static_cast<double>(std::max<size_t>(1, inspection.steps.size()));
  const Axis x = across(0, steps), y = upwards(0, static_cast<double>(peak));
  std::string svg = opening();
  for (int part = 0; part <= 4; ++part) {
    const double value = static_cast<double>(peak) * part / 4;
    svg += line(x.from, y.at(value), x.to, y.at(value), "grid");
    svg += label(x.from - 6, y.at(value) + 4, "end", fmt::format("{:.4g}", value * 1e-6));
    svg += label(x.at(steps * part / 4), y.from + 16, "middle", fmt::format("{:.4g}", steps * part / 4));
  }
  for (size_t i = 0; i < inspection.buffers.size(); ++i) {
    const Inspection::Buffer& buffer = inspection.buffers[i];
    if (!buffer.offset.value || !buffer.bytes.value) continue;
    const double bottom = y.at(static_cast<double>(*buffer.offset.value));
    const double top = y.at(static_cast<double>(*buffer.offset.value) + static_cast<double>(*buffer.bytes.value));
    const double left = x.at(buffer.first_step), right = x.at(buffer.last_step + 1.0);
    const std::string& origin =
        inspection.steps[std::min<size_t>(buffer.first_step, inspection.steps.size() - 1)].origin;
    svg += fmt::format(
        "<rect x=\"{:.2f}\" y=\"{:.2f}\" width=\"{:.2f}\" height=\"{:.2f}\" class=\"b{}\"><title>buffer "
        "{}: {} = {} bytes, steps {} to {}; {}</title></rect>\n",
        left, top, right - left, std::max(0.5, bottom - top), i % 6, i, escape_html(buffer.bytes.formula),
        *buffer.bytes.value, buffer.first_step, buffer.last_step, escape_html(origin));
  }
  return svg + axis_names("step", "MB") + "</svg>\n";
}

namespace {

constexpr const char* kStyle =
    "<style>text{font:12px sans-serif;fill:#555}.grid{stroke:#ddd}path{fill:none;stroke-width:1.5}"
    ".train{stroke:#4878b0}.validation{stroke:#d1703c}text.train{fill:#4878b0;stroke:none}"
    "text.validation{fill:#d1703c;stroke:none}</style>\n";

constexpr size_t kMostPoints = 2000;  // more would not be seen

// Of many points every so many, each the mean of those it stands for.
std::vector<std::pair<double, double>> thinned(const Curve& curve) {
  std::vector<std::pair<double, double>> finite, few;
  for (const auto& point : curve.points)
    if (std::isfinite(point.second)) finite.push_back(point);
  const size_t each = (finite.size() + kMostPoints - 1) / kMostPoints;
  for (size_t at = 0; at < finite.size(); at += each) {
    const size_t count = std::min(each, finite.size() - at);
    double sum = 0;
    for (size_t i = 0; i < count; ++i) sum += finite[at + i].second;
    few.emplace_back(finite[at + count - 1].first, sum / static_cast<double>(count));
  }
  return few;
}

}  // namespace

std::string curves_svg(const std::string& x_name, const std::string& y_name, const std::vector<Curve>& curves) {
  double right = 1, low = 0, high = 0;
  std::vector<std::vector<std::pair<double, double>>> all;
  for (const Curve& curve : curves) {
    all.push_back(thinned(curve));
    for (const auto& [x, y] : all.back()) right = std::max(right, x), low = std::min(low, y), high = std::max(high, y);
  }
  const Axis x = across(0, right), y = upwards(low, high > low ? high : low + 1);
  std::string svg = fmt::format("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" role=\"img\">\n{}",
                                kWidth, kHeight, kStyle);
  for (int part = 0; part <= 4; ++part) {
    const double value = y.low + (y.high - y.low) * part / 4;
    svg += line(x.from, y.at(value), x.to, y.at(value), "grid");
    svg += label(x.from - 6, y.at(value) + 4, "end", fmt::format("{:.4g}", value));
    svg += label(x.at(right * part / 4), y.from + 16, "middle", fmt::format("{:.4g}", right * part / 4));
  }
  for (size_t i = 0; i < curves.size(); ++i) {
    if (all[i].empty()) continue;
    std::string path;
    for (const auto& [at, value] : all[i])
      path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", x.at(at), y.at(value));
    svg += fmt::format("<path class=\"{}\" d=\"{}\"/>\n", curves[i].kind, path);
    svg += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"end\" class=\"{}\">{}</text>\n", kWidth - kRight,
                       kTop + 14 + 16 * static_cast<double>(i), curves[i].kind, escape_html(curves[i].name));
  }
  return svg + axis_names(x_name, y_name) + "</svg>\n";
}

}  // namespace lapidary::tools
