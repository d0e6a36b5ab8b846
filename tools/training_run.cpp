#include "tools/training_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numeric>

#include "ir/dtype.h"
#include "ir/error.h"
#include "ir/scalar.h"

namespace lapidary::tools {

namespace {

// A bijection that spreads every bit over all: counters become random numbers.
uint64_t mixed(uint64_t x) {
  x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
  return x ^ (x >> 31);
}

// "3, 17, 4, …"
std::string listed(std::span<const int64_t> rows) {
  constexpr size_t kMost = 8;
  return fmt::format("{}{}", fmt::join(rows.first(std::min(rows.size(), kMost)), ", "),
                     rows.size() > kMost ? ", …" : "");
}

constexpr int64_t kMostSkipped = 10;  // one after the other

// Of an output that is one number.
double number_of(const HostTensor& tensor) {
  if (static_cast<DType>(tensor.dtype) == DType::F64) {
    double value;
    std::memcpy(&value, tensor.bytes.data(), sizeof value);
    return value;
  }
  float value;
  std::memcpy(&value, tensor.bytes.data(), sizeof value);
  return value;
}

int64_t integer_of(const HostTensor& tensor) {
  int64_t value;
  std::memcpy(&value, tensor.bytes.data(), sizeof value);
  return value;
}

}  // namespace

uint64_t fingerprint(std::span<const std::byte> bytes, uint64_t before) {
  uint64_t all = mixed(before + bytes.size());
  for (size_t at = 0; at < bytes.size(); at += sizeof(uint64_t)) {
    uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, std::min(sizeof word, bytes.size() - at));
    all = mixed(all ^ word);
  }
  return all;
}

// Fisher and Yates's, with the number of each exchange hashed.
std::vector<int64_t> permutation(uint64_t seed, uint64_t epoch, int64_t count) {
  std::vector<int64_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  const uint64_t key = mixed(mixed(seed + UINT64_C(0x9e3779b97f4a7c15)) + epoch);
  for (uint64_t i = order.size(); i > 1; --i) {
    const auto other = static_cast<uint64_t>((static_cast<unsigned __int128>(mixed(key + i)) * i) >> 64);
    std::swap(order[i - 1], order[other]);
  }
  return order;
}

int64_t TrainingRun::steps_per_epoch(const TrainSettings& settings, int64_t samples) {
  return settings.whole_batches ? samples / settings.batch : (samples + settings.batch - 1) / settings.batch;
}

int64_t TrainingRun::steps_each() const { return steps_per_epoch(settings_, std::ssize(train_.rows)); }

TrainEnd TrainingRun::run() {
  ranks_.together([&] {
    if (settings_.resume) resume();
    if (settings_.learning_rate) change_rate(*settings_.learning_rate);
  });
  ranks_.must_agree(note(), "data, options or checkpoint");
  finite_ = finite_states();
  const int64_t each = steps_each(), all = settings_.epochs * each;
  while (progress_.position < all) {
    if (settings_.early_stop > 0 && progress_.stale >= settings_.early_stop) {
      save_checkpoint();
      return TrainEnd::EarlyStop;
    }
    one_step();
    ++progress_.position;
    if (progress_.position % each == 0) finish_epoch();
    const int64_t every = settings_.checkpoint_every > 0 ? settings_.checkpoint_every : each;
    if (progress_.position % every == 0) save_checkpoint();
    if (!ranks_.any(settings_.interrupted && *settings_.interrupted)) continue;
    save_checkpoint();
    return TrainEnd::Interrupted;
  }
  save_checkpoint();
  return TrainEnd::Done;
}

// --- steps

