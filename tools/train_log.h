// What training tells while it goes on: a line for each epoch, a line of progress on a terminal, and the files of --log
// and --plot. Test: test/train/train_command.py.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace lapidary::tools {

// Sums over the batches of an epoch, or of the validation's data.
struct Tally {
  double loss = 0;  // of each batch, times what counts in it
  int64_t counted = 0, samples = 0;
  int64_t correct = 0, places = 0;  // of classifiers; places: labels that count

  void add(const Tally& other);
  std::optional<double> mean_loss() const;
  std::optional<double> accuracy() const;
};

struct StepRow {
  int64_t step, epoch;
  double loss, learning_rate;
  std::optional<double> accuracy;
};
struct EpochRow {
  int64_t epoch, step;  // steps done at its end
  std::optional<double> loss, accuracy, validation_loss, validation_accuracy;
};

class TrainLog {
 public:
  struct Files {
    std::vector<std::string> logs;  // .csv: a row for each step; .json: steps and epochs
    std::string plot;               // .svg
  };
  // silent: nothing is written or shown, as another process does it.
  TrainLog(Files files, int64_t steps, int64_t epochs, bool silent = false)
      : files_(std::move(files)), steps_(steps), epochs_(epochs), silent_(silent) {}
  // Goes on behind what the first of the logs holds of steps up to this one.
  void resume(int64_t step);
  void step(const StepRow&, int64_t samples);
  void epoch(const EpochRow&);
  void note(const std::string& line);  // on stderr, beside the line of progress
  void write() const;                  // the files; throws Error{Fault::File}

 private:
  void read_csv(const std::string& path, int64_t last_step);
  void read_json(const std::string& path, int64_t last_step);
  std::string csv() const;
  std::string json() const;

  Files files_;
  int64_t steps_, epochs_, samples_ = 0, first_ = -1;
  bool silent_;
  std::vector<StepRow> step_rows_;
  std::vector<EpochRow> epoch_rows_;
  std::chrono::steady_clock::time_point begin_, shown_;
  bool line_is_open_ = false;
};

}  // namespace lapidary::tools
