#include "tools/train_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "ir/error.h"

namespace lapidary::tools {

namespace {

constexpr const char *kLoss = "softmax_cross_entropy", *kOptimizer = "sgd";

using Numbers = std::vector<std::pair<std::string, double>>;

// "adamw,lr=1e-3" → "adamw" and its numbers.
std::pair<std::string, Numbers> parse_named(const char* option, const std::string& text) {
  std::vector<std::string> parts;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    parts.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  Numbers numbers;
  for (size_t i = 1; i < parts.size(); ++i) {
    const size_t equals = parts[i].find('=');
    const std::string name = parts[i].substr(0, equals);
    std::string number = equals == std::string::npos ? "" : parts[i].substr(equals + 1);
    if (number == "true") number = "1";
    if (number == "false") number = "0";
    char* stop = nullptr;
    const double value = std::strtod(number.c_str(), &stop);
    if (name.empty() || number.empty() || *stop || !std::isfinite(value))
      throw Error(Fault::Usage, fmt::format("{} takes NAME,number=1,…; got '{}'", option, printable(parts[i])));
    numbers.emplace_back(name, value);
  }
  return {parts[0], numbers};
}

int64_t whole(const char* option, const std::string& name, double value) {
  if (value != std::floor(value) || std::abs(value) > 1e15)
    throw Error(Fault::Usage, fmt::format("{}: {} = {} is no whole number", option, name, value));
  return static_cast<int64_t>(value);
}

[[noreturn]] void unknown(const char* option, const std::string& of, const std::string& name) {
  throw Error(Fault::Usage, fmt::format("{}: {} has no '{}'", option, printable(of), printable(name)));
}

void parse_loss(const std::string& text, train::TrainOptions& options) {
  const auto [name, numbers] = parse_named("--loss", text);
  options.loss = name;
  const bool classifies = name == "softmax_cross_entropy" || name == "nll";
  const bool has_classes = classifies || name == "soft_cross_entropy";
  for (const auto& [key, value] : numbers) {
    if (key == "ignore_index" && classifies)
      options.loss_options.ignore_index = whole("--loss", key, value);
    else if (key == "class_axis" && has_classes && std::abs(value) < 64)
      options.loss_options.class_axis = static_cast<int>(whole("--loss", key, value));
    else if (key == "label_smoothing" && name.ends_with("_cross_entropy") && value >= 0 && value < 1)
      options.loss_options.label_smoothing = value;
    else if (key == "delta" && name == "huber" && value > 0)
      options.loss_options.delta = value;
    else
      unknown("--loss", name, fmt::format("{}={}", key, value));
  }
}

void check_weights(const std::vector<double>& weights) {
  for (double weight : weights)
    if (!(weight >= 0) || std::isinf(weight))
      throw Error(Fault::Usage, fmt::format("--class-weights: {} is no weight", weight));
  if (!weights.empty() && std::ranges::all_of(weights, [](double weight) { return weight == 0; }))
    throw Error(Fault::Usage, "--class-weights: all are 0");
}

train::Schedule parse_schedule(const std::string& text) {
  const auto [kind, numbers] = parse_named("--schedule", text);
  if (std::ranges::find(train::schedule_names(), kind) == train::schedule_names().end())
    throw Error(Fault::Usage, fmt::format("no schedule '{}'; there are {}", printable(kind),
                                          fmt::join(train::schedule_names(), ", ")));
  train::Schedule schedule{.kind = kind};
  for (const auto& [key, value] : numbers) {
    const bool decays = kind == "cosine" || kind == "linear";
    if (value < 0) unknown("--schedule", kind, fmt::format("{}={}", key, value));
    if (key == "warmup")
      schedule.warmup = whole("--schedule", key, value);
    else if (key == "total" && decays)
      schedule.total = whole("--schedule", key, value);
    else if (key == "end" && decays)
      schedule.end = value;
    else if (key == "every" && kind == "step")
      schedule.every = whole("--schedule", key, value);
    else if (key == "gamma" && kind == "step")
      schedule.gamma = value;
    else
      unknown("--schedule", kind, key);
  }
  if ((kind == "cosine" || kind == "linear") && schedule.total <= schedule.warmup)
    throw Error(Fault::Usage, fmt::format("--schedule: {} needs total=, more steps than the warm-up", kind));
  if (kind == "step" && schedule.every <= 0) throw Error(Fault::Usage, "--schedule: step needs every=");
  return schedule;
}

}  // namespace

void add_train_options(CLI::App& command, TrainArguments& arguments) {
  command
      .add_option("--loss", arguments.loss,
                  "softmax_cross_entropy, soft_cross_entropy (labels are probabilities), nll, mse, l1, huber, "
                  "bce_with_logits, or none: the output is the loss; with "
                  "class_axis=, ignore_index=, label_smoothing=, delta= behind commas")
      ->default_str(kLoss);
  command
      .add_option(
          "--optimizer", arguments.optimizer,
          "sgd, adam, adamw, adagrad, rmsprop or lion, with its numbers behind commas: adamw,lr=1e-3,beta2=0.99")
      ->default_str(kOptimizer);
  command
      .add_option("--schedule", arguments.schedule,
                  "of the learning rate: constant, step, cosine or linear, with warmup=, total=, every=, gamma=, end=")
      ->capture_default_str();
  command.add_option("--class-weights", arguments.class_weights, "of a classifier's loss, one for each class")
      ->delimiter(',')
      ->allow_extra_args(false);
  command.add_option("--clip-norm", arguments.clip_norm, "the most that the norm of all gradients together may be");
  command
      .add_option("--accumulate", arguments.accumulate, "steps whose gradients are averaged before the parameters move")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
      ->capture_default_str();
  command
      .add_option("--precision", arguments.precision,
                  "of products in training, f32, bf16 or f16; parameters stay f32, for f16 the loss is scaled")
      ->check(CLI::IsMember({"f32", "bf16", "f16"}))
      ->capture_default_str();
  command
      .add_option("--memory-budget", arguments.memory_budget,
                  "bytes for what a step computes, as 500MB: values are made again rather than kept, until it is met")
      ->transform(CLI::AsSizeValue(false));
  command.add_option("--freeze", arguments.freeze, "parameters that stay as they are, by name: 'encoder.*'")
      ->allow_extra_args(false);
  command.add_option("--train-only", arguments.only, "the parameters that move, by name: '*lora_*'; else all do")
      ->allow_extra_args(false);
  command.add_flag("--data-parallel", arguments.data_parallel,
                   "each of several ranks runs the step with its share of the batch; gradients are summed over them");
  command
      .add_option("--bucket-bytes", arguments.bucket_bytes,
                  "with --data-parallel: of gradients that are summed over the ranks at once, at least")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
      ->capture_default_str();
  command.add_option("--prediction", arguments.prediction, "the output that the loss is of; the first when not given");
}

train::TrainOptions parse_train(const TrainArguments& arguments) {
  train::TrainOptions options;
  parse_loss(arguments.loss.empty() ? kLoss : arguments.loss, options);
  options.loss_options.weights = arguments.class_weights;
  check_weights(arguments.class_weights);
  options.output = arguments.prediction;
  auto [name, numbers] = parse_named("--optimizer", arguments.optimizer.empty() ? kOptimizer : arguments.optimizer);
  options.optimizer = {name, numbers};
  options.updates.schedule = parse_schedule(arguments.schedule);
  if (!(arguments.clip_norm >= 0) || std::isinf(arguments.clip_norm))
    throw Error(Fault::Usage, fmt::format("--clip-norm {}", arguments.clip_norm));
  options.updates.clip_norm = arguments.clip_norm;
  options.updates.accumulate = arguments.accumulate;
  options.precision = arguments.precision == "bf16"  ? DType::BF16
                      : arguments.precision == "f16" ? DType::F16
                                                     : DType::F32;
  options.memory_budget = static_cast<int64_t>(arguments.memory_budget);
  options.freeze = arguments.freeze;
  options.only = arguments.only;
  const auto ask = [&](bool given, const char* option) {
    if (given) options.asked.emplace_back(option);
  };
  ask(!arguments.loss.empty(), "--loss");
  ask(!arguments.optimizer.empty(), "--optimizer");
  ask(arguments.schedule != "constant", "--schedule");
  ask(arguments.clip_norm > 0, "--clip-norm");
  ask(arguments.accumulate > 1, "--accumulate");
  ask(!arguments.class_weights.empty(), "--class-weights");
  ask(arguments.precision != "f32", "--precision");
  ask(!arguments.freeze.empty(), "--freeze");
  ask(!arguments.only.empty(), "--train-only");
  ask(!arguments.prediction.empty(), "--prediction");
  ask(arguments.data_parallel, "--data-parallel");
  options.data_parallel = arguments.data_parallel;
  options.bucket_bytes = arguments.bucket_bytes;
  return options;
}

}  // namespace lapidary::tools