// Of these rows each rank takes its share; the results are those of all.
Tally TrainingRun::call(const char* entry, int64_t step, const Samples& samples, std::span<const int64_t> rows) {
  const Ranks::Share share = ranks_.share_of(std::ssize(rows));
  const auto own = rows.subspan(static_cast<size_t>(share.begin), static_cast<size_t>(share.size));
  batch_.resize(model_.inputs().size());
  for (size_t column = 0; column < batch_.size(); ++column) {
    batch_[column] = samples.data->batch(column, own);
    model_.bind_input(static_cast<int>(column), batch_[column]);
  }
  try {
    model_.run(model_.entry(entry));
  } catch (const Error& error) {
    throw Error(error.fault, fmt::format("{} {}, samples {} of the data: {}", entry, step, listed(own), error.what()));
  }
  Tally tally{.samples = std::ssize(rows)};
  tally.counted = tally.samples;
  if (settings_.correct_output >= 0) {
    tally.correct = integer_of(model_.output(settings_.correct_output));
    tally.counted = tally.places = labels_that_count(samples, rows);
  }
  tally.loss = number_of(model_.output(settings_.loss_output)) * static_cast<double>(tally.counted);
  return tally;
}

int64_t TrainingRun::labels_that_count(const Samples& samples, std::span<const int64_t> rows) const {
  const HostTensor& labels = samples.data->columns.back();
  const int64_t each = labels.elements() / samples.data->samples;
  int64_t count = 0;
  for (const int64_t row : rows)
    for (int64_t i = row * each; i < (row + 1) * each; ++i) {
      int64_t label;
      std::memcpy(&label, labels.bytes.data() + static_cast<size_t>(i) * sizeof label, sizeof label);
      count += label != settings_.ignored;
    }
  return count;
}

// Steps are the first count among the states, the learning rate the last number.
TrainingRun::Progression TrainingRun::progression() {
  Progression found{-1, 0, -1};
  for (size_t i = 0; i < model_.states().size(); ++i) {
    if (model_.states()[i].kind != LPD_PROGRESS) continue;
    const HostTensor state = model_.state(static_cast<int>(i));
    if (static_cast<DType>(state.dtype) != DType::I64)
      found.rate = number_of(state), found.rate_state = static_cast<int>(i);
    else if (found.steps < 0)
      found.steps = integer_of(state);
  }
  return found;
}

void TrainingRun::change_rate(double rate) {
  const Progression before = progression();
  HostTensor state = model_.state(before.rate_state);
  store_scalar(Scalar::of_float(static_cast<DType>(state.dtype), rate), state.bytes.data(), 0);
  model_.set_state(before.rate_state, state);
  log_.note(fmt::format("note: the learning rate is {} from here on, and was {:.7g}", rate, before.rate));
}

int64_t TrainingRun::steps_done() { return progression().steps; }

// "": the step may be kept.
std::string TrainingRun::fault_of_step(double loss) {
  if (!std::isfinite(loss)) return fmt::format("the loss is {}", loss);
  if (settings_.finite_output < 0 || model_.output(settings_.finite_output).bytes[0] != std::byte{0}) return "";
  return "a gradient is not finite";
}

void TrainingRun::one_step() {
  const int64_t each = steps_each(), epoch = progress_.position / each,
                first = progress_.position % each * settings_.batch;
  const int64_t samples = std::ssize(train_.rows), count = std::min(settings_.batch, samples - first);
  if (order_epoch_ != epoch) {
    order_ =
        settings_.shuffle ? permutation(settings_.seed, static_cast<uint64_t>(epoch), samples) : std::vector<int64_t>();
    order_epoch_ = epoch;
  }
  std::vector<int64_t> rows;
  for (int64_t i = first; i < first + count; ++i)
    rows.push_back(train_.rows[static_cast<size_t>(settings_.shuffle ? order_[static_cast<size_t>(i)] : i)]);
  const Progression before = progression();
  if (settings_.skip_nan) keep_states();
  const int64_t step = progress_.position + 1;
  const Tally tally = call("train_step", step, train_, rows);
  const double loss = tally.mean_loss().value_or(0);  // of labels that are all ignored
  log_.step({step, epoch + 1, loss, before.rate * settings_.rate_factor(before.steps), tally.accuracy()},
            tally.samples);
  const std::string fault = fault_of_step(loss);
  if (fault.empty()) {
    skipped_running_ = 0;
    progress_.epoch.add(tally);
    return;
  }
  if (!settings_.skip_nan || skipped_running_ >= kMostSkipped)
    ranks_.fail_together(Error(
        Fault::Input, fmt::format("step {}: {}{}", step, fault, settings_.skip_nan ? ", as in the steps before" : "")));
  restore_states();
  ++skipped_, ++skipped_running_;
  log_.note(fmt::format("warning: step {}: {}; the step is taken back", step, fault));
}

