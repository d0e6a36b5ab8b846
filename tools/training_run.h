// The loop of `lapidary train`: epochs of steps over a dataset, validation, checkpoints, and going on from one. A run
// is decided by its data, seed and options alone: one that goes on from a checkpoint ends in the bits of one that was
// never broken off; ranks that train together, each with its share of every batch, go through it in step. Tests:
// test/train/train_command.py, test/train/checkpoints.py, test/train/parallel.py.
#pragma once

#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tools/best_states.h"
#include "tools/dataset.h"
#include "tools/loaded_model.h"
#include "tools/ranks.h"
#include "tools/train_log.h"

namespace lapidary::tools {

// An order of 0 … count - 1 that depends on seed and epoch alone.
std::vector<int64_t> permutation(uint64_t seed, uint64_t epoch, int64_t count);

// Of all bytes, one after the other.
uint64_t fingerprint(std::span<const std::byte>, uint64_t before = 0);

struct Samples {
  const Dataset* data = nullptr;
  std::vector<int64_t> rows;  // those of the data that are meant
};

struct TrainSettings {
  int64_t epochs = 1, batch = 32;  // of all ranks together
  bool whole_batches = false;      // the model takes no smaller one
  uint64_t seed = 0;
  bool shuffle = true;
  bool skip_nan = false;
  int64_t early_stop = 0;        // epochs without a better validation loss; 0: none are too many
  bool keep_best = false;        // of the epoch with the least validation loss
  std::string checkpoint;        // "": none
  int64_t checkpoint_every = 0;  // steps; 0: each epoch's end
  bool resume = false;
  std::optional<double> learning_rate;  // with resume: in the place of the one that the checkpoint has
  int loss_output = 0, correct_output = -1, finite_output = -1;  // of the library; -1: there is none
  int64_t ignored = -100;                                        // of labels, where there are classes
  // What decides a run beside seed, batch and order, by name: --resume goes on with the same alone.
  std::vector<std::pair<std::string, std::string>> identity;
  std::function<double(int64_t step)> rate_factor;  // what the learning rate is multiplied by
  const volatile int* interrupted = nullptr;        // becomes nonzero when training should end after its step
};

enum class TrainEnd { Done, EarlyStop, Interrupted };

class TrainingRun {
 public:
  TrainingRun(LoadedModel& model, const Ranks& ranks, Samples train, Samples validation, TrainSettings settings,
              TrainLog& log)
      : model_(model),
        ranks_(ranks),
        train_(std::move(train)),
        validation_(std::move(validation)),
        settings_(std::move(settings)),
        log_(log),
        best_(model, settings_.checkpoint.empty() ? "" : settings_.checkpoint + ".best") {}

  static int64_t steps_per_epoch(const TrainSettings&, int64_t samples);
  // Throws Error where loss, gradients or states are no numbers, and what the product's calls throw.
  TrainEnd run();
  // With keep_best the model gets the best states; returns their epoch, 0 where none is over.
  int64_t put_back_best();
  bool has_best() const { return settings_.keep_best && progress_.best_position >= 0; }
  int64_t skipped() const { return skipped_; }
  int64_t steps_done();                                // of the model, those taken back not among them
  bool failed_to_write() const { return unwritten_; }  // a checkpoint or a log

 private:
  // What a checkpoint holds beside the states, as its note.
  struct Progress {
    int64_t position = 0;  // batches gone through
    Tally epoch;           // of the one that is not over
    double best = std::numeric_limits<double>::infinity();
    int64_t stale = 0;           // epochs since
    int64_t best_position = -1;  // with keep_best
  };

  void resume();
  void share_statistics();
  void save_checkpoint();
  std::string note() const;
  void read_note(const std::string& text);
  void one_step();
  void finish_epoch();
  void note_validation(double loss);
  struct Progression {
    int64_t steps;
    double rate;
    int rate_state;
  };
  Progression progression();
  void change_rate(double rate);
  Tally call(const char* entry, int64_t step, const Samples&, std::span<const int64_t> rows);
  int64_t labels_that_count(const Samples&, std::span<const int64_t> rows) const;
  std::string fault_of_step(double loss);
  std::vector<bool> finite_states();
  void check_states();
  void attempt(const std::function<void()>& write);
  Tally validate();
  int64_t steps_each() const;
  void keep_states();
  void restore_states();

  LoadedModel& model_;
  const Ranks& ranks_;
  Samples train_, validation_;
  TrainSettings settings_;
  TrainLog& log_;
  BestStates best_;  // the first rank's
  Progress progress_;
  std::vector<HostTensor> batch_;
  std::vector<HostTensor> kept_;  // states before a step, with skip_nan
  std::vector<bool> finite_;      // of each state, when training began
  bool unwritten_ = false;
  std::vector<int64_t> order_;
  int64_t order_epoch_ = -1, saved_ = -1, skipped_ = 0, skipped_running_ = 0;
};

}  // namespace lapidary::tools
