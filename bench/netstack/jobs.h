// SPDX-License-Identifier: MIT
// What is done with a stack, and what is found. Each job starts its peers, runs the guest to the end, and gives named
// numbers; `failed` says what should not have happened, empty when nothing did.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "guest.h"
#include "subject.h"

namespace rhea::bench {

struct JobOptions {
  unsigned flows = 1;
  double seconds = 3;     // of measuring, or holding
  unsigned rate = 10000;  // connections a second
};

struct JobResult {
  std::vector<std::pair<std::string, double>> numbers;
  std::string failed;
};

class Job {
 public:
  // Peers are processes: they are made before the stack under test.
  explicit Job(const JobOptions& options) : options_(options) {}
  virtual ~Job() = default;
  JobResult run(Subject& subject, Guest& guest);

 protected:
  virtual void start() = 0;  // the guest is on the network
  virtual void tick() {}
  void add(std::string name, double value) { result_.numbers.emplace_back(std::move(name), value); }
  void fail(std::string why) {
    if (result_.failed.empty()) result_.failed = std::move(why);
  }
  // Ends the run when the stack has let go of everything, or says what it holds.
  void finish_when_clean();
  void finish() { subject_->stop(); }

  JobOptions options_;
  JobResult result_;
  Subject* subject_ = nullptr;
  Guest* guest_ = nullptr;

 private:
  usize descriptors_ = 0;
  s64 clean_by_ = 0;
};

struct JobType {
  std::string_view name, summary;
  std::unique_ptr<Job> (*make)(const JobOptions& options);
};
std::vector<JobType> job_types();

// jobs_speed.cpp and jobs_stress.cpp have some each.
void add_speed_jobs(std::vector<JobType>& types);
void add_stress_jobs(std::vector<JobType>& types);

}  // namespace rhea::bench
