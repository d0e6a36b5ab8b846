// lapidary train model.onnx --data train.npz -o trained.onnx: compiles the model for training into a temporary file,
// checks the data against it, trains, and writes the model with its new weights.
#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <span>

#include "codegen/host/tables.h"
#include "codegen/output_file.h"
#include "frontend/trained_model.h"
#include "ir/dtype.h"
#include "ir/error.h"
#include "tools/commands.h"
#include "tools/dataset.h"
#include "tools/ranks.h"
#include "tools/train_log.h"
#include "tools/train_options.h"
#include "tools/training_run.h"

namespace lapidary::tools {

namespace {

struct Arguments {
  CompileOptions compile;
  TrainArguments train;
  DataFiles data, validation_data;
  std::string scale = "1";
  double validation = 0;
  int64_t batch = 0;  // 0: the model's, or 32
  std::string on_nan = "stop";
  TrainSettings settings;
  TrainLog::Files files;
  std::string output, reducer;
  bool check_gradients = true;
  std::string keep;  // "": best with --early-stop, else last
};

// "0.5", "1/255"
double parse_scale(const std::string& text) {
  const size_t slash = std::min(text.find('/'), text.size());
  const auto number = [&](const std::string& part) {
    double value = 0;
    const auto [stop, error] = std::from_chars(part.data(), part.data() + part.size(), value);
    if (error != std::errc() || stop != part.data() + part.size() || !std::isfinite(value) || value == 0)
      throw Error(Fault::Usage, fmt::format("--scale takes a number or 1/255, got '{}'", printable(text)));
    return value;
  };
  return number(text.substr(0, slash)) / (slash < text.size() ? number(text.substr(slash + 1)) : 1);
}

void check_usage(Arguments& arguments, const Ranks& ranks) {
  TrainSettings& settings = arguments.settings;
  const bool validates = arguments.validation > 0 || !arguments.validation_data.data.empty();
  if (arguments.validation > 0 && !arguments.validation_data.data.empty())
    throw Error(Fault::Usage, "--validation and --validation-data: only one of them");
  if (settings.early_stop > 0 && !validates)
    throw Error(Fault::Usage, "--early-stop needs --validation or --validation-data");
  settings.keep_best = arguments.keep == "best" || (arguments.keep.empty() && settings.early_stop > 0);
  if (settings.keep_best && !validates)
    throw Error(Fault::Usage, "--keep best needs --validation or --validation-data");
  if (settings.checkpoint.empty() && (settings.resume || settings.checkpoint_every > 0))
    throw Error(Fault::Usage, "--resume and --checkpoint-every need --checkpoint");
  if (settings.learning_rate && !settings.resume)
    throw Error(Fault::Usage, "--learning-rate needs --resume: training begins with the one of --optimizer");
  for (const std::string& log : arguments.files.logs)
    if (!log.ends_with(".csv") && !log.ends_with(".json"))
      throw Error(Fault::Usage, fmt::format("--log takes a .csv or .json file, got '{}'", printable(log)));
  if (arguments.output.empty()) arguments.output = stem(arguments.compile.model) + "_trained.onnx";
  std::vector<std::string> outputs = arguments.files.logs;
  outputs.insert(outputs.end(), {arguments.files.plot, arguments.output, settings.checkpoint});
  must_not_overwrite({arguments.compile.model, arguments.data.data, arguments.data.labels,
                      arguments.validation_data.data, arguments.validation_data.labels},
                     outputs);
  std::erase(outputs, "");
  std::vector<std::filesystem::path> places;
  for (size_t i = 0; i < outputs.size(); ++i) {
    places.push_back(std::filesystem::weakly_canonical(outputs[i]));
    if (std::ranges::find(places, places.back()) != places.end() - 1)
      throw Error(Fault::Usage, fmt::format("'{}' would be written twice", printable(outputs[i])));
    if (ranks.is_first()) const codegen::OutputFile writable(outputs[i]);  // found out before the long work
  }
  settings.skip_nan = arguments.on_nan == "skip";
}

// --- what the compiled model takes

std::vector<SlotInfo> slots_of(const Program& program, std::vector<TensorInfo> EntryPoint::*tensors) {
  std::vector<SlotInfo> slots;
  for (const TensorInfo& tensor : codegen::host::all_tensors(program, tensors)) {
    SlotInfo slot{tensor.name, static_cast<uint8_t>(tensor.dtype), {}, {}};
    for (Dim dim : tensor.shape) {
      slot.dims.push_back(value_of(dim).value_or(-1));
      slot.dim_names.push_back(value_of(dim) ? "" : to_string(dim));
    }
    slots.push_back(std::move(slot));
  }
  return slots;
}

const EntryPoint& entry_of(const Program& program, const std::string& name) {
  for (const EntryPoint& entry : program.entries)
    if (entry.name == name) return entry;
  LPD_UNREACHABLE("no entry point {}", name);
}

int index_of(const std::vector<SlotInfo>& slots, const std::string& name) {
  return static_cast<int>(std::ranges::find(slots, name, &SlotInfo::name) - slots.begin());
}

LabelRange label_range(const Compiled& compiled, const Arguments& arguments, const std::vector<SlotInfo>& inputs,
                       const std::vector<SlotInfo>& outputs) {
  const train::TrainOptions& options = *arguments.compile.train;
  if (options.loss == "none" || compiled.trains_itself) return {};
  LabelRange range{inputs.back().name, {}, options.loss_options.ignore_index};
  const EntryPoint& run = entry_of(compiled.program, "run");
  const SlotInfo& scores =
      outputs[static_cast<size_t>(index_of(outputs, options.output.empty() ? run.outputs[0].name : options.output))];
  if (inputs.back().dims.size() == scores.dims.size()) return range;
  const int axis = train::class_axis(options.loss_options, static_cast<int>(scores.dims.size()));
  if (const int64_t classes = scores.dims[static_cast<size_t>(axis)]; classes >= 0) range.classes = classes;
  return range;
}

// What train_step gives first is the loss, and then how many predictions were right and whether gradients are finite;
// of a model that says itself how it is trained, the loss is the first number that it gives as it trains, but not as it
// infers.
void find_losses(const Compiled& compiled, const std::vector<SlotInfo>& outputs, TrainSettings& settings) {
  const EntryPoint& step = entry_of(compiled.program, "train_step");
  if (!compiled.trains_itself) {
    settings.loss_output = index_of(outputs, step.outputs[0].name);
    for (size_t i = 1; i < step.outputs.size(); ++i) {
      const bool counts = step.outputs[i].dtype == DType::I64;
      (counts ? settings.correct_output : settings.finite_output) = index_of(outputs, step.outputs[i].name);
    }
    return;
  }
  const auto is_loss = [&](const TensorInfo& output) {
    const auto& inferred = entry_of(compiled.program, "run").outputs;
    return output.shape.empty() && (output.dtype == DType::F32 || output.dtype == DType::F64) &&
           std::ranges::find(inferred, output.name, &TensorInfo::name) == inferred.end();
  };
  const auto loss = std::ranges::find_if(step.outputs, is_loss);
  if (loss == step.outputs.end())
    throw Error(Fault::Usage, "the model's training algorithm has no output that is one float, the loss");
  settings.loss_output = index_of(outputs, loss->name);
}

// The extent that the model's inputs have along their first axes, on each rank, or what --batch says.
void settle_batch(const std::vector<SlotInfo>& inputs, const LabelRange& range, int64_t ranks, Arguments& arguments) {
  TrainSettings& settings = arguments.settings;
  for (const SlotInfo& input : inputs) {
    if (input.name == range.name || input.dims.empty() || input.dims[0] < 0) continue;
    const int64_t fixed = input.dims[0] * ranks;
    if (settings.whole_batches ? fixed != settings.batch : arguments.batch > 0 && fixed != arguments.batch)
      throw Error(Fault::Usage, fmt::format("input '{}' has batches of {}, not {}", printable(input.name), fixed,
                                            settings.whole_batches ? settings.batch : arguments.batch));
    settings.batch = fixed;
    settings.whole_batches = true;
  }
  if (!settings.whole_batches && arguments.batch > 0) settings.batch = arguments.batch;
  if (settings.batch < ranks)
    throw Error(Fault::Usage,
                fmt::format("--batch {}: less than a sample for each of {} ranks", settings.batch, ranks));
}

// --- data

struct Data {
  Dataset train_set, validation_set;
  Samples train, validation;
};

void all_rows(Samples& samples, const Dataset& data) {
  samples.data = &data;
  for (int64_t i = 0; i < data.samples; ++i) samples.rows.push_back(i);
}

// The last ones, of an order of its own when samples are shuffled.
void split(Data& data, const Arguments& arguments) {
  const int64_t samples = data.train_set.samples;
  const auto kept = samples - static_cast<int64_t>(std::llround(arguments.validation * static_cast<double>(samples)));
  if (arguments.settings.shuffle) data.train.rows = permutation(arguments.settings.seed, UINT64_MAX, samples);
  data.validation.rows.assign(data.train.rows.begin() + kept, data.train.rows.end());
  data.train.rows.resize(static_cast<size_t>(kept));
  data.validation.data = &data.train_set;
  std::ranges::sort(data.train.rows);
  std::ranges::sort(data.validation.rows);
}

void check_counts(const Data& data, const Arguments& arguments) {
  const TrainSettings& settings = arguments.settings;
  const auto check = [&](const Samples& samples, const std::string& what) {
    const int64_t count = std::ssize(samples.rows);
    if (count < settings.batch)
      throw Error(Fault::Input, fmt::format("{}: {} samples, a batch has {}", printable(what), count, settings.batch));
    if (const int64_t left = count % settings.batch; settings.whole_batches && left > 0 && !arguments.compile.quiet)
      fmt::print(stderr, "note: {}: the model's batch is {}: the last {} of {} samples of an epoch are left out\n",
                 printable(what), settings.batch, left, count);
  };
  check(data.train, arguments.data.data);
  if (!data.validation.data || (std::ssize(data.validation.rows) < settings.batch && !settings.whole_batches)) return;
  check(data.validation, arguments.validation_data.data.empty() ? "--validation" : arguments.validation_data.data);
}

void read_data(Data& data, const Arguments& arguments, const std::vector<SlotInfo>& inputs, const LabelRange& range) {
  const double scale = parse_scale(arguments.scale);
  data.train_set = make_dataset(read_arrays(arguments.data, range.name), inputs, range, scale, arguments.data.data);
  all_rows(data.train, data.train_set);
  if (arguments.validation > 0) split(data, arguments);
  if (!arguments.validation_data.data.empty()) {
    data.validation_set = make_dataset(read_arrays(arguments.validation_data, range.name), inputs, range, scale,
                                       arguments.validation_data.data);
    all_rows(data.validation, data.validation_set);
  }
  if (arguments.validation > 0 && data.validation.rows.empty())
    throw Error(Fault::Input, fmt::format("--validation {}: of {} samples that is none", arguments.validation,
                                          data.train_set.samples));
  check_counts(data, arguments);
}

// --- interrupts: the first lets the step finish, a second ends the process as it would have

volatile int interrupted = 0;
struct sigaction before_interrupt, before_end;

void on_interrupt(int) {
  interrupted = 1;
  sigaction(SIGINT, &before_interrupt, nullptr);
  sigaction(SIGTERM, &before_end, nullptr);
}

// What is ignored, as nohup has it, stays so: to be asked before anything else catches signals.
bool is_ignored(int signal) {
  struct sigaction now = {};
  sigaction(signal, nullptr, &now);
  return now.sa_handler == SIG_IGN;
}

void catch_interrupts(bool keep_interrupt, bool keep_end) {
  struct sigaction action = {}, ignore = {};
  action.sa_handler = on_interrupt;
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGINT, keep_interrupt ? &ignore : &action, &before_interrupt);
  sigaction(SIGTERM, keep_end ? &ignore : &action, &before_end);
  if (keep_interrupt) before_interrupt = ignore;
  if (keep_end) before_end = ignore;
}

constexpr int kInterrupted = 130;  // as a shell says it

// --- the trained model

// A training algorithm that is part of the model has its states there.
void write_trained(LoadedModel& model, bool trains_itself, const Arguments& arguments) {
  std::vector<frontend::NewValue> values;
  for (size_t i = 0; i < model.states().size(); ++i) {
    const StateInfo& state = model.states()[i];
    if (state.kind == LPD_PROGRESS || (state.kind == LPD_OPTIMIZER_STATE && !trains_itself)) continue;
    values.push_back({state.name, static_cast<DType>(state.dtype), state.dims, model.state(static_cast<int>(i)).bytes});
  }
  codegen::OutputFile file(arguments.output);
  file.write(frontend::model_with_values(arguments.compile.model, values));
  file.keep();
}

uint64_t fingerprint_of(const Dataset& data) {
  uint64_t all = 0;
  for (const HostTensor& column : data.columns) {
    all = fingerprint(column.bytes, all);
    for (const std::string& text : column.strings) all = fingerprint(std::as_bytes(std::span(text)), all);
  }
  return all;
}

std::string content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// All that makes another run of it, as text.
void identify(const Arguments& arguments, const Dataset& data, TrainSettings& settings) {
  const train::TrainOptions& options = *arguments.compile.train;
  const std::string model = content_of(arguments.compile.model);
  const train::LossOptions& loss = options.loss_options;
  const train::Schedule& schedule = options.updates.schedule;
  settings.identity = {
      {"--loss", fmt::format("{},class_axis={},ignore_index={},label_smoothing={},delta={}", options.loss,
                             loss.class_axis, loss.ignore_index, loss.label_smoothing, loss.delta)},
      {"--class-weights", fmt::format("{}", fmt::join(loss.weights, ","))},
      {"--prediction", options.output},
      {"--optimizer", train::Optimizer(options.optimizer).text()},
      {"--schedule", fmt::format("{},warmup={},total={},every={},gamma={},end={}", schedule.kind, schedule.warmup,
                                 schedule.total, schedule.every, schedule.gamma, schedule.end)},
      {"--accumulate", fmt::format("{}", options.updates.accumulate)},
      {"--clip-norm", fmt::format("{}", options.updates.clip_norm)},
      {"--precision", std::string(name_of(options.precision))},
      {"--numerics", arguments.compile.numerics},
      {"--f32", arguments.compile.f32},
      {"--target", arguments.compile.target},
      {"--freeze", fmt::format("{}", fmt::join(options.freeze, ","))},
      {"--train-only", fmt::format("{}", fmt::join(options.only, ","))},
      {"model", fmt::format("{:016x}", fingerprint(std::as_bytes(std::span(model))))},
      {"data", fmt::format("{:016x}", fingerprint_of(data))}};
}

// All that is there before the first step.
struct Prepared {
  Compiled compiled;
  Data data;
  std::optional<TemporaryLibrary> library;
  std::string symbol;
  std::unique_ptr<LoadedModel> model;
};

void prepare(Prepared& made, Arguments& arguments, const Ranks& ranks) {
  check_usage(arguments, ranks);
  must_run_here(arguments.compile);
  made.compiled = compile(arguments.compile);
  const Program& program = made.compiled.program;
  const std::vector<SlotInfo> inputs = slots_of(program, &EntryPoint::inputs),
                              outputs = slots_of(program, &EntryPoint::outputs);
  const LabelRange range = label_range(made.compiled, arguments, inputs, outputs);
  settle_batch(inputs, range, ranks.count(), arguments);
  read_data(made.data, arguments, inputs, range);

  if (made.compiled.trains_itself && made.data.validation.data)
    throw Error(Fault::Usage, "--validation: how to evaluate, training_info does not say");
  if (made.compiled.trains_itself && arguments.settings.learning_rate)
    throw Error(Fault::Usage, "--learning-rate: which number is one, training_info does not say");
  made.symbol = codegen::c_identifier(stem(arguments.compile.model));
  made.library.emplace();
  write(made.compiled, arguments.compile, made.symbol, {.library = made.library->path()});

  TrainSettings& settings = arguments.settings;
  find_losses(made.compiled, outputs, settings);
  settings.ignored = range.ignored;
  identify(arguments, made.data.train_set, settings);
  settings.rate_factor = [updates = arguments.compile.train->updates](int64_t done) {
    return train::schedule_factor(updates.schedule, done / updates.accumulate);
  };
  settings.interrupted = &interrupted;
}

// What was logged is written whatever ends the run.
TrainEnd run_logged(TrainingRun& training, TrainLog& log) {
  try {
    return training.run();
  } catch (...) {
    try {
      log.write();
    } catch (const Error& error) { log.note(fmt::format("warning: {}", error.what())); }
    throw;
  }
}

void tell_of_rest(TrainingRun& training, int64_t accumulate, TrainLog& log) {
  const int64_t rest = accumulate > 1 ? training.steps_done() % accumulate : 0;
  if (rest > 0)
    log.note(
        fmt::format("note: the last {} steps moved nothing: --accumulate {} does not come out even", rest, accumulate));
}

// The epoch whose model is written; 0: the last.
int64_t write_result(TrainingRun& training, const Prepared& made, const Arguments& arguments, const Ranks& ranks) {
  const int64_t best_epoch = training.put_back_best();
  if (ranks.is_first()) write_trained(*made.model, made.compiled.trains_itself, arguments);
  return best_epoch;
}

void tell_of_best(int64_t epoch, const Arguments& arguments, TrainLog& log) {
  if (epoch > 0)
    log.note(fmt::format("note: '{}' is of epoch {}, whose validation loss is the least", printable(arguments.output),
                         epoch));
}

// A run that fails leaves the best model that it had, where it kept one.
TrainEnd run_to_end(TrainingRun& training, const Prepared& made, const Arguments& arguments, const Ranks& ranks,
                    TrainLog& log) {
  try {
    return run_logged(training, log);
  } catch (...) {
    try {
      if (training.has_best()) tell_of_best(write_result(training, made, arguments, ranks), arguments, log);
    } catch (const Error& error) { log.note(fmt::format("warning: {}", error.what())); }
    throw;
  }
}

int train(Arguments& arguments, Ranks& ranks) {
  const bool keep_interrupt = is_ignored(SIGINT), keep_end = is_ignored(SIGTERM);
  if (!ranks.is_first()) arguments.compile.quiet = true;
  Prepared made;
  ranks.together([&] { prepare(made, arguments, ranks); });
  std::string why_on_host;
  const InstanceOptions instance = ranks.instance_options(made.compiled.target.is_gpu(), why_on_host);
  ranks.together([&] {
    made.model = std::make_unique<LoadedModel>(made.library->path(), made.symbol, arguments.compile.threads,
                                               RunLimits{}, instance);
    made.library.reset();  // it is open
    if (const int initialize = made.model->entry("initialize"); initialize >= 0) made.model->run(initialize);
  });
  const TrainSettings& settings = arguments.settings;
  const Data& data = made.data;
  const int64_t steps = settings.epochs * TrainingRun::steps_per_epoch(settings, std::ssize(data.train.rows));
  TrainLog log(arguments.files, steps, settings.epochs, !ranks.is_first());
  if (!why_on_host.empty() && !arguments.compile.quiet) log.note(why_on_host);
  catch_interrupts(keep_interrupt, keep_end);
  TrainingRun training(*made.model, ranks, data.train, data.validation, settings, log);
  const TrainEnd end = run_to_end(training, made, arguments, ranks, log);
  const int64_t best_epoch = write_result(training, made, arguments, ranks);
  log.write();
  tell_of_rest(training, arguments.compile.train->updates.accumulate, log);
  if (training.skipped() > 0) log.note(fmt::format("note: steps taken back: {}", training.skipped()));
  if (end == TrainEnd::EarlyStop)
    log.note(fmt::format("note: stopped: {} epochs without a better validation loss", settings.early_stop));
  tell_of_best(best_epoch, arguments, log);
  if (training.failed_to_write()) return static_cast<int>(Fault::File);
  if (end != TrainEnd::Interrupted) return 0;
  log.note(fmt::format("interrupted: '{}' is written{}", printable(arguments.output),
                       settings.checkpoint.empty() ? "" : ", and the checkpoint"));
  return kInterrupted;
}

int run(Arguments& arguments) {
  if (!arguments.compile.train->data_parallel) {
    if (!arguments.reducer.empty()) throw Error(Fault::Usage, "--reducer needs --data-parallel");
    Ranks alone;
    return train(arguments, alone);
  }
  Ranks ranks(arguments.reducer);
  return ranks.run([&] { return train(arguments, ranks); });
}

// Of the options that have none of their own yet.
void set_group(CLI::App& command, const char* group) {
  for (CLI::Option* option : command.get_options())
    if (option->get_group() == "Options" && option != command.get_help_ptr()) option->group(group);
}

void add_data_options(CLI::App& command, Arguments& arguments) {
  const std::string group = "Data";
  command
      .add_option("--data", arguments.data.data,
                  "an .npz or a folder of .npy files with an array for each input, by its name, and one called labels; "
                  "or, for a model of one input, a .npy, IDX (MNIST's, also .gz) or CSV file")
      ->required()
      ->group(group);
  command
      .add_option("--labels", arguments.data.labels, "a file with the labels alone: .npy, IDX, or CSV of one column")
      ->group(group);
  command
      .add_option("--label-column", arguments.data.label_column,
                  "of CSV: its name in the first line, or its number from 1; the last when not given")
      ->group(group);
  command.add_option("--scale", arguments.scale, "what numbers are multiplied by on their way to floats: 1/255")
      ->capture_default_str()
      ->group(group);
  command.add_option("--validation", arguments.validation, "the share of the samples that is kept for validation: 0.1")
      ->check(CLI::Range(0.0, 0.99))
      ->group(group);
  command.add_option("--validation-data", arguments.validation_data.data, "samples for validation, as --data")
      ->group(group);
  command.add_option("--validation-labels", arguments.validation_data.labels, "their labels, as --labels")
      ->group(group);
}

void add_run_options(CLI::App& command, Arguments& arguments) {
  const std::string group = "Training";
  TrainSettings& settings = arguments.settings;
  command.add_option("--epochs", settings.epochs, "times through the data")
      ->check(CLI::Range(1, 1000000000))
      ->capture_default_str()
      ->group(group);
  command.add_option("--batch", arguments.batch, "samples of a step; the model's, or 32 where that is open")
      ->check(CLI::Range(1, 1000000000))
      ->group(group);
  command.add_option("--seed", settings.seed, "of the order of the samples, and of what dropout drops")
      ->capture_default_str()
      ->group(group);
  command.add_flag("--shuffle,!--no-shuffle", settings.shuffle, "another order in each epoch, which is the default")
      ->group(group);
  command
      .add_option("--reducer", arguments.reducer,
                  "with --data-parallel: the library that sums over the ranks; lapidary_mpi.so beside lapidary, for "
                  "mpirun, when not given")
      ->group(group);
  command
      .add_flag("--check-gradients,!--no-check-gradients", arguments.check_gradients,
                "look for what is no number in each step's gradients, which is the default")
      ->group(group);
  command.add_option("--early-stop", settings.early_stop, "end after so many epochs without a better validation loss")
      ->check(CLI::Range(1, 1000000000))
      ->group(group);
  command
      .add_option("--keep", arguments.keep,
                  "which model is written: best, of the epoch with the least validation loss, as with --early-stop, or "
                  "last, as without")
      ->check(CLI::IsMember({"best", "last"}))
      ->group(group);
  command
      .add_option(
          "--on-nan", arguments.on_nan,
          "when the loss or a gradient is no number: stop, or skip: take the step back (10 times running at most)")
      ->check(CLI::IsMember({"stop", "skip"}))
      ->capture_default_str()
      ->group(group);
}

void add_result_options(CLI::App& command, Arguments& arguments) {
  const std::string group = "Results";
  TrainSettings& settings = arguments.settings;
  command
      .add_option("-o,--output", arguments.output,
                  "the trained model. Default: the model's name and _trained.onnx, here")
      ->group(group);
  command
      .add_option("--checkpoint", settings.checkpoint,
                  "a file from which --resume goes on; the one before is FILE.previous")
      ->group(group);
  command
      .add_option("--checkpoint-every", settings.checkpoint_every,
                  "steps from one to the next; an epoch when not given")
      ->check(CLI::Range(1, 1000000000))
      ->group(group);
  command.add_flag("--resume", settings.resume, "go on from the checkpoint, to the same bits, when there is one")
      ->group(group);
  command
      .add_option("--learning-rate", settings.learning_rate,
                  "with --resume: from here on, in place of the checkpoint's; --optimizer says what it said before")
      ->check(CLI::Range(0.0, 1e30))
      ->group(group);
  command
      .add_option("--log", arguments.files.logs, "a row for each step in a .csv file, steps and epochs in a .json file")
      ->allow_extra_args(false)
      ->group(group);
  command.add_option("--plot", arguments.files.plot, "the losses over the steps, an .svg file")->group(group);
}

}  // namespace

void add_train_command(CLI::App& app, std::function<int()>& action) {
  CLI::App* command = app.add_subcommand("train", "Trains a model with data and writes it with its new weights");
  auto arguments = std::make_shared<Arguments>();
  add_data_options(*command, *arguments);
  add_run_options(*command, *arguments);
  add_train_options(*command, arguments->train);
  set_group(*command, "Training");
  add_result_options(*command, *arguments);
  add_compile_options(*command, arguments->compile);
  set_group(*command, "Compiling");
  command->callback([arguments, &action] {
    action = [arguments] {
      arguments->compile.train = parse_train(arguments->train);
      arguments->compile.train->seed = arguments->settings.seed;
      arguments->compile.train->updates.reports_finite = arguments->check_gradients;
      arguments->validation_data.label_column = arguments->data.label_column;
      return run(*arguments);
    };
  });
}

}  // namespace lapidary::tools
