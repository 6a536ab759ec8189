// SPDX-License-Identifier: MIT
// A machine of nothing: no CPU, no memory unless it is asked for, no device. For asking the monitors what there is.
#include "machine/board.h"

namespace rhea::machine {

extern const Board none;
const Board none = {
    .name = "none",
    .summary = "empty machine",
    .min_cpus = 0,
    .max_cpus = 0,
    .max_ram = u64{1} << 40,
    .too_much_ram_message = "none: more than 1 TiB of RAM",
};

}  // namespace rhea::machine
