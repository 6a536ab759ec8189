// SPDX-License-Identifier: MIT
// The system registers (coprocessors 14 and 15) as storage, and their table. Chapter B4 of DDI 0406C; the
// Cortex-A9's own ones: DDI 0388.
#pragma once

#include <span>
#include <string_view>

#include "util/types.h"

namespace rhea::arm {

class Cpu;

// Registers that exist once for Secure and once for Non-secure state.
struct BankedRegs {
  u32 csselr = 0;
  u32 sctlr = 0;
  u32 actlr = 0;
  u32 ttbr0 = 0, ttbr1 = 0, ttbcr = 0;
  u32 dacr = 0;
  u32 dfsr = 0, ifsr = 0, adfsr = 0, aifsr = 0;
  u32 dfar = 0, ifar = 0;
  u32 par = 0;
  u32 prrr = 0, nmrr = 0;
  u32 amair0 = 0, amair1 = 0;
  u32 vbar = 0;
  u32 fcseidr = 0, contextidr = 0;
  u32 tpidrurw = 0, tpidruro = 0, tpidrprw = 0;
};

struct SysRegs {
  BankedRegs bank[2];  // [0] Secure, [1] Non-secure
  u32 cpacr = 0;
  u32 scr = 0, sder = 0, nsacr = 0;
  u32 mvbar = 0;
  u32 pmcr = 0, pmcnten = 0, pmovsr = 0, pmselr = 0, pmuserenr = 0, pminten = 0;
  u32 pmccntr_offset = 0, pmccntr_stopped = 0;
  u32 pmxevtyper[7] = {};
  u32 pmxevcntr[6] = {};
  u32 power_control = 0, neon_busy = 0;
  u32 lockdown[4] = {};
  u32 dbgdscr = 0, dbgprcr = 0, dbgosdlr = 0;
  u32 dbgvcr = 0;
  u32 dbgbvr[6] = {}, dbgbcr[6] = {}, dbgwvr[4] = {}, dbgwcr[4] = {};
  u32 teecr = 0, teehbr = 0;
};

}  // namespace rhea::arm