void TrainingRun::keep_states() {
  kept_.clear();
  for (size_t i = 0; i < model_.states().size(); ++i) kept_.push_back(model_.state(static_cast<int>(i)));
}

void TrainingRun::restore_states() {
  for (size_t i = 0; i < kept_.size(); ++i) model_.set_state(static_cast<int>(i), kept_[i]);
}

// --- epochs

Tally TrainingRun::validate() {
  Tally sum;
  const int64_t samples = std::ssize(validation_.rows);
  for (int64_t step = 0; step < steps_per_epoch(settings_, samples); ++step) {
    const int64_t first = step * settings_.batch, count = std::min(settings_.batch, samples - first);
    sum.add(call("eval_step", step + 1, validation_,
                 std::span(validation_.rows).subspan(static_cast<size_t>(first), static_cast<size_t>(count))));
  }
  return sum;
}

// Each rank's are of its own samples; kept are the first one's.
void TrainingRun::share_statistics() {
  if (ranks_.count() == 1) return;
  for (size_t i = 0; i < model_.states().size(); ++i) {
    if (model_.states()[i].kind != LPD_STATISTIC) continue;
    HostTensor state = model_.state(static_cast<int>(i));
    ranks_.take_from_first(state);
    model_.set_state(static_cast<int>(i), state);
  }
}

void TrainingRun::note_validation(double loss) {
  ++progress_.stale;
  if (loss >= progress_.best) return;
  progress_.best = loss;
  progress_.stale = 0;
  if (!settings_.keep_best) return;
  progress_.best_position = progress_.position;
  if (ranks_.is_first()) best_.take(progress_.position);
}

int64_t TrainingRun::put_back_best() {
  if (!has_best()) return 0;
  best_.put_back();
  return progress_.best_position / steps_each();
}

void TrainingRun::finish_epoch() {
  share_statistics();
  const Tally validation = validate();
  if (const auto loss = validation.mean_loss()) {
    if (!std::isfinite(*loss))
      ranks_.fail_together(Error(
          Fault::Input, fmt::format("epoch {}: the validation loss is {}", progress_.position / steps_each(), *loss)));
    note_validation(*loss);
  }
  log_.epoch({progress_.position / steps_each(), progress_.position, progress_.epoch.mean_loss(),
              progress_.epoch.accuracy(), validation.mean_loss(), validation.accuracy()});
  attempt([&] { log_.write(); });
  progress_.epoch = {};
}

// --- checkpoints

std::string TrainingRun::note() const {
  const Tally& epoch = progress_.epoch;
  nlohmann::ordered_json json = {{"seed", settings_.seed},
                                 {"batch", settings_.batch},
                                 {"shuffle", settings_.shuffle},
                                 {"samples", train_.rows.size()},
                                 {"position", progress_.position},
                                 {"epoch", {epoch.loss, epoch.counted, epoch.samples, epoch.correct, epoch.places}},
                                 {"stale", progress_.stale},
                                 {"best_position", progress_.best_position}};
  for (const auto& [what, value] : settings_.identity) json[what] = value;
  if (std::isfinite(progress_.best)) json["best"] = progress_.best;
  return json.dump();
}

// Which states are numbers? Some models have an infinity among their parameters, as a mask.
std::vector<bool> TrainingRun::finite_states() {
  std::vector<bool> finite;
  for (size_t i = 0; i < model_.states().size(); ++i) {
    const HostTensor state = model_.state(static_cast<int>(i));
    const auto dtype = static_cast<DType>(state.dtype);
    bool all = true;
    for (int64_t k = 0; is_float(dtype) && all && k < state.elements(); ++k)
      all = std::isfinite(load_scalar(dtype, state.bytes.data(), k).number);
    finite.push_back(all);
  }
  return finite;
}

