// Of the epoch with the least validation loss, what the trained model holds. Beside a checkpoint FILE they lie in
// FILE.best, written before the checkpoint that tells of them: what is broken off in between finds the ones before in
// FILE.best.previous. Test: test/train/train_command.py.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tools/loaded_model.h"

namespace lapidary::tools {

class BestStates {
 public:
  BestStates(LoadedModel& model, std::string file) : model_(model), file_(std::move(file)) {}  // "": no file

  void take(int64_t position);  // the model's are the best, behind so many batches
  void put_back() const;        // where there are some, the model has them again
  void save();                  // throws what the product's calls throw; the model's stay as they are
  void load(int64_t position);  // throws Error{Fault::Input} where the file has no such ones

 private:
  using States = std::vector<std::pair<int, HostTensor>>;
  States states_of_model() const;
  void set(const States&) const;
  bool load_from(const std::string& file, int64_t position);

  LoadedModel& model_;
  std::string file_;
  States states_;
  int64_t position_ = -1, saved_ = -1;
};

}  // namespace lapidary::tools
