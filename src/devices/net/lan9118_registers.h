// SPDX-License-Identifier: MIT
// Offsets and bits of the LAN9118's system control and status registers (datasheet revision 1.5, section 5.3).
#pragma once

#include "util/types.h"

namespace rhea::devices::lan9118 {

enum Offset : u32 {
  kRxStatus = 0x40,
  kRxStatusPeek = 0x44,
  kTxStatus = 0x48,
  kTxStatusPeek = 0x4c,
  kIdRev = 0x50,
  kIntCfg = 0x54,
  kIntSts = 0x58,
  kIntEn = 0x5c,
  kByteTest = 0x64,
  kFifoInt = 0x68,
  kRxCfg = 0x6c,
  kTxCfg = 0x70,
  kHwCfg = 0x74,
  kRxDpCtrl = 0x78,
  kRxFifoInf = 0x7c,
  kTxFifoInf = 0x80,
  kPmtCtrl = 0x84,
  kGpioCfg = 0x88,
  kGptCfg = 0x8c,
  kGptCnt = 0x90,
  kWordSwap = 0x98,
  kFreeRun = 0x9c,
  kRxDrop = 0xa0,
  kMacCsrCmd = 0xa4,
  kMacCsrData = 0xa8,
  kAfcCfg = 0xac,
  kE2pCmd = 0xb0,
  kE2pData = 0xb4
};

enum Interrupt : u32 {  // INT_STS, INT_EN
  kSwInt = 1u << 31,
  kTxStop = 1u << 25,
  kRxStop = 1u << 24,
  kRxDfh = 1u << 23,
  kTxIoc = 1u << 21,
  kRxDma = 1u << 20,
  kGpt = 1u << 19,
  kPhy = 1u << 18,
  kPme = 1u << 17,
  kTxso = 1u << 16,
  kRwt = 1u << 15,
  kRxe = 1u << 14,
  kTxe = 1u << 13,
  kTdfo = 1u << 10,
  kTdfa = 1u << 9,
  kTsff = 1u << 8,
  kTsfl = 1u << 7,
  kRxDf = 1u << 6,
  kRsff = 1u << 4,
  kRsfl = 1u << 3
};
constexpr u32 kAllInterrupts = 0x83bfe7df;

enum IntCfg : u32 {
  kDeasClr = 1u << 14,
  kDeasSts = 1u << 13,
  kIrqInt = 1u << 12,
  kIrqEn = 1u << 8,
  kIrqPol = 1u << 4,
  kIrqType = 1u
};
enum RxCfg : u32 { kRxDump = 1u << 15 };
enum TxCfg : u32 { kTxsDump = 1u << 15, kTxdDump = 1u << 14, kTxsao = 4, kTxOn = 2, kStopTx = 1 };
enum HwCfg : u32 { kMustBeOne = 1u << 20, k32BitMode = 1u << 2, kSoftReset = 1 };
enum RxDpCtrl : u32 { kFastForward = 1u << 31 };
enum PmtCtrl : u32 { kPhyReset = 1u << 10, kPmeInd = 0x38, kReady = 1, kPmMode = 0x3000 };
enum GptCfg : u32 { kTimerEn = 1u << 29 };
enum CsrCmd : u32 { kBusy = 1u << 31, kRead = 1u << 30 };
enum E2pCmd : u32 { kAddressLoaded = 1u << 8 };
enum TxStatus : u32 { kTxError = 1u << 15, kLostCarrier = 1u << 11, kNoCarrier = 1u << 10 };

}  // namespace rhea::devices::lan9118
