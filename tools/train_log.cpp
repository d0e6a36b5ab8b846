#include "tools/train_log.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "codegen/output_file.h"
#include "tools/svg_plots.h"

namespace lapidary::tools {

void Tally::add(const Tally& other) {
  loss += other.loss, counted += other.counted, samples += other.samples;
  correct += other.correct, places += other.places;
}

std::optional<double> Tally::mean_loss() const {
  return counted > 0 ? std::optional(loss / static_cast<double>(counted)) : std::nullopt;
}

std::optional<double> Tally::accuracy() const {
  return places > 0 ? std::optional(static_cast<double>(correct) / static_cast<double>(places)) : std::nullopt;
}

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point then) { return std::chrono::duration<double>(Clock::now() - then).count(); }

bool on_terminal() { return isatty(STDERR_FILENO) != 0; }

std::string metrics(const char* name, std::optional<double> loss, std::optional<double> accuracy) {
  std::string text;
  if (loss) text += fmt::format(", {}loss {:.6g}", name, *loss);
  if (accuracy) text += fmt::format(", {}accuracy {:.4f}", name, *accuracy);
  return text;
}

std::string duration_text(double seconds) {
  const auto whole = static_cast<int64_t>(seconds);
  return whole < 60     ? fmt::format("{} s", whole)
         : whole < 3600 ? fmt::format("{}:{:02} min", whole / 60, whole % 60)
                        : fmt::format("{}:{:02} h", whole / 3600, whole / 60 % 60);
}

constexpr const char* kColumns = "step,epoch,loss,learning_rate,accuracy\n";

void write_file(const std::string& path, const std::string& text) {
  codegen::OutputFile file(path);
  file.write(text);
  file.keep();
}

}  // namespace

void TrainLog::read_csv(const std::string& path, int64_t last_step) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    StepRow row{};
    char accuracy[32] = "";
    const int fields = std::sscanf(line.c_str(), "%" SCNd64 ",%" SCNd64 ",%lf,%lf,%31s", &row.step, &row.epoch,
                                   &row.loss, &row.learning_rate, accuracy);
    if (fields < 4 || row.step > last_step) continue;
    if (fields == 5) row.accuracy = std::strtod(accuracy, nullptr);
    step_rows_.push_back(row);
  }
}

void TrainLog::read_json(const std::string& path, int64_t last_step) {
  std::ifstream file(path);
  const nlohmann::json log = nlohmann::json::parse(file, nullptr, false);
  const auto number = [](const nlohmann::json& row, const char* key) {
    const auto found = row.find(key);
    return found != row.end() && found->is_number() ? std::optional<double>(*found) : std::nullopt;
  };
  const auto read = [&](const char* list, auto add) {
    if (!log.is_object() || !log.contains(list)) return;
    for (const auto& row : log[list])
      if (const auto step = number(row, "step"); step && *step <= static_cast<double>(last_step))
        add(row, static_cast<int64_t>(number(row, "epoch").value_or(0)), static_cast<int64_t>(*step));
  };
  read("steps", [&](const auto& row, int64_t epoch, int64_t step) {
    step_rows_.push_back({step, epoch, number(row, "loss").value_or(NAN), number(row, "learning_rate").value_or(NAN),
                          number(row, "accuracy")});
  });
  read("epochs", [&](const auto& row, int64_t epoch, int64_t step) {
    epoch_rows_.push_back({epoch, step, number(row, "loss"), number(row, "accuracy"), number(row, "validation_loss"),
                           number(row, "validation_accuracy")});
  });
}

// A .json log has the epochs too.
void TrainLog::resume(int64_t step) {
  if (silent_ || files_.logs.empty()) return;
  const auto is_json = [](const std::string& path) { return path.ends_with(".json"); };
  const auto json = std::ranges::find_if(files_.logs, is_json);
  if (json != files_.logs.end())
    read_json(*json, step);
  else
    read_csv(files_.logs.front(), step);
}

