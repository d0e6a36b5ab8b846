// Sets of ops on their way to become groups. form_groups decides who is in which; here a finished set is turned into
// one Group op with an isolated region, and the body is put back into an order of definition before use.
#pragma once

#include <unordered_map>
#include <vector>

#include "ir/graph.h"

namespace lapidary::passes {

struct Cluster {
  std::string family;
  Op* anchor = nullptr;
  std::vector<Op*> members;  // the anchor among them; any order
};

// Positions of a body's ops, in order: 0, 1, …
std::unordered_map<const Op*, int> positions_of(const Region& body);
// Numbers, for each of a body's ops, that grow where an op waits for one with the same number: ops of one number may
// run at once, as kernels between two barriers do.
std::vector<int> phases_of(const Region& body);

// Makes each cluster a Group in `body`. Clusters are disjoint and convex: no path leaves one and comes back.
void build_groups(Module&, Region& body, std::vector<Cluster>&);

// Reorders a body so that every value is defined before it is used; among ops that are ready the earlier goes first.
// With classes, all ready ops of class 0 go first, then those of class 1, …; what gets ready only through an op of a
// higher class waits for the others of that class.
void sort_by_definition(Region& body, int (*class_of)(const Op&) = nullptr);

}  // namespace lapidary::passes
