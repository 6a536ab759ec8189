// SPDX-License-Identifier: MIT
#include "tool/tool.h"

int main(int argc, char** argv) { return rhea::tool::run({argv + 1, argv + argc}); }