// Before anything is written.
void TrainingRun::check_states() {
  const std::vector<bool> now = finite_states();
  std::string lost;
  for (size_t i = 0; i < now.size() && lost.empty(); ++i)
    if (finite_[i] && !now[i]) lost = model_.states()[i].name;
  if (!ranks_.any(!lost.empty())) return;
  ranks_.fail_together(
      Error(Fault::Input, fmt::format("step {}: '{}' is not finite any more", progress_.position, printable(lost))));
}

// A full disk costs what could not be written, not the training.
void TrainingRun::attempt(const std::function<void()>& write) {
  try {
    write();
  } catch (const Error& error) {
    if (error.fault != Fault::File) throw;
    unwritten_ = true;
    log_.note(fmt::format("warning: step {}: {}", progress_.position, error.what()));
  }
}

// Behind the logs, which --resume wants up to there.
void TrainingRun::save_checkpoint() {
  check_states();
  if (settings_.checkpoint.empty() || saved_ == progress_.position || !ranks_.is_first()) return;
  attempt([&] { log_.write(); });
  attempt([&] {
    if (settings_.keep_best) best_.save();
    model_.save(settings_.checkpoint, note());
    saved_ = progress_.position;
  });
}

void TrainingRun::read_note(const std::string& text) {
  const std::string name = printable(settings_.checkpoint);
  try {
    const auto json = nlohmann::json::parse(text);
    const auto same = [&](const char* key, const char* what, const auto& now) {
      const nlohmann::json expected = now;
      if (json.at(key) != expected)
        throw Error(Fault::Usage, fmt::format("checkpoint '{}' is of a run with {} {}, not {}", name, what,
                                              json.at(key).dump(), expected.dump()));
    };
    same("seed", "--seed", settings_.seed);
    same("batch", "--batch", settings_.batch);
    same("shuffle", "--shuffle", settings_.shuffle);
    same("samples", "samples:", train_.rows.size());
    for (const auto& [what, value] : settings_.identity) same(what.c_str(), what.c_str(), value);
    const auto& epoch = json.at("epoch");
    progress_.position = json.at("position");
    progress_.epoch = {epoch.at(0), epoch.at(1), epoch.at(2), epoch.at(3), epoch.at(4)};
    progress_.stale = json.at("stale");
    progress_.best = json.value("best", std::numeric_limits<double>::infinity());
    progress_.best_position = settings_.keep_best ? json.value("best_position", int64_t{-1}) : -1;
  } catch (const nlohmann::json::exception&) {
    throw Error(Fault::Input, fmt::format("checkpoint '{}' is not one that lapidary train made", name));
  }
}

void TrainingRun::resume() {
  const auto there = [](const std::string& path) { return std::filesystem::exists(path); };
  if (!there(settings_.checkpoint) && !there(settings_.checkpoint + ".previous")) {
    log_.note(fmt::format("note: there is no '{}' yet: training begins", printable(settings_.checkpoint)));
    return;
  }
  std::string warning;
  read_note(model_.load(settings_.checkpoint, warning));
  if (!warning.empty()) log_.note("warning: " + warning);
  if (settings_.keep_best && progress_.best_position < 0 && std::isfinite(progress_.best))
    throw Error(Fault::Usage, fmt::format("checkpoint '{}' is of a run that kept no best model: --keep last goes on",
                                          printable(settings_.checkpoint)));
  if (progress_.best_position >= 0 && ranks_.is_first()) best_.load(progress_.best_position);
  log_.note(fmt::format("note: going on behind step {}", progress_.position));
  log_.resume(progress_.position);
  saved_ = warning.empty() ? progress_.position : -1;
}

}  // namespace lapidary::tools
