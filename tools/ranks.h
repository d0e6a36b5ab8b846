// The processes that train together, each a rank: what they must agree on beside what train_step sums itself. Of an
// error that all meet at the same place one tells, and all end; one that a rank meets alone ends the others. Test:
// test/train/parallel.py.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "ir/error.h"
#include "tools/loaded_model.h"
#include "tools/reducer_library.h"

namespace lapidary::tools {

class Ranks {
 public:
  Ranks() = default;  // this process is the only one
  // Joins the others by a library that sums; "": lapidary_mpi.so beside this program. Throws Error{Fault::File}.
  explicit Ranks(const std::string& library);
  ~Ranks();
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  int64_t count() const { return library_ ? library_->reducer.ranks : 1; }
  bool is_first() const { return rank() == 0; }
  // Of a model's instance, for a device of its own or for the host; in `note`, why a device's memory is summed in the
  // host's. All ranks at once.
  InstanceOptions instance_options(bool for_device, std::string& note);

  // Does the work of every rank, and gives the exit code; work of ranks that failed together ends quietly but on one.
  int run(const std::function<int()>& work);

  struct Share {
    int64_t begin, size;
  };
  Share share_of(int64_t count) const;  // this rank's; the first ones have one more where it does not come out even

  // All ranks call each of these at the same place.
  bool any(bool mine) const;
  void take_from_first(HostTensor&) const;
  void must_agree(const std::string& on, const std::string& what) const;  // else throws, on all, what differs
  void together(const std::function<void()>& body) const;                 // throws on all when it does on one
  [[noreturn]] void fail_together(const Error&) const;

 private:
  struct FailedTogether : Error {  // on the rank that tells
    using Error::Error;
  };
  struct FailedElsewhere {
    int code;
  };
  int64_t rank() const { return library_ ? library_->reducer.rank : 0; }
  void sum(std::vector<int64_t>&) const;

  std::optional<lapidary_reducer_library> library_;
  std::optional<lpd_reducer> on_device_;
};

}  // namespace lapidary::tools
