// Baird's counterexample, on which off-policy learning with linear values diverges. Baird 1995; Sutton & Barto, 2nd
// ed., example 11.1.
#pragma once

#include <memory>

#include "gradus/env/finite_mdp.h"

namespace gradus::env {

// Seven states; `dashed` leads to one of the first six, each as likely, `solid` to the seventh. Every reward is 0, and
// nothing ends.
std::shared_ptr<const FiniteMdp> baird();

}  // namespace gradus::env