void TrainLog::step(const StepRow& row, int64_t samples) {
  if (silent_) return;
  step_rows_.push_back(row);
  if (first_ < 0)
    first_ = row.step - 1, begin_ = Clock::now();  // the first step also prepares
  else
    samples_ += samples;
  if (!on_terminal() || (line_is_open_ && seconds_since(shown_) < 0.1)) return;
  shown_ = Clock::now();
  const double seconds = seconds_since(begin_);
  const auto done = static_cast<double>(row.step - first_ - 1);
  std::string line =
      fmt::format("epoch {}/{}, step {}/{}, loss {:.4g}", row.epoch, epochs_, row.step, steps_, row.loss);
  if (row.accuracy) line += fmt::format(", accuracy {:.3f}", *row.accuracy);
  if (seconds > 0 && done > 0)
    line += fmt::format(", {:.4g} samples/s, {} left", static_cast<double>(samples_) / seconds,
                        duration_text(seconds / done * static_cast<double>(steps_ - row.step)));
  fmt::print(stderr, "\r{}\x1b[K", line);
  std::fflush(stderr);
  line_is_open_ = true;
}

void TrainLog::epoch(const EpochRow& row) {
  if (silent_) return;
  epoch_rows_.push_back(row);
  if (line_is_open_) fmt::print(stderr, "\r\x1b[K");
  line_is_open_ = false;
  fmt::print("epoch {}/{}{}{}\n", row.epoch, epochs_, metrics("", row.loss, row.accuracy),
             metrics("validation ", row.validation_loss, row.validation_accuracy));
  std::fflush(stdout);
}

void TrainLog::note(const std::string& line) {
  if (silent_) return;
  fmt::print(stderr, "{}{}\n", line_is_open_ ? "\r\x1b[K" : "", line);
  line_is_open_ = false;
}

std::string TrainLog::csv() const {
  std::string text = kColumns;
  for (const StepRow& row : step_rows_)
    text += fmt::format("{},{},{},{:.7g},{}\n", row.step, row.epoch, row.loss, row.learning_rate,
                        row.accuracy ? fmt::format("{}", *row.accuracy) : "");
  return text;
}

std::string TrainLog::json() const {
  const auto number = [](std::optional<double> value) {
    return value && std::isfinite(*value) ? nlohmann::ordered_json(*value) : nlohmann::ordered_json();
  };
  nlohmann::ordered_json steps = nlohmann::ordered_json::array(), epochs = nlohmann::ordered_json::array();
  for (const StepRow& row : step_rows_)
    steps.push_back({{"step", row.step},
                     {"epoch", row.epoch},
                     {"loss", number(row.loss)},
                     {"learning_rate", row.learning_rate},
                     {"accuracy", number(row.accuracy)}});
  for (const EpochRow& row : epoch_rows_)
    epochs.push_back({{"epoch", row.epoch},
                      {"step", row.step},
                      {"loss", number(row.loss)},
                      {"accuracy", number(row.accuracy)},
                      {"validation_loss", number(row.validation_loss)},
                      {"validation_accuracy", number(row.validation_accuracy)}});
  return nlohmann::ordered_json{{"steps", steps}, {"epochs", epochs}}.dump(1) + "\n";
}

void TrainLog::write() const {
  if (silent_) return;
  for (const std::string& path : files_.logs) write_file(path, path.ends_with(".json") ? json() : csv());
  if (files_.plot.empty()) return;
  Curve loss{"loss", "train", {}}, validation{"validation loss", "validation", {}};
  for (const StepRow& row : step_rows_) loss.points.emplace_back(static_cast<double>(row.step), row.loss);
  for (const EpochRow& row : epoch_rows_)
    if (row.validation_loss) validation.points.emplace_back(static_cast<double>(row.step), *row.validation_loss);
  write_file(files_.plot, curves_svg("step", "loss", {loss, validation}));
}

}  // namespace lapidary::tools
