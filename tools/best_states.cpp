#include "tools/best_states.h"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "ir/error.h"

namespace lapidary::tools {

BestStates::States BestStates::states_of_model() const {
  States states;
  for (size_t i = 0; i < model_.states().size(); ++i)
    if (const auto kind = model_.states()[i].kind; kind == LPD_PARAMETER || kind == LPD_STATISTIC)
      states.emplace_back(static_cast<int>(i), model_.state(static_cast<int>(i)));
  return states;
}

void BestStates::set(const States& states) const {
  for (const auto& [index, value] : states) model_.set_state(index, value);
}

void BestStates::take(int64_t position) {
  states_ = states_of_model();
  position_ = position;
}

void BestStates::put_back() const { set(states_); }

void BestStates::save() {
  if (file_.empty() || saved_ == position_) return;
  const States now = states_of_model();
  put_back();
  try {
    model_.save(file_, nlohmann::json{{"best", position_}}.dump());
  } catch (...) {
    set(now);
    throw;
  }
  set(now);
  saved_ = position_;
}

// The model's are then those of the file, right ones or not.
bool BestStates::load_from(const std::string& file, int64_t position) {
  try {
    std::string warning;
    const auto note = nlohmann::json::parse(model_.load(file, warning), nullptr, false);
    if (!note.is_object() || note.value("best", int64_t{-1}) != position) return false;
    take(position);
    saved_ = warning.empty() ? position : -1;
    return true;
  } catch (const Error& error) {
    if (error.fault == Fault::Internal) throw;
    return false;
  }
}

void BestStates::load(int64_t position) {
  States all;
  for (size_t i = 0; i < model_.states().size(); ++i)
    all.emplace_back(static_cast<int>(i), model_.state(static_cast<int>(i)));
  const std::string before = file_ + ".previous";
  bool found = load_from(file_, position);
  if (!found && load_from(before, position)) {
    std::filesystem::rename(before, file_);  // so that the next ones do not take its place
    found = true;
  }
  set(all);
  if (!found)
    throw Error(Fault::Input, fmt::format("'{}' is missing, or is not of the checkpoint: --keep last goes on without",
                                          printable(file_)));
}

}  // namespace lapidary::tools
