// SPDX-License-Identifier: MIT
#include "chardev/vc.h"

#include <algorithm>

#include "display/font.h"

namespace rhea::chardev {

namespace {

constexpr usize kMostAnswers = 4096;  // of a frontend that does not take them

class Vc final : public Backend {
 public:
  Vc(display::Screens& screens, display::TextConsole::Size size, const std::string& label)
      : screens_(screens), console_(label, size, [this](std::string_view text) { answer(text); }) {
    screens_.add(console_);
  }
  ~Vc() override { screens_.remove(console_); }

  void write(std::span<const u8> data) override { console_.write(data); }
  void set_frontend(Frontend* frontend) override { frontend_ = frontend; }
  void accept_input() override {
    while (frontend_ && !answers_.empty()) {
      const usize part = std::min(answers_.size(), frontend_->can_receive());
      if (!part) return;
      const std::string text = answers_.substr(0, part);
      answers_.erase(0, part);
      frontend_->receive({reinterpret_cast<const u8*>(text.data()), text.size()});
    }
  }
  std::string description() const override { return "vc"; }

 private:
  void answer(std::string_view text) {
    if (answers_.size() + text.size() > kMostAnswers) return;
    answers_ += text;
    accept_input();
  }

  display::Screens& screens_;
  Frontend* frontend_ = nullptr;
  std::string answers_;
  display::TextConsole console_;
};

}  // namespace

display::TextConsole::Size console_size(const ConsoleSize& given) {
  display::TextConsole::Size size{.width = given.width, .height = given.height};
  if (given.columns) size.columns = given.columns;
  else if (given.width) size.columns = given.width / display::kGlyphWidth;
  if (given.rows) size.rows = given.rows;
  else if (given.height) size.rows = given.height / display::kGlyphHeight;
  return size;
}

std::unique_ptr<Backend> make_vc(display::Screens& screens, display::TextConsole::Size size, const std::string& label) {
  return std::make_unique<Vc>(screens, size, label);
}

}  // namespace rhea::chardev
