// SPDX-License-Identifier: MIT
#include "img/tool.h"

int main(int argc, char** argv) { return rhea::img::run({argv + 1, argv + argc}); }
