// SPDX-License-Identifier: MIT
#include "jobs.h"

#include <fmt/format.h>

namespace rhea::bench {

namespace {
constexpr s64 kCleanTime = 60'000'000'000;
}

std::vector<JobType> job_types() {
  std::vector<JobType> types;
  add_speed_jobs(types);
  add_stress_jobs(types);
  return types;
}

JobResult Job::run(Subject& subject, Guest& guest) {
  subject_ = &subject;
  guest_ = &guest;
  guest.on_ready = [this] {
    descriptors_ = open_descriptors();
    start();
  };
  guest.on_tick = [this] {
    if (clean_by_ == 0) return tick();
    const usize descriptors = open_descriptors();
    if (subject_->flows() <= 0 && descriptors <= descriptors_) return finish();
    if (now_ns() < clean_by_) return;
    fail(fmt::format("left behind: {} flows, {} descriptors", std::max<s64>(subject_->flows(), 0),
                     static_cast<s64>(descriptors) - static_cast<s64>(descriptors_)));
    finish();
  };
  guest.start();
  subject.run();
  return std::move(result_);
}

void Job::finish_when_clean() {
  if (clean_by_ == 0) clean_by_ = now_ns() + kCleanTime;
}

}  // namespace rhea::bench
