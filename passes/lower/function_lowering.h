// Private to lower.cpp, places.cpp and control.cpp: one function on its way to an entry point. Regions are lowered one
// inside the other into one flat list of steps; a region's arguments and results have the places its owner gave them.
#pragma once

#include <map>
#include <set>

#include "passes/lower/family.h"

namespace lapidary::lowering {

class FunctionLowering {
 public:
  FunctionLowering(Context& context, Program& program, const Function& function)
      : context_(context), module_(context.module), program_(program), function_(function) {}

  EntryPoint run();

 private:
  // --- lower.cpp: groups to steps
  void place_signature();
  void lower_region(Region&);
  void lower_group(Op&);
  void inline_composites(Op& group);
  bool writes_nothing(const Op& group);
  bool is_alias(const Op& group);
  void place_step(const Op& group, LoweredStep, const std::vector<BufferRef>& scratch,
                  const std::vector<Dim>& scratch_bytes);
  Dim bytes_of_source(const BufferSource&, const std::vector<Dim>& scratch);
  void unite_buffers(LoweredStep&);
  loops::Buffer unused_buffer(const LoweredStep&, const BufferSource&);

  // --- places.cpp: where values lie
  struct Slice {  // of the buffer of the concat that reads a value
    const Value* whole;
    Dim offset;  // in bytes
  };
  struct Room {  // what a register needs before a value is written to it
    Dim bytes;   // null: it is there already
    bool keep;
  };
  void find_slices(Region&);
  Dim offset_of_part(const Type& whole, const Op& concat, int64_t position);
  void place_result(const Value*);  // gives it a place and makes room there, in steps of their own where need be
  void make_room(const Value*, const BufferRef&);  // once
  BufferRef new_place(Dim bytes);                  // in the arena where the size is known in time, else a register
  BufferRef new_register();
  BufferRef place_of(const Value*);
  void share_place(const Value*, const Value* with);  // one is the other under another name
  BufferRef place_of(const BufferSource&, const std::vector<BufferRef>& scratch);
  uint32_t push(Step);  // and notes what it touches; gives its index
  void touch(const BufferRef&, uint32_t step);
  void prolong(uint32_t begin, uint32_t end);  // what lives at step `begin` already, and is used after, lives to `end`

  // --- control.cpp: the host's steps
  void lower_to_host(const Op&);
  void lower_host_call(const Op&);
  void lower_in_place_call(const Op&);
  void lower_loop(Op&);
  void lower_if(Op&);
  void place_carried(Region&);
  static bool kernels_read(const Value* count);
  void place_slice(const Op& loop, size_t index, Dim iteration);
  uint32_t next_step() const { return static_cast<uint32_t>(entry_.steps.size()); }

  Context& context_;
  Module& module_;
  Program& program_;
  const Function& function_;
  EntryPoint entry_;
  std::map<const Value*, BufferRef> places_;
  std::map<const Value*, Dim> counters_;  // of values that are what a loop has counted
  std::map<const Value*, Slice> slices_;
  std::map<const Value*, Room> rooms_;  // of values that are part of a register
  std::set<const Value*> has_room_;
};

}  // namespace lapidary::lowering
